"""ImageArrays <-> one checksummed, memory-mapped safetensors file, rebuilt if damaged.

The file holds the tensors `images` (training images first) and `labels`; its metadata hold the
facts, and a checksum over facts, types, shapes and bytes. The file gets its name last, so a killed
writer leaves no partial cache.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warminit.errors import WarminitError
from warminit.lab.data.arrays import ImageArrays
from warminit.paths import expanded

FORMAT = "2"
METADATA = "warminit"  # one entry: the order of several would differ from file to file

Allocate = Callable[[tuple[int, int, int, int]], NDArray[np.uint8]]


def cache_folder(cache_dir: str | Path | None) -> Path:
    """Return `cache_dir`, else WARMINIT_CACHE, else the user's cache folder for warminit."""
    chosen = cache_dir or os.environ.get("WARMINIT_CACHE")
    if chosen:
        return expanded(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("warminit"))


def cached_arrays(
    path: Path, key: str, build: Callable[[Allocate, Path], ImageArrays]
) -> ImageArrays:
    """Return the arrays cached at `path` under `key`, built first if needed.

    Args:
        path: the cache file; its folder is created.
        key: name of the source's state; a file with another key is rebuilt.
        build: (allocate, scratch folder) -> measured arrays, whose images are views of the array
            that `allocate(shape)` last gave, training images first.

    Returns:
        Arrays mapped from the file, copy-on-write: writing to them never reaches the file. Every
        byte of them was compared with the file's checksum in this call.

    Raises:
        WarminitError: if the folder cannot be written or is full.
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
                    shutil.rmtree(leftover, ignore_errors=True)
                with tempfile.TemporaryDirectory(
                    prefix=f"{path.name}.partial-", dir=path.parent
                ) as scratch:
                    _build(path, key, build, Path(scratch))
                found = read_cache(path, key)
    except OSError as error:
        raise WarminitError(
            f"cache_dir={str(path.parent)!r} cannot hold the decoded images: {error}. Pass a "
            "writable folder with free space, as cache_dir or in WARMINIT_CACHE."
        ) from error
    if found is None:
        raise WarminitError(
            f"cache_dir={str(path.parent)!r} returns other bytes than were written. Pass another "
            "folder, as cache_dir or in WARMINIT_CACHE."
        )
    return found


def read_cache(path: Path, key: str) -> ImageArrays | None:
    """Map the arrays of a cache file; None if it is missing, damaged or has another key."""
    from safetensors import SafetensorError, safe_open

    try:
        # torch maps the file copy-on-write; NumPy's reader would copy it.
        with safe_open(path, "pt") as file:
            checksum, _, text = (file.metadata() or {})[METADATA].partition(" ")
            images, labels = (file.get_tensor(name).numpy() for name in ("images", "labels"))
        facts = json.loads(text)
        if facts["key"] != key or facts["format"] != FORMAT:
            return None
        if checksum != _checksum(text, images, labels):
            return None
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    n_train = facts["n_train"]
    return ImageArrays(
        images[:n_train],
        labels[:n_train],
        images[n_train:],
        labels[n_train:],
        class_names=tuple(facts["class_names"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        fingerprint=facts["fingerprint"],
        test_split=facts["test_split"],
    )


def _build(
    path: Path, key: str, build: Callable[[Allocate, Path], ImageArrays], scratch: Path
) -> None:
    from safetensors.numpy import save_file

    decoded, whole = scratch / "decoded", scratch / "whole"
    mapped: list[NDArray[np.uint8]] = []

    def allocate(shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        mapped.clear()
        size = int(np.prod(shape, dtype=np.int64))
        with decoded.open("wb") as file:
            # Room is taken now: a disk that fills up under a memory map kills the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        mapped.append(np.memmap(decoded, dtype=np.uint8, mode="r+", shape=shape).view(np.ndarray))
        return mapped[0]

    arrays = build(allocate, scratch)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    facts = json.dumps(
        {
            "format": FORMAT,
            "key": key,
            "n_train": len(arrays.train_labels),
            "class_names": arrays.class_names,
            "mean": arrays.mean,
            "std": arrays.std,
            "fingerprint": arrays.fingerprint,
            "test_split": arrays.test_split,
        }
    )
    metadata = {METADATA: f"{_checksum(facts, mapped[0], labels)} {facts}"}
    save_file({"images": mapped[0], "labels": labels}, whole, metadata)
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    whole.replace(path)


def _checksum(facts: str, *arrays: NDArray[Any]) -> str:
    checksum = zlib.crc32(facts.encode())
    for array in arrays:
        checksum = zlib.crc32(f"{array.dtype.str} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.data, checksum)
    return f"{checksum:08x}"
