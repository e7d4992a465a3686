"""Fashion-MNIST in full -> fashion_mini.npz, the data embedded in the package.

    python tools/build_fashion_mini.py [--data-root FOLDER] [--out FILE]

FOLDER (or the environment variable WARMINIT_DATA) is laid out like the Hugging Face hub and holds
`zalando-datasets/fashion_mnist`. The choice is seeded and balanced: 600 training and 200 test
images of each of the ten classes, in the order of the full set. The same input gives the same
arrays, and with the same zlib the same bytes.
"""

import argparse
import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

SEED = 0
PER_CLASS = {"train": 600, "test": 200}
FOLDER = Path("zalando-datasets/fashion_mnist/fashion_mnist")
TARGET = Path(__file__).parents[1] / "src/warminit/data/fashion_mini.npz"


def choose_rows(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Choose `per_class` rows of each class by the smallest of one random key a row."""
    keys = np.random.default_rng(seed).random(len(labels))
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen.append(rows[np.argsort(keys[rows], kind="stable")[:per_class]])
    return np.sort(np.concatenate(chosen))


def read_split(data_root: Path, split: str) -> dict[str, np.ndarray]:
    """Decode the chosen rows of one split."""
    table = pq.read_table(data_root / FOLDER / f"{split}-00000-of-00001.parquet")
    labels = table["label"].to_numpy().astype(np.uint8)
    rows = choose_rows(labels, PER_CLASS[split], SEED)
    encoded = table["image"].take(rows).to_pylist()
    images = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in encoded])
    return {
        f"{split}_images": images,  # uint8 (N, 28, 28)
        f"{split}_labels": labels[rows],
        f"{split}_rows": rows.astype(np.uint16),  # positions in the full split: the provenance
    }


def build(data_root: Path, out: Path) -> None:
    """Write the archive; np.savez_compressed dates every member 1980, so the bytes repeat."""
    arrays = read_split(data_root, "train") | read_split(data_root, "test")
    np.savez_compressed(out, allow_pickle=False, **arrays)


def main() -> None:
    """Build the archive and print its size and checksum."""
    parser = argparse.ArgumentParser(description="Build fashion_mini.npz from Fashion-MNIST.")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("WARMINIT_DATA"))
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    if arguments.data_root is None:
        sys.exit("--data-root is missing: name the folder that holds zalando-datasets/.")
    build(Path(arguments.data_root), arguments.out)
    content = arguments.out.read_bytes()
    print(f"{arguments.out}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
