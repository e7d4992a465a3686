"""training split -> training and validation parts: disjoint, stratified, seeded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from warminit.errors import WarminitError
from warminit.lab.data.arrays import choose_stratified
from warminit.lab.data.load import ImageDataset, load_dataset


@pytest.fixture(scope="module")
def mini() -> ImageDataset:
    return load_dataset("fashion-mini")


def test_validation_is_carved_from_the_training_split(mini: ImageDataset) -> None:
    # Each image is marked by its row, so that where it went can be read off.
    marked = mini.train_images.clone()
    rows = torch.arange(6_000)
    marked[:, 0, 0, 0], marked[:, 0, 0, 1] = rows // 256, rows % 256
    carved = replace(mini, train_images=marked).with_validation(1_003, seed=3)

    def origin(images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1]

    kept, validation = origin(carved.train_images), origin(carved.test_images)
    assert (len(kept), len(validation)) == (4_997, 1_003)
    assert torch.equal(torch.cat([kept, validation]).sort().values, rows)
    assert torch.equal(kept, kept.sort().values)  # the order of the training split
    assert torch.equal(carved.train_labels, mini.train_labels[kept])
    assert torch.equal(carved.test_labels, mini.train_labels[validation])
    assert set(torch.bincount(carved.test_labels).tolist()) == {100, 101}
    pixels = marked[kept].double() / 255
    assert carved.mean == pytest.approx([float(pixels.mean())], rel=1e-9)
    assert carved.std == pytest.approx([float(pixels.std(correction=0))], rel=1e-9)
    assert carved.name == "fashion-mini+validation"
    assert carved.fingerprint != mini.fingerprint


def test_validation_depends_on_n_and_seed_only(mini: ImageDataset) -> None:
    before = repr(np.random.get_state()), torch.get_rng_state().tolist()
    one, two = mini.with_validation(600), mini.with_validation(600)
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != mini.with_validation(600, seed=1).fingerprint
    after = repr(np.random.get_state()), torch.get_rng_state().tolist()
    assert before == after


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
def test_stratified_choice_gives_every_class_its_share(
    counts: list[int], part: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)) * 2, counts)  # a gap between labels is no class
    n = max(1, int(part * len(labels)))
    try:
        chosen = choose_stratified(labels, n, seed)
    except WarminitError:
        # Refused only where some class would be used up by its share or by the next whole number.
        assert any(n * count / len(labels) > count - 1 for count in counts)
        return
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == n
    for label, count in enumerate(counts):
        share = int(np.sum(labels[chosen] == label * 2))
        assert abs(share - n * count / len(labels)) < 1
        assert share < count


@pytest.mark.parametrize(
    ("n", "seed", "text"),
    [
        (0, 0, "n=0 is not a whole number of at least 1"),
        (2.5, 0, "n=2.5 is not a whole number"),
        (True, 0, "n=True is not a whole number"),
        (10, -1, "seed=-1 is not a whole number of at least 0"),
        (5_991, 0, "n=5991 validation images of 6000 training images in 10 classes leave a class"),
    ],
)
def test_impossible_validation_splits_are_refused(
    n: int, seed: int, text: str, mini: ImageDataset
) -> None:
    with pytest.raises(WarminitError, match=text):
        mini.with_validation(n, seed)


def test_a_class_is_never_used_up() -> None:
    with pytest.raises(WarminitError, match=r"takes all 1 images of class 1"):
        choose_stratified(np.array([0] * 9 + [1] + [2] * 2), 9, 0)
