"""Source -> encoded rows with labels (hub, folder, parquet), or pixels (npz, embedded).

Nothing here unpickles or runs code of the data: archives are read with `allow_pickle=False`, and
`datasets` (4 and later) has no loading scripts.
"""

import importlib.resources
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from warminit.errors import WarminitError
from warminit.lab.data.arrays import HELD_OUT, ImageArrays, choose_stratified
from warminit.lab.data.decoding import CHUNK, Rows
from warminit.lab.data.folders import classes_of
from warminit.lab.data.sources import EMBEDDED, Source

HELD_OUT_PART = 5  # one image in five, where the source has no test split
NPZ_KEYS = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels", None, None),
    ("x", "y", None, None),
)


def folder_rows(source: Source) -> Rows:
    """Read the rows of splits with one folder per class, in name order."""
    train, *others = source.splits
    known = classes_of(source.splits[train])
    read_splits = [known, *(classes_of(source.splits[name], known) for name in others)]
    members = [(name, file) for split in read_splits for name in split for file in split[name]]
    files, names = [file for _, file in members], list(known)
    labels = np.array([names.index(name) for name, _ in members])

    def read() -> Iterator[list[bytes]]:
        for start in range(0, len(files), CHUNK):
            yield [file.read_bytes() for file in files[start : start + CHUNK]]

    return arrange_rows(
        read,
        labels,
        sum(map(len, known.values())),
        tuple(names),
        lambda row: f"image {str(files[row])!r}",
        others[0] if others else HELD_OUT,
    )


def arrange_rows(
    read: Callable[[], Iterator[list[bytes]]],
    labels: NDArray[Any],
    n_train: int,
    class_names: tuple[str, ...],
    where: Callable[[int], str],
    test_split: str,
) -> Rows:
    """Sort rows into training and test splits; with HELD_OUT, a fifth of each class is the test."""
    labels = check_labels(labels, len(class_names), where)
    order = np.arange(len(labels))
    if test_split == HELD_OUT:
        test = held_out_rows(labels)
        n_train -= len(test)
        source_order = np.concatenate([np.setdiff1d(order, test), test])
        order = np.empty_like(source_order)
        order[source_order] = np.arange(len(labels))
    return Rows(read, labels, order, n_train, class_names, where, test_split)


