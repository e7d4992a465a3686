"""hub repository, its folder, or parquet file -> encoded rows, read with Hugging Face datasets."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warminit.errors import DataNotAvailableError, WarminitError
from warminit.lab.data.arrays import HELD_OUT
from warminit.lab.data.decoding import CHUNK, Rows
from warminit.lab.data.folders import METADATA, choose_splits, split_of, table_splits
from warminit.lab.data.reading import arrange_rows, numbered_classes
from warminit.lab.data.sources import Source

IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")

PATIENCE = 3.0
"""Seconds in which the hub must answer, so that offline users get a quick error."""


def hub_rows(source: Source, scratch: Path) -> Rows:
    """Read the rows of a source that `datasets` understands.

    Args:
        source: of kind "hub", "repository" or "parquet".
        scratch: folder for the copy that `datasets` makes of local files; the caller removes it.

    Raises:
        WarminitError: if nothing can be loaded, or no column holds images or classes.
    """
    splits = _load(source, scratch)
    names = {name: split_of(name) for name in splits if not source.published or split_of(name)}
    train, test = choose_splits(names, repr(source.name))
    used = [splits[name] for name in (train, test) if name is not None]
    image, label = _columns(used[0].features, source)
    n_train = len(used[0])

    def where(row: int) -> str:
        split, row = (train, row) if row < n_train else (test, row - n_train)
        return f"{split} row {row} of {source.name}"

    values = [
        value
        for split in used
        for value in split.select_columns([label]).with_format("arrow")[:][label].to_pylist()
    ]
    labels, class_names = _labels(values, used[0].features[label], source, where)
    return arrange_rows(
        lambda: _encoded(used, image, where), labels, n_train, class_names, where, test or HELD_OUT
    )


def _load(source: Source, scratch: Path) -> Any:
    import datasets

    # Downloads keep the library's own cache and progress bar; local copies go when we are done.
    local = source.kind != "hub"
    answers = local or _hub_answers()
    hide_bars = local and not datasets.are_progress_bars_disabled()
    if hide_bars:
        datasets.disable_progress_bars()
    # What is wrong with a local file is said once, by the error below.
    verbosity = datasets.logging.get_verbosity()
    if local:
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    files = None
    try:
        path, configuration, files = _request(source)
        # Else the library tries for half a minute; offline it looks into its cache at once.
        with nullcontext() if answers else _offline():
            loaded = datasets.load_dataset(
                path, configuration, data_files=files, cache_dir=str(scratch) if local else None
            )
    except WarminitError:
        raise
    except Exception as error:  # network, files and parsers raise what they like
        said = _difference(files) or _cause(error)
        if local:
            text = f"{source.location!r} cannot be read: {said.rstrip('.')}. Check its files"
        else:
            said = said if answers else f"it does not answer; {said}"
            text = (
                f"data not available: name={source.name!r} could not be fetched from the hub as "
                f"{source.location!r} ({said}). Check the name and the network, or pass data_root "
                "(WARMINIT_DATA), a folder laid out like the hub"
            )
        if "onfig" in said:
            text += (
                f" (configuration={source.configuration!r}; choose one by "
                "'owner/name:configuration')"
            )
        kind = WarminitError if local else DataNotAvailableError
        raise kind(f"{text}.") from error
    else:
        if path == "imagefolder" and files is not None:
            _check_all_read(loaded, files)
        return loaded
    finally:
        if hide_bars:
            datasets.enable_progress_bars()
        datasets.logging.set_verbosity(verbosity)


def _request(source: Source) -> tuple[str, str | None, dict[str, list[str]] | None]:
    """Return path, configuration and data files for `datasets.load_dataset`."""
    if source.kind == "parquet":
        files = {split: [str(file)] for split, file in source.splits.items()}
        return "parquet", None, files
    if source.kind == "hub":
        return source.location, source.configuration, None
    folder = Path(source.location)
    card = folder / "README.md"
    if card.exists():
        from huggingface_hub import DatasetCard

        if DatasetCard.load(card).data.get("configs"):
            return str(folder), source.configuration, None
    # The library's own search would leave out files whose names it does not know, in silence.
    reader, splits = table_splits(folder / (source.configuration or ""))
    return reader, None, {split: list(map(str, files)) for split, files in splits.items()}


def _check_all_read(loaded: Any, files: dict[str, list[str]]) -> None:
    """Refuse image files that are missing from the metadata, since `datasets` skips them."""
    import datasets

    for split, listed in files.items():
        undecoded = loaded[split].cast_column("image", datasets.Image(decode=False))
        read = {item["path"] for item in undecoded["image"]}
        for file in listed:
            if Path(file).name not in METADATA and file not in read:
                raise WarminitError(
                    f"image {file!r} is not in its folder's metadata. List it there, or remove it."
                )


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def _difference(files: dict[str, list[str]] | None) -> str | None:
    """Describe differing columns or types of parquet files, or a file without rows."""
    from pyarrow import ArrowException, parquet

    seen: dict[str, str] = {}
    for file in (file for split in (files or {}).values() for file in split):
        try:
            schema, rows = parquet.read_schema(file), parquet.read_metadata(file).num_rows
        except (OSError, ArrowException):
            return None
        if not rows:
            return f"{Path(file).name!r} has no rows"
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        for other, theirs in seen.items():
            if columns != theirs:
                return f"{other!r} has the columns {theirs}, and {Path(file).name!r} has {columns}"
        seen[Path(file).name] = columns
    return None


def _hub_answers() -> bool:
    """Tell within three seconds whether the hub is reachable."""
    answered: list[bool] = []

    def ask() -> None:
        from huggingface_hub import constants, get_session

        with suppress(Exception):  # of name resolution, proxy, TLS or time: it is not reached
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
            answered.append(True)

    # Name resolution heeds no timeout, so it is waited for from outside.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)


@contextmanager
def _offline() -> Iterator[None]:
    """Make the Hugging Face libraries use only their cache."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _columns(features: Any, source: Source) -> tuple[str, str]:
    import datasets

    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"] or [
        name
        for name in IMAGE_COLUMNS
        # Files written without the library's own notes: the encoded bytes, or its struct of them.
        if name in features
        and (
            (isinstance(features[name], dict) and "bytes" in features[name])
            or features[name] in (datasets.Value("binary"), datasets.Value("large_binary"))
        )
    ]
    wanted = source.published.label_column if source.published else None
    labels = (
        [name for name in (wanted,) if name is not None and name in features]
        or [name for name, kind in kinds.items() if kind == "ClassLabel"]
        or [name for name in LABEL_COLUMNS if kinds.get(name) == "Value"]
    )
    for what, found, example in (("images", images, "image"), ("classes", labels, "label")):
        if len(found) != 1:
            listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise WarminitError(
                f"{source.name!r} has {len(found)} columns of {what} among {listed}: expected "
                f"exactly 1. Name one of them {example!r} with encoded images or class numbers in "
                "it "
                "and leave out the others."
            )
    return images[0], labels[0]


