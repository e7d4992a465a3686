"""rows of encoded images -> one uint8 array, decoded by one worker process a core."""

import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from warminit.errors import WarminitError
from warminit.lab.data import pixels
from warminit.lab.data.pixels import PixelError

CHUNK = 256  # images a request: large enough that pipes cost nothing, small enough for progress
WORTH_WORKERS = 2_000  # below this, starting processes takes longer than decoding
MAX_WORKERS = 16

Allocate = Callable[[tuple[int, int, int, int]], NDArray[np.uint8]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded images of a data set with their labels, before decoding.

    Attributes:
        read: called once or twice, gives the encoded images in source order, in lists.
        labels: int64 (N,), in source order.
        order: int64 (N,), a permutation: position in the result of each row of the source.
        n_train: the first `n_train` rows of the result are the training split.
        class_names: one name a class.
        where: row of the source -> words that lead a user to it ("train row 17").
        held_out: the test split was taken from the training split.
    """

    read: Callable[[], Iterator[list[bytes]]]
    labels: NDArray[np.int64]
    order: NDArray[np.int64]
    n_train: int
    class_names: tuple[str, ...]
    where: Callable[[int], str]
    held_out: bool = False


class _Colour(Exception):  # noqa: N818 - not an error: the images so far were gray, this one is not
    pass


def decode_rows(
    rows: Rows,
    size: tuple[int, int] | None,
    allocate: Allocate,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Decode every row into one array.

    A data set is gray if all its images are; a single colour image makes it RGB, and the gray
    ones get three equal channels.

    Args:
        rows: what to decode, at least one row.
        size: (height, width) that every image is resized to, or None: all must have one size.
        allocate: shape (N, C, H, W) -> the uint8 array to fill; called again where the first
            colour image comes late.
        progress: called in this thread with (rows decoded, rows in all), ascending;
            starts over where the first colour image comes late.

    Returns:
        The array of the last `allocate`, every row of it written.

    Raises:
        WarminitError: for images of several sizes without `size`, of more than 8 bits a channel,
            or that Pillow cannot decode; the text names the row.
    """
    first = next(iter(rows.read()))[0]
    try:
        channels, *own_size = pixels.probe_image(first)
        shape = (own_size[0], own_size[1]) if size is None else size
        try:
            return _decode(rows, channels, shape, size is not None, allocate, progress)
        except _Colour:
            return _decode(rows, 3, shape, size is not None, allocate, progress)
    except PixelError as error:
        place = rows.where(error.position)
        if error.kind == "size":
            wanted = f"{own_size[0]} x {own_size[1]}"
            raise WarminitError(
                f"images have several sizes: {rows.where(0)} is {wanted} (height x width), {place} "
                f"is {error.found}. All must have one size: give resize=(height, width), on the "
                "command line --resize."
            ) from None
        raise WarminitError(
            f"{place} cannot be used: {error.found}. An image of 8 bits a channel is wanted, in "
            "a format that Pillow reads. Replace or remove it."
        ) from None


def _decode(
    rows: Rows,
    channels: int,
    size: tuple[int, int],
    resize: bool,
    allocate: Allocate,
    progress: Progress | None,
) -> NDArray[np.uint8]:
    total = len(rows.labels)
    out = allocate((total, channels, *size))
    done = 0
    with _Pool(_worker_count(total)) as pool:
        waiting: deque[tuple[int, int, Future[NDArray[np.uint8]]]] = deque()

        def collect() -> int:
            start, number, future = waiting.popleft()
            try:
                decoded = future.result()
            except PixelError as error:
                if error.kind == "colour":
                    raise _Colour from None
                raise PixelError(error.kind, start + error.position, error.found) from None
            out[rows.order[start : start + number]] = decoded
            if progress is not None:
                progress(start + number, total)
            return start + number

        submitted = 0
        for chunk in rows.read():
            waiting.append(
                (submitted, len(chunk), pool.submit(chunk, channels, size, resize=resize))
            )
            submitted += len(chunk)
            # Two chunks a worker under way keep all busy and bound the memory.
            while len(waiting) > 2 * pool.workers:
                done = collect()
        while waiting:
            done = collect()
    if done != total:
        raise WarminitError(
            f"the source gave {done} images for {total} labels; it changed while it was read. "
            "Load it again."
        )
    return out


def _worker_count(total: int) -> int:
    if total < WORTH_WORKERS or not sys.executable:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_WORKERS)


class _Pool:
    """Decoding processes, each driven by a thread that waits at its pipes; none for few images."""

    def __init__(self, processes: int) -> None:
        self.workers = max(1, processes)
        self._processes = [_start_worker() for _ in range(processes)]
        self._idle = deque(self._processes)
        self._threads = ThreadPoolExecutor(self.workers)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Killed rather than asked: after an error or Ctrl-C a worker may be in mid-chunk.
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def submit(
        self, encoded: list[bytes], channels: int, size: tuple[int, int], *, resize: bool
    ) -> Future[NDArray[np.uint8]]:
        """Decode a chunk on the next worker that is free."""
        return self._threads.submit(self._decode, encoded, channels, size, resize=resize)

    def _decode(
        self, encoded: list[bytes], channels: int, size: tuple[int, int], *, resize: bool
    ) -> NDArray[np.uint8]:
        if not self._processes:
            return pixels.decode_chunk(encoded, channels, size, resize=resize)
        with self._lock:
            process = self._idle.popleft()
        try:
            return _ask(process, encoded, channels, size, resize=resize)
        finally:
            with self._lock:
                self._idle.append(process)


def _start_worker() -> "subprocess.Popen[bytes]":
    # -P keeps this folder off the path, where `statistics.py` would hide Python's own.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-P", str(Path(pixels.__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _ask(
    process: "subprocess.Popen[bytes]",
    encoded: list[bytes],
    channels: int,
    size: tuple[int, int],
    *,
    resize: bool,
) -> NDArray[np.uint8]:
    if process.stdin is None or process.stdout is None:  # for the type checker; both are pipes
        raise WarminitError("a decoding process has no pipes. Load the data set again.")
    try:
        process.stdin.write(pixels.REQUEST.pack(len(encoded), channels, *size, int(resize)))
        process.stdin.write(np.array([len(item) for item in encoded], dtype="<i8").tobytes())
        process.stdin.writelines(encoded)
        process.stdin.flush()
        status, position, length = pixels.REPLY.unpack(process.stdout.read(pixels.REPLY.size))
        payload = process.stdout.read(length)
        if len(payload) != length:
            raise EOFError
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise WarminitError(
            f"a decoding process ended before its answer (exit code {process.poll()}); it may "
            "have been killed for want of memory. Free memory or shrink the images, then load "
            "the data set again."
        ) from error
    if status == 0:
        return np.frombuffer(payload, dtype=np.uint8).reshape(len(encoded), channels, *size)
    raise PixelError(pixels.STATUSES[status], position, payload.decode())
