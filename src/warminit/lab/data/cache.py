"""ImageArrays <-> one checksummed, memory-mapped file. A damaged file is rebuilt, never used.

    0     8   magic
    8    24   footer: offset, length; checksum of these 24 bytes and the footer; format version
    64    -   training images, test images (one array), then the labels, each 64-aligned
    -     -   footer (JSON): key, shapes, class names, mean, std, fingerprint, checksum of the data

The 32 bytes at the start are written last, and the file takes its name last, so that a writer
killed at any moment leaves nothing that could be taken for a cache.
"""

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warminit.errors import WarminitError
from warminit.lab.data.arrays import ImageArrays

MAGIC = b"WARMINIT"
FORMAT = 1
HEADER = struct.Struct("<8sqqII")  # magic, footer offset, footer length, format, checksum
DATA_START = 64

Allocate = Callable[[tuple[int, int, int, int]], NDArray[np.uint8]]


def cache_folder(cache_dir: str | Path | None) -> Path:
    """Return `cache_dir`, else WARMINIT_CACHE, else the user's cache folder for warminit."""
    chosen = cache_dir or os.environ.get("WARMINIT_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("warminit"))


def cached_arrays(
    path: Path, key: str, build: Callable[[Allocate, Path], ImageArrays]
) -> ImageArrays:
    """Return the arrays kept at `path` under `key`, built first where they are not there whole.

    Args:
        path: the cache file; its folder is made where it is absent.
        key: names the source's state; a file of another key is rebuilt.
        build: (allocate, scratch folder) -> measured arrays, whose images are views of the array
            that `allocate(shape)` last gave, training images first.

    Returns:
        Arrays mapped from the file, copy-on-write: writing to them never reaches the file. Every
        byte of them was compared with the file's checksum in this call.

    Raises:
        WarminitError: where the folder cannot be written or is full.
    """
    found = read_cache(path, key)
    if found is not None:
        return found
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system drops the lock of a process that dies.
        with FileLock(f"{path}.lock"):
            found = read_cache(path, key)  # another process may have built it meanwhile
            if found is None:
                # Only a writer that died leaves one of these: the lock is ours.
                for leftover in path.parent.glob(f"{path.name}.partial-*"):
                    _remove(leftover)
                with tempfile.TemporaryDirectory(
                    prefix=f"{path.name}.partial-", dir=path.parent
                ) as scratch:
                    _build(path, key, build, Path(scratch))
                found = read_cache(path, key)
    except OSError as error:
        raise WarminitError(
            f"cache_dir={str(path.parent)!r} cannot hold the decoded images: {error}. Give a "
            "folder that can be written and has room, as cache_dir or in WARMINIT_CACHE."
        ) from error
    if found is None:
        raise WarminitError(
            f"cache_dir={str(path.parent)!r} does not give back what was written to it. Give "
            "another folder, as cache_dir or in WARMINIT_CACHE."
        )
    return found


def read_cache(path: Path, key: str) -> ImageArrays | None:
    """Map the arrays of a cache file; None where it is absent, damaged or of another key."""
    try:
        with path.open("rb") as file:
            prefix = file.read(HEADER.size)
            size = os.fstat(file.fileno()).st_size
            magic, offset, length, version, checksum = HEADER.unpack(prefix)
            if (magic, version) != (MAGIC, FORMAT) or offset + length != size:
                return None
            file.seek(offset)
            footer = file.read(length)
            if _header_checksum(offset, length, footer) != checksum:
                return None
            facts = json.loads(footer)
            if facts["key"] != key:
                return None
            data = np.memmap(file, dtype=np.uint8, mode="c", shape=(offset,))
    except (OSError, ValueError, struct.error):
        return None
    if zlib.crc32(data[HEADER.size :].data) != facts["checksum"]:
        return None
    return _arrays(data, facts)


def _arrays(data: NDArray[np.uint8], facts: dict[str, Any]) -> ImageArrays:
    shape, n_train = facts["shape"], facts["n_train"]
    # A plain view: a slice of a np.memmap is one too, which costs at every use.
    data = data.view(np.ndarray)
    pixels = int(np.prod(shape))
    images = data[DATA_START : DATA_START + pixels].reshape(shape)
    start = _aligned(DATA_START + pixels)
    labels = data[start : start + 8 * shape[0]].view("<i8")
    return ImageArrays(
        images[:n_train],
        labels[:n_train],
        images[n_train:],
        labels[n_train:],
        class_names=tuple(facts["class_names"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        fingerprint=facts["fingerprint"],
        held_out=facts["held_out"],
    )


def _build(
    path: Path, key: str, build: Callable[[Allocate, Path], ImageArrays], scratch: Path
) -> None:
    partial = scratch / "images"
    mapped: list[np.memmap[Any, np.dtype[np.uint8]]] = []

    def allocate(shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        mapped.clear()
        size = _aligned(DATA_START + int(np.prod(shape, dtype=np.int64)))
        with partial.open("wb") as file:
            # Room is taken now: a disk that fills up under a memory map kills the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        data = np.memmap(partial, dtype=np.uint8, mode="r+", shape=(size,))
        mapped.append(data)
        return data[DATA_START:].view(np.ndarray)[: int(np.prod(shape))].reshape(shape)

    arrays = build(allocate, scratch)
    data = mapped[-1]
    labels = np.concatenate([arrays.train_labels, arrays.test_labels]).astype("<i8").tobytes()
    facts = {
        "key": key,
        "shape": [len(labels) // 8, *arrays.train_images.shape[1:]],
        "n_train": len(arrays.train_labels),
        "class_names": arrays.class_names,
        "mean": arrays.mean,
        "std": arrays.std,
        "fingerprint": arrays.fingerprint,
        "held_out": arrays.held_out,
        "checksum": zlib.crc32(labels, zlib.crc32(data[HEADER.size :].data)),
    }
    data.flush()
    footer = json.dumps(facts).encode()
    offset = len(data) + len(labels)
    with partial.open("r+b") as file:
        file.seek(len(data))
        file.write(labels + footer)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        checksum = _header_checksum(offset, len(footer), footer)
        file.write(HEADER.pack(MAGIC, offset, len(footer), FORMAT, checksum))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _header_checksum(offset: int, length: int, footer: bytes) -> int:
    return zlib.crc32(footer, zlib.crc32(struct.pack("<qqI", offset, length, FORMAT)))


def _aligned(position: int) -> int:
    return -(-position // DATA_START) * DATA_START


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)