def _labels(
    values: list[Any], feature: Any, source: Source, where: Callable[[int], str]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if None in values:
        raise WarminitError(
            f"{where(values.index(None))} has no label: expected one per image. Label or remove it."
        )
    if values and isinstance(values[0], str | bytes):
        try:
            words = [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError as error:
            raise WarminitError(
                f"{source.name!r} has the label {error.object!r}: expected text in UTF-8, or "
                "whole numbers. Convert the labels."
            ) from None
        names = sorted(set(words))
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers[word] for word in words]), tuple(names)
    labels = np.array(values)
    if getattr(feature, "names", None):
        return labels, tuple(feature.names)
    if source.published is not None:
        return labels, source.published.class_names
    return labels, numbered_classes(labels)


def _encoded(splits: list[Any], column: str, where: Callable[[int], str]) -> Iterator[list[bytes]]:
    import datasets

    row = 0
    for split in splits:
        undecoded = split.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        for batch in undecoded.with_format("arrow").iter(batch_size=CHUNK):
            contents: list[bytes] = []
            for item in batch[column].to_pylist():
                content = item["bytes"] if item else None
                if content is None and item and item["path"] and Path(item["path"]).is_file():
                    content = Path(item["path"]).read_bytes()  # a repository of image files
                if content is None:
                    raise WarminitError(
                        f"{where(row + len(contents))} holds no image: expected encoded bytes. "
                        "Fill or remove it."
                    )
                contents.append(content)
            row += len(contents)
            yield contents
