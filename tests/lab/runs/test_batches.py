"""Batches, augmentation and metrics against NumPy and scikit-learn."""

from itertools import islice

import numpy as np
import pytest
import sklearn.metrics
import torch

from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.lab.runs.batches import (
    batch_order,
    first_batch,
    flip_crop,
    place_split,
    training_batches,
)
from warminit.lab.runs.evaluate import named_metrics, scorer
from warminit.lab.verdict.calibration import calibration_error

CPU = torch.device("cpu")


def test_every_epoch_is_a_new_permutation_without_the_incomplete_batch() -> None:
    epochs = list(islice(batch_order(75, 16, seed=3), 4))
    for epoch in epochs:
        assert epoch.shape == (4, 16)
        assert len(set(epoch.flatten().tolist())) == 64
    assert not any(torch.equal(epochs[0], other) for other in epochs[1:])
    # All images take part, each left out of some epochs: 4 epochs miss one image with (11/75)^4.
    assert len(set(torch.stack(epochs).flatten().tolist())) >= 70
    # The order can be had without this package.
    plain = torch.randperm(75, generator=torch.Generator().manual_seed(3))
    assert torch.equal(epochs[0].flatten(), plain[:64])


def test_batches_are_the_standardized_images_of_their_labels() -> None:
    dataset = make_dataset(shape=(3, 8, 9))
    split = place_split(dataset, "train", CPU)
    pixels = dataset.train_images.numpy() / 255
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    order = torch.cat(list(islice(batch_order(75, 16, seed=5), 2)))
    batches = list(islice(training_batches(split, 16, seed=5), 8))
    for indices, (images, labels) in zip(order, batches, strict=True):
        expected = (pixels[indices] - mean[:, None, None]) / std[:, None, None]
        # float32 arithmetic against float64: a few units in the last place of values near 4.
        np.testing.assert_allclose(images, expected, rtol=0, atol=2e-6)
        assert torch.equal(labels, dataset.train_labels[indices])
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
    first = first_batch(split, 16, seed=5)
    assert first.is_contiguous()
    assert torch.equal(first, batches[0][0])
    assert torch.equal(split.images, dataset.train_images)  # the resident pixels are not touched


def test_flip_crop_against_padding_slicing_and_reversing() -> None:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(1, 256, (200, 3, 7, 6), generator=generator).to(torch.uint8)
    shift = torch.randint(0, 9, (200, 2), generator=generator)
    mirror = torch.randint(0, 2, (200,), generator=generator).bool()
    got = flip_crop(pixels, shift, mirror)
    assert got.dtype == torch.uint8
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    for i, (row, column) in enumerate(shift.tolist()):
        expected = padded[i, :, row : row + 7, column : column + 6]
        np.testing.assert_array_equal(got[i], expected[:, :, ::-1] if mirror[i] else expected)
    still = flip_crop(pixels, torch.full((200, 2), 4), torch.zeros(200, dtype=torch.bool))
    assert torch.equal(still, pixels)


def test_augmentation_keeps_the_order_and_uses_every_shift_and_both_directions() -> None:
    # One bright pixel in the middle tells where an image was shifted, its size whether mirrored.
    dataset = make_dataset(n_train=64, shape=(1, 12, 12))
    images = torch.zeros_like(dataset.train_images)
    images[:, 0, 5, 5] = 200
    images[:, 0, 5, 6] = 100
    split = place_split(dataset, "train", CPU)
    split.images.copy_(images)
    plain = training_batches(split, 16, seed=9)
    augmented = training_batches(split, 16, seed=9, augmentation="flip-crop")
    places, directions = [], []
    for (_, labels), (moved, same_labels) in islice(zip(plain, augmented, strict=False), 400):
        assert torch.equal(labels, same_labels)
        pixels = (moved * split.std + split.mean) * 255
        bright = pixels.flatten(1).argmax(1)
        left_of_it = pixels.flatten(1).gather(1, bright[:, None] - 1)[:, 0]
        mirrored = left_of_it > 50
        places += [
            (at // 12 - 5, at % 12 - (6 if flipped else 5))
            for at, flipped in zip(bright.tolist(), mirrored.tolist(), strict=True)
        ]
        directions += mirrored.tolist()
    # 6,400 draws over 81 places: each is missed with probability (80/81)^6400 < 1e-34.
    assert set(places) == {(row, column) for row in range(-4, 5) for column in range(-4, 5)}
    # Binomial(6400, 1/2) has standard deviation 40: 5 of them are crossed once in 1.7 million.
    assert abs(sum(directions) - 3200) < 200


@pytest.mark.parametrize("n_classes", [2, 10, 11, 30])
def test_metrics_are_scikit_learns(n_classes: int) -> None:
    generator = torch.Generator().manual_seed(n_classes)
    labels = torch.randint(n_classes, (1013,), generator=generator)
    labels[: n_classes * 5] = torch.arange(n_classes * 5) % n_classes  # no class is missing
    labels[:400] = 1  # and they are not balanced
    logits = torch.randn(1013, n_classes, generator=generator)
    logits[torch.arange(1013), labels] += 1
    metrics = named_metrics(scorer(labels, n_classes)(logits), n_classes)
    predicted = logits.argmax(1)
    oracle = {
        "accuracy": sklearn.metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(labels, predicted),
        "loss": sklearn.metrics.log_loss(
            labels, logits.double().softmax(1), labels=range(n_classes)
        ),
    }
    if n_classes > 10:
        oracle["top5_accuracy"] = sklearn.metrics.top_k_accuracy_score(
            labels, logits, k=5, labels=range(n_classes)
        )
    oracle["calibration_error"] = calibration_error(logits.double().softmax(1), labels)
    assert metrics == pytest.approx(oracle, rel=1e-6)  # the loss is summed from float32 values
    assert abs(oracle["balanced_accuracy"] - oracle["accuracy"]) > 1e-4  # two different things


def test_classes_without_images_do_not_enter_the_balanced_accuracy() -> None:
    logits = torch.eye(4)[[0, 0, 2, 1]]
    metrics = named_metrics(scorer(torch.tensor([0, 0, 2, 2]), 4)(logits), 4)
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == 0.75  # recall 1 and 1/2; classes 1 and 3 have no image
    few = calibration_error(logits.double().softmax(1), [0, 0, 2, 2])  # fewer images than bins
    assert metrics["calibration_error"] == pytest.approx(few)
    uneven = named_metrics(scorer(torch.tensor([0, 0, 0, 2]), 4)(logits), 4)
    assert uneven["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)


def test_an_empty_split_and_a_constant_channel_are_refused() -> None:
    dataset = make_dataset(n_test=0)
    with pytest.raises(
        WarminitError, match=r"dataset='stripes' has 0 test images: expected at least 1"
    ):
        place_split(dataset, "test", CPU)
    dataset = make_dataset()
    object.__setattr__(dataset, "std", (0.0,))
    with pytest.raises(WarminitError, match=r"std=\[0\.0\]: expected values above 0"):
        place_split(dataset, "train", CPU)
