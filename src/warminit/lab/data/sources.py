"""name, hub id, folder or file -> Source: the data's location, and a fingerprint of their state."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from warminit.errors import DataNotAvailableError, WarminitError, did_you_mean
from warminit.lab.data.folders import (
    SYNONYMS,
    check_utf8,
    choose_splits,
    class_folders,
    entries,
    files_below,
)
from warminit.lab.data.remote import fetched_folder, is_url
from warminit.paths import expanded

_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
# CIFAR-100's fine labels, alphabetical.
_CIFAR100 = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905 - legible
)


@dataclass(frozen=True, slots=True)
class Published:
    """Hold published facts on a data set.

    Attributes:
        hub_id: its repository on the Hugging Face hub.
        configuration: the hub's name for the variant that the paper uses.
        counts: published (training, test) images.
        class_names: class names in label order, for files without names.
        label_column: column of the labels, if the files hold several.
    """

    hub_id: str
    configuration: str
    counts: tuple[int, int]
    class_names: tuple[str, ...]
    label_column: str | None = None


PUBLISHED = {
    "mnist": Published("ylecun/mnist", "mnist", (60_000, 10_000), _DIGITS),
    "fashion-mnist": Published(
        "zalando-datasets/fashion_mnist", "fashion_mnist", (60_000, 10_000), _FASHION
    ),
    "cifar10": Published("uoft-cs/cifar10", "plain_text", (50_000, 10_000), _CIFAR10),
    "svhn": Published("ufldl-stanford/svhn", "cropped_digits", (73_257, 26_032), _DIGITS),
    "cifar100": Published(
        "uoft-cs/cifar100", "cifar100", (50_000, 10_000), _CIFAR100, label_column="fine_label"
    ),
}
EMBEDDED = {"fashion-mini": _FASHION, "digits": _DIGITS}

FILES = (".npz", ".parquet")

Kind = Literal["embedded", "npz", "folder", "hub", "repository", "parquet"]


@dataclass(frozen=True, slots=True)
class Source:
    """Locate the files of a data set.

    Attributes:
        name: the data set's name in every report.
        kind: "embedded" and "npz" hold pixels; the others hold encoded images: "folder" one
            folder a class, "repository" a hub repository's folder, "hub" the hub itself.
        location: the folder or file, the hub id, or the embedded set's name.
        configuration: of a hub repository, None for its default.
        fingerprint: hash over names, sizes and modification times of files; the id for data of the
            hub, which are not fetched again.
        published: published facts, None for other data.
        splits: of a "folder" or "parquet": split -> its folder or file, the training split first.
    """

    name: str
    kind: Kind
    location: str
    configuration: str | None = None
    fingerprint: str = ""
    published: Published | None = None
    splits: Mapping[str, Path] = field(default_factory=dict)


def find_source(name: str | os.PathLike[str], data_root: str | Path | None = None) -> Source:
    """Find the source for a name; `load_dataset` lists the kinds of names.

    A known name or hub id has priority over a file, and a file or folder over an unknown hub id. A
    file that is absent here is searched for in the data root. Reports name local files with their
    ending, and folders with a slash, to distinguish them from published data sets.

    Raises:
        WarminitError: for an unknown name, or missing data.
    """
    text = os.fspath(name) if isinstance(name, str | os.PathLike) else ""
    if not text:
        raise WarminitError(
            f"name={name!r}: expected a data set. Pass one of {', '.join(known_names())}, a hub "
            "id "
            "'owner/name', a folder or a file."
        )
    if text in EMBEDDED:
        return Source(text, "embedded", text)
    try:
        return _found(text, data_root or os.environ.get("WARMINIT_DATA") or None)
    except OSError as error:
        raise WarminitError(
            f"name={text!r} cannot be read: {error}. Check the permissions of its files and "
            "folders."
        ) from error


def known_names() -> tuple[str, ...]:
    """Return the names for `load_dataset`, in the order of the paper, then the embedded ones."""
    return (*PUBLISHED, *EMBEDDED)


def _found(text: str, root: str | Path | None) -> Source:
    for known, published in PUBLISHED.items():
        if text in (known, published.hub_id):
            return _hub(known, published.hub_id, published.configuration, root, published)
    path = expanded(text)
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that is too long
        return _local(path.resolve())
    if (beside := _in_root(text, root)) is not None:
        return _local(beside)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?", text) and path.suffix not in FILES:
        hub_id, _, configuration = text.partition(":")
        return _hub(text, hub_id, configuration or None, root, None)
    near = f" {did_you_mean(text.lower().replace('_', '-'), known_names())}".rstrip()
    raise WarminitError(
        f"name={text!r} is no data set, and no file or folder {str(path.absolute())!r} exists."
        f"{near} Give one of {', '.join(known_names())}, a hub id 'owner/name', a folder or a file."
    )


def _in_root(text: str, root: str | Path | None) -> Path | None:
    """Return a file of the data root that is named by its path there, None where there is none."""
    if root is None or is_url(root) or ".." in Path(text).parts or Path(text).suffix not in FILES:
        return None
    path = expanded(root) / text
    return path.resolve() if path.is_file() else None


def parquet_splits(path: Path) -> dict[str, Path]:
    """Return a parquet file as the training split, and its test sibling.

    The sibling's name differs only by the word for the split, in any case.
    """
    siblings: dict[str, str | None] = {path.name: "train"}
    if found := re.search(r"(.*)(training|train)(.*)", path.name, re.IGNORECASE):
        head, _, tail = found.groups()
        for split in ("test", "validation"):
            wanted = {f"{head}{word}{tail}".lower() for word in SYNONYMS[split]}
            siblings |= {f.name: split for f in entries(path.parent) if f.name.lower() in wanted}
    chosen = choose_splits(siblings, f"{str(path)!r} and its siblings")
    return {str(siblings[name]): path.with_name(name) for name in chosen if name is not None}


def _hub(
    name: str,
    hub_id: str,
    configuration: str | None,
    root: str | Path | None,
    published: Published | None,
) -> Source:
    if root is None:
        state = f"hub {hub_id} {configuration}"
        return Source(name, "hub", hub_id, configuration, state, published)
    if is_url(root):
        folder = fetched_folder(str(root), hub_id)
    else:
        folder = (expanded(root) / hub_id).resolve()
    if not folder.is_dir():
        raise DataNotAvailableError(
            f"data not available: name={name!r} was looked for in {str(folder)!r}, which is no "
            f"folder. Put the hub repository {hub_id!r} there, or give no data_root (and unset "
            "WARMINIT_DATA) to fetch it from the hub."
        )
    return _folder(name, folder, configuration, published)


def _folder(
    name: str, folder: Path, configuration: str | None = None, published: Published | None = None
) -> Source:
    files = list(files_below(folder))
    splits = {} if configuration else class_folders(folder, files) or {}
    kind: Kind = "folder" if splits else "repository"
    state = _state(folder, files)
    return Source(name, kind, str(folder), configuration, state, published, splits)


def _local(path: Path) -> Source:
    check_utf8(path)
    if path.is_dir():
        return _folder(f"{path.name}/", path)
    if path.suffix == ".npz":
        return Source(path.name, "npz", str(path), None, _state(path.parent, [path]))
    if path.suffix == ".parquet":
        splits = parquet_splits(path)
        state = _state(path.parent, splits.values())
        return Source(path.name, "parquet", str(path), None, state, splits=splits)
    raise WarminitError(
        f"name={str(path)!r}: expected a .npz or .parquet file. Pass one of these, or a folder "
        "with train/ and test/, each with one folder per class."
    )


def _state(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        relative = file.relative_to(folder).as_posix()
        digest.update(os.fsencode(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()
