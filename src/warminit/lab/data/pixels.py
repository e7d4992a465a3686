"""encoded images -> uint8 pixels (N, C, H, W), in this process or as a worker behind two pipes.

`decoding.py` starts this file by its path as a worker process, so it imports nothing of warminit.
Own pipes and plain bytes stand where `multiprocessing` would pickle, fork a process that has
threads, or ask the user's script for an `if __name__ == "__main__"`.
"""

import io
import struct
import sys
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REQUEST = struct.Struct("<5q")  # images, channels, height, width, resize (0 or 1)
REPLY = struct.Struct("<3q")  # status, position of the image that failed, length of the payload
STATUSES = ("decoded", "colour", "undecodable", "size")
GRAY_MODES = ("1", "L", "LA", "La")


class PixelError(Exception):
    """One image of a chunk cannot be used as asked.

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


def open_image(encoded: bytes) -> Image.Image:
    """Open an encoded image of at most 8 bits a channel; pixels are decoded on first use."""
    image = Image.open(io.BytesIO(encoded))
    # Pillow reads a 16-bit RGB file as 8-bit "RGB" without a word; its tile still names the depth.
    deep_tile = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    if image.mode.startswith(("I", "F")) or deep_tile:
        raise ValueError(
            f"the image has more than 8 bits a channel (Pillow mode {image.mode}); 8 bits are "
            "wanted. Convert the images to 8 bits first"
        )
    return image


def probe_image(encoded: bytes) -> tuple[int, int, int]:
    """Return (channels, height, width) from an image's header; channels is 1 or 3."""
    try:
        with open_image(encoded) as image:
            return 1 if image.mode in GRAY_MODES else 3, image.height, image.width
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise PixelError("undecodable", 0, str(error)) from error


def decode_chunk(
    encoded: list[bytes], channels: int, size: tuple[int, int], *, resize: bool
) -> NDArray[np.uint8]:
    """Decode a chunk of images.

    Args:
        encoded: n files' contents: PNG, JPEG, WebP or whatever else Pillow reads.
        channels: 1, where every image must be gray, or 3, where gray ones become RGB. An alpha
            channel is dropped.
        size: (height, width) of the result.
        resize: bring images of other sizes to `size` (bilinear, with Pillow's smoothing where
            it shrinks); where False, another size is an error.

    Returns:
        uint8 (n, channels, height, width).

    Raises:
        PixelError: at the first image that cannot be used.
    """
    pixels = np.empty((len(encoded), channels, *size), dtype=np.uint8)
    for position, content in enumerate(encoded):
        try:
            image = open_image(content)
            if channels == 1 and image.mode not in GRAY_MODES:
                raise PixelError("colour", position, image.mode)
            if not resize and (image.height, image.width) != size:
                raise PixelError("size", position, f"{image.height} x {image.width}")
            image = image.convert("L" if channels == 1 else "RGB")
            if (image.height, image.width) != size:
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            values = np.asarray(image)
        except PixelError:
            raise
        except Exception as error:  # as in probe_image
            raise PixelError("undecodable", position, str(error)) from error
        pixels[position] = values if channels == 1 else values.transpose(2, 0, 1)
    return pixels


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer one chunk after the other until the requests end."""
    while header := requests.read(REQUEST.size):
        number, channels, height, width, resize = REQUEST.unpack(header)
        lengths = np.frombuffer(requests.read(8 * number), dtype="<i8")
        encoded = [requests.read(int(length)) for length in lengths]
        try:
            pixels = decode_chunk(encoded, channels, (height, width), resize=bool(resize))
        except PixelError as error:
            found = error.found.encode()
            replies.write(REPLY.pack(STATUSES.index(error.kind), error.position, len(found)))
            replies.write(found)
        else:
            replies.write(REPLY.pack(0, 0, pixels.nbytes))
            replies.write(pixels.data)
        replies.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
