"""docs/assets/ -> the picture of the first page holds the filters of the kept run."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from front_pictures import ASSETS, INKS, SET, kept_run, panels, picture
from warminit.lab.data.load import load_dataset
from warminit.lab.report.starts import start_of

TILE = re.compile(r"data:image/png;base64,([\w+/=]+)")


def kept(mode: str) -> str:
    return (ASSETS / f"filters-{mode}.svg").read_text(encoding="utf-8")


def tiles(svg: str) -> NDArray[np.int64]:
    """The filters of both panels, (2, F, height, width, 3)."""
    files = [Image.open(io.BytesIO(base64.b64decode(each))) for each in TILE.findall(svg)]
    return np.stack([np.asarray(file, dtype=np.int64) for file in files]).reshape(2, 32, 36, 36, 3)


def test_the_frame_holds_what_was_set_and_nothing_else() -> None:
    before, after = tiles(kept("light"))
    same = (before == after).all(axis=(1, 2, 3))
    assert same.tolist() == [False] * SET + [True] * (32 - SET)


def test_both_themes_show_the_same_filters() -> None:
    assert (tiles(kept("light")) == tiles(kept("dark"))).all()
    assert TILE.sub("", kept("light")) != TILE.sub("", kept("dark"))


@pytest.mark.usefixtures("one_thread")
def test_the_picture_is_that_of_the_kept_run(data_root: Path) -> None:
    drawn = panels(data_root)
    for mode in INKS:
        assert TILE.sub("", picture(*drawn, mode)) == TILE.sub("", kept(mode))
    start = start_of(load_dataset("cifar10", data_root=data_root), kept_run())
    for shown, filters in zip(tiles(kept("light")), (start.before, start.after), strict=True):
        values = filters.double().numpy().transpose(0, 2, 3, 1)  # as an image: channels last
        low, high = (end(values, axis=(1, 2, 3), keepdims=True) for end in (np.min, np.max))
        # Another processor may round a shade of gray the other way.
        assert np.abs(shown[:, 6::12, 6::12] - 255 * (values - low) / (high - low)).max() <= 1.5
