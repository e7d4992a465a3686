"""draw_positions against the calls of random.randint that it stands for."""

import random
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warminit.images.patches import draw_positions


def loop(rng: random.Random, count: int, n_rows: int, n_cols: int) -> tuple[list[int], list[int]]:
    pairs = [(rng.randint(0, n_rows - 1), rng.randint(0, n_cols - 1)) for _ in range(count)]
    return [row for row, _ in pairs], [col for _, col in pairs]


SIZES = st.one_of(st.integers(1, 40), st.sampled_from([64, 127, 128, 129, 1000, 2**20 + 1, 2**31]))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.integers(0, 2**64), st.integers(0, 1300), st.booleans(), st.integers(0, 900), SIZES, SIZES
)
@example(7, 0, False, 400, 26, 26)  # square images, as nearly all are: words need no state
@example(8, 0, False, 400, 32, 32)
@example(9, 3, True, 400, 1, 1)
def test_positions_are_those_of_randint(
    seed: int, used: int, gauss: bool, count: int, n_rows: int, n_cols: int
) -> None:
    ours, theirs = random.Random(seed), random.Random(seed)
    for rng in (ours, theirs):  # mid-stream, across the Twister's blocks of 624 words
        rng.getrandbits(32 * used + 1)
        if gauss:
            rng.gauss(0, 1)
    rows, cols = draw_positions(ours, count, n_rows, n_cols)
    assert rows.dtype == cols.dtype == np.int64
    assert (rows.tolist(), cols.tolist()) == loop(theirs, count, n_rows, n_cols)
    assert ours.getstate() == theirs.getstate()


@pytest.mark.parametrize(("height", "width", "size"), [(28, 31, 3), (28, 28, 3), (7, 224, 7)])
def test_a_whole_batch_of_positions(height: int, width: int, size: int) -> None:
    """256 images at 58 patches: the rejections of two different ranges, 14,848 times."""
    ours, theirs = random.Random(42), random.Random(42)
    n_rows, n_cols = height - size + 1, width - size + 1
    rows, cols = draw_positions(ours, 256 * 58, n_rows, n_cols)
    assert (rows.tolist(), cols.tolist()) == loop(theirs, 256 * 58, n_rows, n_cols)
    assert ours.getstate() == theirs.getstate()


def test_no_loop_in_python_over_patches() -> None:
    def calls(n_patches: int) -> int:
        """How many calls of Python and C functions the drawing of positions makes."""
        events: list[str] = []
        sys.setprofile(lambda frame, event, arg: events.append(event))
        try:
            draw_positions(random.Random(0), n_patches, 26, 29)
        finally:
            sys.setprofile(None)
        return len(events)

    calls(10)  # imports and caches
    assert calls(5_000) < calls(50) + 200
