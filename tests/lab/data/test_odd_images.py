"""images that are not what their name says: other formats, rotated, deep, of several frames."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from dataset_files import folder_of, random_images
from warminit.errors import WarminitError
from warminit.lab.data.load import load_dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_first(tmp_path: Path, content: bytes, name: str = "000.png") -> Path:
    """Write a folder of 6 x 5 images whose first training image has the given content."""
    folder = folder_of(tmp_path / "x")
    (folder / "train/ant/000.png").unlink()
    (folder / "train/ant" / name).write_bytes(content)
    return folder


def test_postscript_by_the_name_of_an_image_reaches_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("000.png", "002.eps"):
        folder = with_first(tmp_path / name, program, name)
        with pytest.raises(WarminitError, match=rf"{name}' cannot be used: cannot identify"):
            load_dataset(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_formats_are_told_by_content(kind: str, tmp_path: Path) -> None:
    pixels = random_images(1, 6, 5)[0]
    options = {"lossless": True} if kind == "WEBP" else {}
    folder = with_first(tmp_path, saved(Image.fromarray(pixels), kind, **options), "000.jpg")
    found = load_dataset(str(folder)).train_images[0].numpy()
    assert np.array_equal(found, np.stack([pixels] * len(found)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_stand_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    sideways = orientation > 4
    pixels = np.zeros((5, 6) if sideways else (6, 5), np.uint8)
    pixels[0, :2], pixels[0, -1] = 255, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(pixels).convert("RGB"), kind, exif=exif, **options)
    # The oracle: the eight orientations of the EXIF standard, as turns and mirrors of the array.
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        stored = np.asarray(image) if kind != "TIFF" else np.dstack([pixels] * 3)
    turned = [
        stored, stored[:, ::-1], stored[::-1, ::-1], stored[::-1],
        stored.transpose(1, 0, 2), np.rot90(stored, -1), np.rot90(stored, 2).transpose(1, 0, 2),
        np.rot90(stored),
    ][orientation - 1]  # fmt: skip
    folder = with_first(tmp_path, content)
    assert np.array_equal(
        load_dataset(str(folder)).train_images[0].numpy(), turned.transpose(2, 0, 1)
    )


def test_resized_photographs_are_turned_first(tmp_path: Path) -> None:
    pixels, exif = random_images(1, 9, 12, 3)[0], Image.Exif()
    exif[0x0112] = 6
    content = saved(Image.fromarray(pixels), "PNG", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = ImageOps.exif_transpose(image).resize((3, 4), Image.Resampling.BILINEAR)
    found = load_dataset(str(with_first(tmp_path, content)), resize=(4, 3)).train_images[0]
    assert np.array_equal(found.numpy(), np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_is_none_turns_nothing(kind: str, tmp_path: Path) -> None:
    pixels = random_images(1, 6, 5, 3)[0]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(pixels), kind, exif=b"Exif\0\0no exif", **options)
    found = load_dataset(str(with_first(tmp_path, content))).train_images[0].numpy()
    assert np.array_equal(found, pixels.transpose(2, 0, 1))


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    pixels = random_images(1, 6, 5)[0]
    content = saved(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):  # Pillow's own
        dataset = load_dataset(str(with_first(tmp_path, content)))
    assert np.array_equal(dataset.train_images[0, 0].numpy(), pixels)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_files_of_several_frames_are_refused(kind: str, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((6, 5), value, np.uint8)) for value in (10, 100, 200)]
    content = saved(pages[0], kind, save_all=True, append_images=pages[1:])
    with pytest.raises(WarminitError, match=r"000.png' cannot be used: the file holds 3 frames"):
        load_dataset(str(with_first(tmp_path, content)))


def test_of_a_phones_picture_with_a_depth_map_the_picture_is_read(tmp_path: Path) -> None:
    picture = Image.fromarray(random_images(1, 6, 5, 3)[0])
    depth = Image.fromarray(random_images(1, 3, 2, 3)[0])
    content = saved(picture, "MPO", save_all=True, append_images=[depth])
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "MPO"
        expected = np.asarray(image)
    found = load_dataset(str(with_first(tmp_path, content, "000.jpg"))).train_images[0].numpy()
    assert np.array_equal(found, expected.transpose(2, 0, 1))


DEEP = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000


def tiff_rgb_16(planar: int) -> bytes:
    """Write an uncompressed 16-bit RGB TIFF by hand: Pillow writes none."""
    pixels = np.dstack([DEEP] * 3)
    data = (pixels if planar == 1 else pixels.transpose(2, 0, 1)).astype("<u2").tobytes()
    strips = 1 if planar == 1 else 3
    after = 8 + len(data)
    extra = np.array([16, 16, 16], "<u2").tobytes()
    offsets = np.array([8 + i * len(data) // strips for i in range(strips)], "<u4").tobytes()
    counts = np.array([len(data) // strips] * strips, "<u4").tobytes()
    where = {"offsets": after + 6, "counts": after + 6 + len(offsets)}
    tags = [
        (256, 3, 1, 5), (257, 3, 1, 6), (258, 3, 3, after), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, strips, 8 if strips == 1 else where["offsets"]), (277, 3, 1, 3), (278, 3, 1, 6),
        (279, 4, strips, len(data) if strips == 1 else where["counts"]), (284, 3, 1, planar),
    ]  # fmt: skip
    directory = len(tags).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + number.to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, number, value in tags
    )
    start = after + len(extra) + len(offsets) + len(counts)
    head = b"II*\0" + start.to_bytes(4, "little")
    return head + data + extra + offsets + counts + directory + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(DEEP), "PNG"),
        saved(Image.fromarray(DEEP), "TIFF"),
        saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        b"P5 5 6 65535\n" + DEEP.astype(">u2").tobytes(),
        b"P6 5 6 65535\n" + np.dstack([DEEP] * 3).astype(">u2").tobytes(),
        b"P6 5 6 1023\n" + np.dstack([DEEP // 64] * 3).astype(">u2").tobytes(),
        b"P3 5 6 1023\n" + b" ".join(b"%d" % (v // 64) for v in np.repeat(DEEP.ravel(), 3)),
        tiff_rgb_16(1),
        tiff_rgb_16(2),
    ],
    ids=["png", "tiff", "tiff32", "tiff-float", "pgm", "ppm", "ppm10", "ppm-text", "rgb", "planes"],
)
def test_deep_images_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(WarminitError, match=r"000.png' cannot be used: .*more than 8 bits"):
        load_dataset(str(with_first(tmp_path, content)))
