"""small random images -> folders, parquet and .npz files, written without the code under test."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image


def random_images(number: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), dtype=np.uint8)


def png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root: Path, images: dict[str, list[NDArray[Any]]]) -> Path:
    """Write {"train/cat": [pixels, ...]} as root/train/cat/000.png and so on."""
    for folder, members in images.items():
        (root / folder).mkdir(parents=True)
        for index, pixels in enumerate(members):
            (root / folder / f"{index:03}.png").write_bytes(png(pixels))
    return root


def folder_of(root: Path, per_class: int = 3, shape: tuple[int, ...] = (6, 5)) -> Path:
    """Write a folder of two classes, `per_class` images each in train/ and in test/."""
    names = ("train/ant", "train/bee", "test/ant", "test/bee")
    images = random_images(4 * per_class, *shape)
    return write_folder(
        root, {name: list(images[i * per_class :][:per_class]) for i, name in enumerate(names)}
    )


def write_parquet(path: Path, encoded: list[bytes | None], labels: list[Any], **names: str) -> Path:
    """Write encoded images as the hub does, in a struct of bytes and path; no library notes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structs = [None if item is None else {"bytes": item, "path": None} for item in encoded]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {names.get("image", "image"): pa.array(structs, kind)}
    columns[names.get("label", "label")] = pa.array(labels)
    pq.write_table(pa.table(columns), path)
    return path


def decoded_rows(path: Path, column: str, rows: list[int]) -> NDArray[np.uint8]:
    """Decode a few rows of a hub file, (n, H, W) or (n, H, W, 3): the oracle for the loader."""
    encoded = pq.read_table(path, columns=[column])[column].take(rows).to_pylist()
    return np.stack([np.asarray(Image.open(io.BytesIO(item["bytes"]))) for item in encoded])