def held_out_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose a fifth of each class as the test split of a source without one."""
    try:
        return choose_stratified(labels, max(1, len(labels) // HELD_OUT_PART), seed=0)
    except WarminitError as error:
        raise WarminitError(
            f"the source has no test split, and of its {len(labels)} images none can be held out "
            f"({error}) Add a test split."
        ) from None


def check_labels(
    labels: NDArray[Any], n_classes: int, where: Callable[[int], str]
) -> NDArray[np.int64]:
    """Return labels as int64 (N,), every one of them 0 <= label < n_classes.

    Raises:
        WarminitError: for no labels, types other than whole numbers, or a label out of range;
            unlabelled test splits of the hub have -1.
    """
    if len(labels) == 0:
        raise WarminitError("the source holds 0 images: expected at least 1. Add images.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise WarminitError(
            f"labels have type {labels.dtype} and shape {labels.shape}: expected whole numbers, "
            "one per image. Convert them."
        )
    outside = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(outside):
        raise WarminitError(
            f"the label of {where(int(outside[0]))} is {labels[outside[0]]}; 0 to "
            f"{n_classes - 1} is expected. Remove an unlabelled split, or label it."
        )
    return labels.astype(np.int64)


def pixel_arrays(source: Source, size: tuple[int, int] | None = None) -> ImageArrays:
    """Read a source that holds pixels (.npz, fashion-mini, digits), resized to `size`."""
    arrays = _pixel_arrays(source)
    if size is None or size == arrays.train_images.shape[2:]:
        return arrays
    return replace(
        arrays,
        train_images=_resized(arrays.train_images, size),
        test_images=_resized(arrays.test_images, size),
    )


def _resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    out = np.empty((*images.shape[:2], *size), dtype=np.uint8)
    for index in np.ndindex(images.shape[:2]):
        plane = Image.fromarray(images[index])
        out[index] = plane.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return out


def _pixel_arrays(source: Source) -> ImageArrays:
    if source.location == "digits" and source.kind == "embedded":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        return _split_arrays(images, digits.target.astype(np.int64), EMBEDDED["digits"])
    if source.kind == "embedded":
        file = importlib.resources.files("warminit") / "data" / "fashion_mini.npz"
        with importlib.resources.as_file(file) as path:
            return _read_npz(path, EMBEDDED[source.location])
    return _read_npz(Path(source.location), None)


def _split_arrays(
    images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> ImageArrays:
    test = held_out_rows(labels)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return ImageArrays(
        images[train], labels[train], images[test], labels[test], class_names, test_split=HELD_OUT
    )


def _read_npz(path: Path, class_names: tuple[str, ...] | None) -> ImageArrays:
    try:
        # Given a path, NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            keys = next((keys for keys in NPZ_KEYS if keys[0] in archive), None)
            missing = [key for key in keys or () if key is not None and key not in archive]
            if keys is None or missing:
                raise WarminitError(
                    f"{path.name!r} holds the arrays {', '.join(archive.files)}: expected "
                    "train_images, train_labels, test_images and test_labels (or images and "
                    "labels). Save them under these names."
                )
            read = {key: archive[key] for key in (*keys, "class_names") if key in archive}
    except WarminitError:
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy raise a dozen kinds
        raise WarminitError(
            f"{str(path)!r} cannot be read as an .npz file of plain arrays: {error}. Write it "
            "with np.savez, without objects that need pickle."
        ) from error
    splits = []
    for images_key, labels_key in (keys[:2], keys[2:]):
        if images_key is None or labels_key is None:
            continue
        images = _channels_first(read[images_key], images_key)
        labels = read[labels_key]
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (len(images),):
            raise WarminitError(
                f"{labels_key} has shape {labels.shape}: expected ({len(images)},), one label "
                f"for each of {images_key}. Correct the file."
            )
        splits.append((images, labels))
    if splits[0][0].shape[1:] != splits[-1][0].shape[1:]:
        raise WarminitError(
            f"{keys[0]} holds images of {splits[0][0].shape[1:]}, {keys[2]} of "
            f"{splits[-1][0].shape[1:]} (channels, height, width): expected the same size. "
            "Correct the file."
        )
    if "class_names" in read:
        class_names = _class_names(read["class_names"], path)
    elif class_names is None:
        class_names = numbered_classes(np.concatenate([labels for _, labels in splits]))
    checked = [
        (images, check_labels(labels, len(class_names), lambda row: f"image {row} of {path.name}"))
        for images, labels in splits
    ]
    if len(checked) == 1:
        return _split_arrays(*checked[0], class_names)
    return ImageArrays(*checked[0], *checked[1], class_names)


def _class_names(names: NDArray[Any], path: Path) -> tuple[str, ...]:
    try:
        if names.ndim != 1:
            raise ValueError(f"class_names has shape {names.shape}")
        found = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names.tolist())
        if len(set(found)) < len(found):
            raise ValueError("class_names has one name twice")
    except ValueError as error:  # a name that is not UTF-8 is one too
        raise WarminitError(
            f"{path.name!r}: {error}: expected an array of one name per class, in label order. "
            "Correct class_names, or leave it out."
        ) from None
    return found


def _channels_first(images: NDArray[Any], key: str) -> NDArray[np.uint8]:
    last = images.ndim == 4 and images.shape[3] in (1, 3)
    first = images.ndim == 4 and images.shape[1] in (1, 3)
    if images.dtype != np.uint8 or not (images.ndim == 3 or last != first) or 0 in images.shape:
        raise WarminitError(
            f"{key} has type {images.dtype} and shape {images.shape}; uint8 (0 to 255) of "
            "(N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3 is expected. Convert it."
        )
    if images.ndim == 3:
        return images[:, None]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if last else images


def numbered_classes(labels: NDArray[Any]) -> tuple[str, ...]:
    """Name classes by their numbers, 0 to the largest label, if the source has no names."""
    largest = int(labels.max()) if labels.size and labels.dtype.kind in "iu" else 0
    if largest >= max(len(labels), 2):
        raise WarminitError(
            f"the largest label is {largest} with {len(labels)} images: expected class numbers "
            "from 0 on. Renumber the labels."
        )
    return tuple(str(label) for label in range(largest + 1))
