"""encoded images -> pixels: sizes, modes and depths, in one thread and in several."""

import io
import os
import re
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_files import png, random_images, write_folder, write_parquet
from warminit.errors import WarminitError
from warminit.lab.data.load import load_dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))


def test_several_sizes_need_resize(tmp_path: Path) -> None:
    small, large = random_images(4, 6, 5), random_images(4, 12, 9)
    folder = write_folder(
        tmp_path / "x", {"train/a": [*small, large[0]], "test/a": list(large[1:])}
    )
    text = (
        r"several sizes: image '.*/train/a/000.png' is 6 x 5 \(height x width\), image "
        r"'.*/train/a/004.png' is 12 x 9. .*--resize"
    )
    with pytest.raises(WarminitError, match=text):
        load_dataset(str(folder))
    dataset = load_dataset(str(folder), resize=(6, 5))
    assert np.array_equal(dataset.train_images[:4, 0].numpy(), small)
    expected = Image.fromarray(large[0]).resize((5, 6), Image.Resampling.BILINEAR)
    assert np.array_equal(dataset.train_images[4, 0].numpy(), np.asarray(expected))
    assert load_dataset(str(folder), resize=7).image_size == (7, 7)
    assert load_dataset(str(folder), resize=(6, 5)).image_size == (6, 5)


@pytest.mark.parametrize("resize", [0, -3, True, 2.5, (3,), (3, 0), "28", (True, 2)])
def test_impossible_sizes(resize: Any) -> None:
    with pytest.raises(WarminitError, match=re.escape(f"resize={resize!r}: expected")):
        load_dataset("fashion-mini", resize=resize)


@pytest.mark.parametrize("late", [0, 3, 299])
def test_one_colour_image_makes_the_set_rgb(late: int, tmp_path: Path) -> None:
    images: list[Any] = list(random_images(300, 4, 4))
    images[late] = random_images(1, 4, 4, 3)[0]
    folder = write_folder(tmp_path / "x", {"train/a": images, "test/a": images[:1]})
    dataset = load_dataset(str(folder))
    assert dataset.in_channels == 3
    for index in range(300):
        expected = images[index] if images[index].ndim == 3 else np.stack([images[index]] * 3, 2)
        assert np.array_equal(dataset.train_images[index].numpy(), expected.transpose(2, 0, 1))


def test_palettes_alpha_and_black_and_white(tmp_path: Path) -> None:
    gray = random_images(1, 6, 6)[0]
    colour = random_images(1, 6, 6, 3)[0]
    for name, image in {
        "gray": Image.fromarray(np.dstack([gray, 255 - gray]), "LA"),
        "bits": Image.fromarray(gray > 127),
    }.items():
        (tmp_path / name / "train" / "a").mkdir(parents=True)
        for number in range(5):
            image.save(tmp_path / name / f"train/a/{number}.png")
        dataset = load_dataset(str(tmp_path / name))
        expected = gray if name == "gray" else np.where(gray > 127, 255, 0)
        assert np.array_equal(dataset.train_images[0, 0].numpy(), expected)
    folder = tmp_path / "rgba" / "train" / "a"
    folder.mkdir(parents=True)
    for number in range(5):
        Image.fromarray(np.dstack([colour, gray]), "RGBA").save(folder / f"{number}.png")
    dataset = load_dataset(str(tmp_path / "rgba"))
    assert np.array_equal(dataset.train_images[0].numpy(), colour.transpose(2, 0, 1))


def sixteen_bit_rgb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + b"\x12\x34" * 12) * 4
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (png(np.zeros((4, 4), np.uint16)), "more than 8 bits per channel .Pillow mode I;16"),
        (sixteen_bit_rgb(), "more than 8 bits per channel .Pillow mode RGB"),
        (b"no image", "cannot identify image file"),
        (png(random_images(1, 4, 4)[0])[:-30], "(truncated|broken)"),
        (None, "holds no image"),
    ],
    ids=["16-bit gray", "16-bit RGB", "no image", "cut short", "null"],
)
def test_images_that_cannot_be_used(
    content: bytes | None, text: str, position: int, tmp_path: Path
) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4)]
    encoded[position] = content
    path = write_parquet(tmp_path / "x.parquet", encoded, [0, 1] * 5)
    with pytest.raises(WarminitError, match=f"train row {position} of x.parquet .*{text}"):
        load_dataset(str(path))


def jpeg(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def test_threads_give_what_one_thread_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(1_500, 9, 7, 3)
    encoded: list[bytes | None] = [
        jpeg(image) if i % 3 else png(image[:, :, 0]) for i, image in enumerate(images)
    ]
    path = write_parquet(tmp_path / "x.parquet", encoded, [0, 1, 2] * 500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    alone = load_dataset(str(path), cache_dir=tmp_path / "one")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    calls: list[tuple[int, int]] = []
    main = threading.get_ident()

    def progress(done: int, total: int) -> None:
        assert threading.get_ident() == main
        calls.append((done, total))

    together = load_dataset(str(path), cache_dir=tmp_path / "two", progress=progress)
    assert together.fingerprint == alone.fingerprint
    assert together.train_images.shape[1:] == (3, 9, 7)
    starts = [done for done, _ in calls]
    restart = starts.index(min(starts), 1) if starts.count(min(starts)) > 1 else 0
    assert starts[restart:] == sorted(set(starts[restart:]))
    assert calls[-1] == (1_500, 1_500)
    encoded[1_400] = b"broken"
    path = write_parquet(tmp_path / "y.parquet", encoded, [0, 1, 2] * 500)
    with pytest.raises(WarminitError, match=r"train row 1400 of y.parquet cannot be used"):
        load_dataset(str(path))
