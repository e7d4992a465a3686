"""folder -> its files, with their split and class; links are followed."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from warminit.errors import WarminitError, WarminitWarning

SYNONYMS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "evaluation", "eval", "dev"),
}
"""Names of splits, in any case; validation replaces a missing test split."""

BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}
"""Endings of files with many images, and their builders in Hugging Face `datasets`."""

IMAGES = frozenset(
    """.png .jpg .jpeg .jpe .jfif .webp .gif .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .jp2 .avif
    .heic .heif""".split()  # noqa: SIM905 - legible
)
TEXTS = frozenset(
    ".md .txt .rst .csv .tsv .json .jsonl .yaml .yml .xml .html .pdf .py".split()  # noqa: SIM905
)
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # labels beside image files

Classes = dict[str, list[Path]]
"""Class name -> its files, both in name order."""


def split_of(name: str) -> str | None:
    """Return the split that a file or folder name contains; None for none or several.

    Example:
        >>> split_of("Training"), split_of("val-00000-of-00001.parquet"), split_of("trained")
        ('train', 'validation', None)
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    found = [split for split, synonyms in SYNONYMS.items() if words & set(synonyms)]
    return found[0] if len(found) == 1 else None


def choose_splits(names: Mapping[str, str | None], what: str) -> tuple[str, str | None]:
    """Choose the training and the test split of a source, and report unread splits.

    Args:
        names: name in the source -> its split by `split_of`.
        what: the source, for the error.

    Returns:
        The names of both; None without a test split.

    Raises:
        WarminitError: if two names mean one split, or none means training.
    """
    chosen: dict[str, str] = {}
    for name, split in names.items():
        if split in chosen:
            raise WarminitError(
                f"{what} has the splits {chosen[split]!r} and {name!r}: expected one {split} "
                "split. Put them together, or move one of them away."
            )
        if split is not None:
            chosen[split] = name
    if "train" not in chosen:
        raise WarminitError(
            f"{what} has the splits {', '.join(map(repr, names))}: expected 'train'. Rename the "
            "training split, choose another configuration, or save the images as a folder with "
            "train/ and test/."
        )
    train, test = chosen["train"], chosen.get("test", chosen.get("validation"))
    unread = [name for name in names if name not in (train, test)]
    if unread:
        warnings.warn(
            f"{what}: {', '.join(map(repr, unread))} is not read; {test!r} is the test split.",
            WarminitWarning,
            stacklevel=2,
        )
    return train, test


def entries(folder: Path) -> list[Path]:
    """Return the content of a folder in name order, without hidden files and folder settings."""
    skipped = ("Thumbs.db", "desktop.ini")
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name not in skipped
    )


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield every file below a folder in name order, following links."""
    real = folder.resolve()
    if real in above:
        raise WarminitError(
            f"{str(folder)!r} is a link to a folder that holds it. Remove the link."
        )
    for entry in entries(folder):
        if entry.is_dir():
            yield from files_below(entry, (*above, real))
        elif entry.is_file():
            yield entry
        else:
            raise WarminitError(
                f"{str(entry)!r} cannot be read: expected a file, not a broken link or a device. "
                "Remove it."
            )


def class_folders(root: Path, files: Iterable[Path]) -> dict[str, Path] | None:
    """Return the split folders: split -> folder, or only "train" if none is named.

    The folder itself, or the only folder in it, holds the splits or the classes. None where this
    is no such folder, or one of the `files` below it holds many images.

    Raises:
        WarminitError: for a folder or an image that belongs to no split, and for class folders
            under names that are no splits.
    """
    folders = [entry for entry in entries(root) if entry.is_dir()]
    if not folders or any(_is_table(file) for file in files):
        return None
    parents = [folder for folder in folders if any(entry.is_dir() for entry in entries(folder))]
    named = {folder.name: split_of(folder.name) for folder in folders}
    splits = {name: split for name, split in named.items() if split is not None}
    if any(folder.name in splits for folder in parents):
        unread = [each for each in _no_texts(entries(root)) if each.name not in splits]
        if unread:
            raise WarminitError(
                f"{str(unread[0])!r} belongs to no split, but {', '.join(splits)} do. Rename it "
                "after its split, or move it away."
            )
        train, test = choose_splits(splits, f"{str(root)!r}")
        return {"train": root / train} | ({test: root / test} if test else {})
    if parents and parents == list(_no_texts(entries(root))) and len(parents) == 1:
        return class_folders(parents[0], files)
    if parents:
        raise WarminitError(
            f"{str(root)!r} holds folders in {', '.join(repr(each.name) for each in parents)}: "
            "which is the training and which the test split? Rename them 'train' and 'test', or "
            "pass one of them."
        )
    if len(splits) == len(folders) or len(set(splits.values())) > 1:
        raise WarminitError(
            f"{str(root)!r} holds images in {', '.join(splits)} without a folder for each class. "
            "Put the images of each class into a folder of its name."
        )
    return {"train": root}


def classes_of(split: Path, known: Classes | None = None) -> Classes:
    """Return the files of a split with one folder per class.

    Args:
        split: folder with one folder per class, and at most text files besides.
        known: classes of the training split, for another split.

    Raises:
        WarminitError: for anything else in it; an empty class; names that are not UTF-8.
    """
    found: Classes = {}
    for folder in _no_texts(entries(split)):
        if not folder.is_dir() or (known is not None and folder.name not in known):
            names = ", ".join(list(known or found)[:10])
            raise WarminitError(
                f"{str(folder)!r} is no class: {split.name}/ holds one folder for each class of "
                f"the training split ({names}) and nothing else. Move or remove it."
            )
        check_utf8(folder)
        found[folder.name] = entries(folder)
        if not found[folder.name] or any(not file.is_file() for file in found[folder.name]):
            raise WarminitError(
                f"{str(folder)!r} is empty or holds a folder: expected image files. Add images or "
                "remove it."
            )
    return found


def check_utf8(path: Path) -> None:
    """Refuse a class name that reports cannot show; image files may have any name."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise WarminitError(
            f"the name {path.name!r} is not UTF-8: expected a name that reports can show. Rename "
            "it."
        ) from None


