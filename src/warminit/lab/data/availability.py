"""data root -> the named data sets that are available, in full or in part."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from warminit.lab.data.load import load_dataset
from warminit.lab.data.sources import EMBEDDED, PUBLISHED, Published
from warminit.paths import expanded


@dataclass(frozen=True, slots=True)
class Known:
    """Describe a data set that has a name.

    Attributes:
        name: Name for `load_dataset` and the command line.
        hub_id: Repository on the Hugging Face hub; None for embedded data sets.
        train: Published number of training images.
        test: Published number of test images.
        at_hand: `yes`, `embedded`, `partial (...)` with the counts that are there, `no`, or `from
            the hub` where no data root is given.
    """

    name: str
    hub_id: str | None
    train: int
    test: int
    at_hand: str

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)


def known_datasets(data_root: str | Path | None = None) -> list[Known]:
    """Return every data set with a name, without fetching or decoding.

    Args:
        data_root: Folder laid out like the hub; default: the environment variable WARMINIT_DATA.

    Example:
        >>> [each.name for each in known_datasets()][-2:]
        ['fashion-mini', 'digits']
    """
    root = data_root or os.environ.get("WARMINIT_DATA") or None
    found = [
        Known(name, published.hub_id, *published.counts, at_hand=_at_hand(published, root))
        for name, published in PUBLISHED.items()
    ]
    for name in EMBEDDED:
        dataset = load_dataset(name)
        found.append(
            Known(name, None, len(dataset.train_images), len(dataset.test_images), "embedded")
        )
    return found


def _at_hand(published: Published, root: str | Path | None) -> str:
    if root is None:
        return "from the hub"
    folder = expanded(root) / published.hub_id
    if not folder.is_dir():
        return "no"
    counts = tuple(
        _rows(folder / published.configuration, split) or _rows(folder / "data", split)
        for split in ("train", "test")
    )
    if counts == published.counts:
        return "yes"
    if 0 in counts:
        return "yes, counts unknown until it is loaded"
    return f"partial ({counts[0]:,} / {counts[1]:,})"


def _rows(folder: Path, split: str) -> int:
    """Count the rows of a split's parquet files by their footers; 0 without files."""
    from pyarrow import parquet

    files = folder.glob(f"{split}-*.parquet")
    return sum(int(parquet.read_metadata(file).num_rows) for file in files)
