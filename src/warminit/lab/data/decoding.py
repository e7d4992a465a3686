"""rows of encoded images -> one uint8 array (N, C, H, W), decoded by Pillow in parallel threads.

Pillow releases the interpreter's lock while it decodes. Formats are recognized by content, from a
list. Other formats call programs outside Pillow (PostScript), or hide the depth of their pixels.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from warminit.errors import WarminitError

CHUNK = 256  # images a task: large enough that threads cost nothing, small enough for progress
MAX_THREADS = 16
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
BITS_PER_SAMPLE = 258  # TIFF's tag
GRAY_MODES = ("1", "L", "LA", "La")

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
        where: row of the source -> its description ("train row 17").
        test_split: the source's name of the test split, or HELD_OUT.
    """

    read: Callable[[], Iterator[list[bytes]]]
    labels: NDArray[np.int64]
    order: NDArray[np.int64]
    n_train: int
    class_names: tuple[str, ...]
    where: Callable[[int], str]
    test_split: str


class PixelError(Exception):
    """Report an image of a chunk that cannot be used.

    Attributes:
        kind: "colour" where gray was expected, "undecodable", or "size" where sizes differ.
        position: of the image in its chunk.
        found: what was found there.
    """

    def __init__(self, kind: str, position: int, found: str) -> None:
        super().__init__(f"image {position} of the chunk: {kind}: {found}")
        self.kind = kind
        self.position = position
        self.found = found


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
        allocate: shape (N, C, H, W) -> the uint8 array to fill; called again if the first colour
            image is not in the first chunk.
        progress: called in this thread with (rows decoded, rows in all), ascending; starts over if
            the first colour image is not in the first chunk.

    Returns:
        The array of the last `allocate`, every row of it written.

    Raises:
        WarminitError: for images of several sizes without `size`, more than 8 bits per channel,
            several frames, or undecodable content; the text names the row.
    """
    Image.init()  # registers the formats once, before threads ask for them
    try:
        first = _upright(next(iter(rows.read()))[0], 0)
        channels = 1 if first.mode in GRAY_MODES else 3
        shape = (first.height, first.width) if size is None else size
        try:
            return _decode(rows, channels, shape, size is not None, allocate, progress)
        except PixelError as error:
            if error.kind != "colour":
                raise
            return _decode(rows, 3, shape, size is not None, allocate, progress)
    except PixelError as error:
        place = rows.where(error.position)
        if error.kind == "size":
            raise WarminitError(
                f"images have several sizes: {rows.where(0)} is {shape[0]} x {shape[1]} (height x "
                f"width), {place} is {error.found}. Pass resize=(height, width), or --resize on "
                "the command line."
            ) from None
        raise WarminitError(
            f"{place} cannot be used: {error.found}. Expected one {', '.join(FORMATS)} image of 8 "
            "bits per channel. Convert, replace or remove it."
        ) from None


def _decode(
    rows: Rows,
    channels: int,
    size: tuple[int, int],
    resize: bool,
    allocate: Allocate,
    progress: Progress | None,
) -> NDArray[np.uint8]:
    total, done = len(rows.labels), 0
    out = allocate((total, channels, *size))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(cores or 1, MAX_THREADS)
    waiting: deque[tuple[int, int, Future[NDArray[np.uint8]]]] = deque()
    pool = ThreadPoolExecutor(threads)

    def collect() -> None:
        start, number, future = waiting.popleft()
        try:
            out[rows.order[start : start + number]] = future.result()
        except PixelError as error:
            raise PixelError(error.kind, start + error.position, error.found) from None
        if progress is not None:
            progress(start + number, total)

    try:
        for chunk in rows.read():
            task = pool.submit(decode_chunk, chunk, channels, size, resize=resize)
            waiting.append((done, len(chunk), task))
            done += len(chunk)
            # Two chunks a thread under way keep all busy and bound the memory.
            while len(waiting) > 2 * threads:
                collect()
        while waiting:
            collect()
    finally:
        pool.shutdown(cancel_futures=True)
    if done != total:
        raise WarminitError(
            f"the source gave {done} images for {total} labels; it changed while it was read. "
            "Load it again."
        )
    return out


def decode_chunk(
    encoded: list[bytes], channels: int, size: tuple[int, int], *, resize: bool
) -> NDArray[np.uint8]:
    """Decode a chunk of images.

    Args:
        encoded: n files' contents, each of one of FORMATS.
        channels: 1, where every image must be gray, or 3, where gray ones become RGB. An alpha
            channel is dropped.
        size: (height, width) of the result.
        resize: whether images of other sizes are resized to `size` (bilinear, with Pillow's
            smoothing); if False, another size is an error.

    Returns:
        uint8 (n, channels, height, width).

    Raises:
        PixelError: at the first image that cannot be used.
    """
    pixels = np.empty((len(encoded), channels, *size), dtype=np.uint8)
    for position, content in enumerate(encoded):
        image = _upright(content, position)
        if channels == 1 and image.mode not in GRAY_MODES:
            raise PixelError("colour", position, image.mode)
        if not resize and (image.height, image.width) != size:
            raise PixelError("size", position, f"{image.height} x {image.width}")
        try:
            image = image.convert("L" if channels == 1 else "RGB")
        except Exception as error:  # as in _upright
            raise PixelError("undecodable", position, str(error)) from error
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        values = np.asarray(image)
        pixels[position] = values if channels == 1 else values.transpose(2, 0, 1)
    return pixels


def _upright(encoded: bytes, position: int) -> Image.Image:
    """Decode an image as a viewer shows it: its EXIF orientation is applied."""
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if refusal := _refusal(image):
            raise ValueError(refusal)
        image.load()
        with suppress(SyntaxError):  # the EXIF block is none: viewers turn nothing either
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        found = str(error) or type(error).__name__
        raise PixelError("undecodable", position, found.split(" <_io.BytesIO")[0]) from error
    return image


def _refusal(image: Image.Image) -> str | None:
    # A phone's JPEG may carry a depth or gain map as a second frame (MPO): viewers show the first.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return f"the file holds {getattr(image, 'n_frames', 'several')} frames, and one is read"
    # Pillow reads deep RGB files as 8-bit "RGB" without a word. ";16" in a tile, the largest value
    # in PPM's and the bits a sample in TIFF's tags still name the depth.
    tiles = getattr(image, "tile", ())
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    deep = max(bits) > 8 or any(
        ";16" in str(tile) or (image.format == "PPM" and _largest(tile[-1]) > 255) for tile in tiles
    )
    if deep or image.mode.startswith(("I", "F")):
        return f"the image has more than 8 bits per channel (Pillow mode {image.mode})"
    return None


def _largest(arguments: object) -> int:
    values = arguments if isinstance(arguments, tuple) else (arguments,)
    return max((value for value in values if isinstance(value, int)), default=0)