def table_splits(folder: Path) -> tuple[str, dict[str, list[Path]]]:
    """Return the builder for the data files below a folder, and each split's files, sorted.

    This is for a folder laid out like a hub repository but without a card.

    Raises:
        WarminitError: if a file would be ignored: only some files name a split, there are several
            kinds, or several folders are not splits.
    """
    files = list(_no_texts(files_below(folder)))
    kinds = {_reader(file): file for file in files}
    if len(kinds) != 1 or None in kinds:
        listed = ", ".join(repr(str(file)) for file in kinds.values()) or "no file"
        raise WarminitError(
            f"{str(folder)!r} cannot be read: expected images in one folder per class, or only "
            f".parquet files, found {listed}. Move other files away."
        )
    found: dict[str | None, list[Path]] = {}
    places: set[Path] = set()
    for file in files:
        parts = file.relative_to(folder).parts
        at = next((i for i, part in enumerate(parts) if split_of(part)), None)
        found.setdefault(None if at is None else split_of(parts[at]), []).append(file)
        if at is not None or "imagefolder" not in kinds:
            places.add(folder.joinpath(*parts[:-1] if at is None else parts[:at]))
    if None in found and len(found) > 1:
        raise WarminitError(
            f"{str(found[None][0])!r} names no split, but other files there do. Rename it after "
            "its split (train, test), or move it away."
        )
    if len(places) > 1:
        raise WarminitError(
            f"{str(folder)!r} holds data in {', '.join(repr(str(each)) for each in sorted(places))}"
            ": expected only one. Pass that folder, or 'owner/name:configuration'."
        )
    if None in found:
        return str(_reader(files[0])), {"train": found[None]}
    chosen = choose_splits({str(split): split for split in found}, f"{str(folder)!r}")
    return str(_reader(files[0])), {split: found[split] for split in chosen if split is not None}


def _is_table(file: Path) -> bool:
    return file.suffix.lower() in BUILDERS or file.name in METADATA


def _reader(file: Path) -> str | None:
    """Return the builder of `datasets` for a file's ending, or None."""
    ending = file.suffix.lower()
    if ending in IMAGES or file.name in METADATA:
        return "imagefolder"
    return BUILDERS.get(ending)


def _no_texts(files: Iterable[Path]) -> Iterator[Path]:
    """Leave out files that only describe data."""
    names = ("README", "LICENSE", "LICENCE", "NOTICE", "CITATION")
    for file in files:
        text = file.suffix.lower() in TEXTS or file.stem.upper() in names
        if not text or file.name in METADATA or file.is_dir():
            yield file
