"""batches from anywhere -> the same filters, and a training that does not notice the call."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from arm_guarantees import global_states
from warminit import prewarm_
from warminit.errors import WarminitError
from warminit.images.source import read_images

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = torch.rand(96, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(96)
DATASET = TensorDataset(PIXELS, LABELS)


def model() -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(3, 8, 3)


def filters(images: Any, **options: Any) -> Tensor:
    conv = model()
    prewarm_(conv, images, patches_per_image=9, **options)
    return conv.weight.detach()[:4]


def test_a_tensor_and_the_batches_that_make_it_up_give_the_same_filters() -> None:
    wanted = filters(PIXELS[:24])
    batches = PIXELS[:24].split(8)
    as_mappings = [{"pixel_values": batch, "labels": None} for batch in batches]
    as_pairs = [(batch, torch.zeros(8)) for batch in batches]
    as_lists = [[batch, "name"] for batch in batches]
    for form in (list(batches), as_mappings, as_pairs, as_lists, DataLoader(DATASET, 8)):
        assert torch.equal(filters(form, batches=3), wanted), type(form)
    assert torch.equal(filters((batch for batch in batches), batches=3), wanted)


def test_eight_batches_are_read_where_nothing_is_said() -> None:
    report = prewarm_(model(), DataLoader(DATASET, 4), patches_per_image=9)
    assert "read 32 images from 8 batches" in report.notes
    assert torch.equal(filters(DataLoader(DATASET, 4)), filters(PIXELS[:32]))
    short = prewarm_(model(), DataLoader(DATASET, 40), patches_per_image=9)
    assert "read 96 images from 3 batches" in short.notes  # all that there are


class Augmented(Dataset[tuple[Tensor, int]]):
    """Draws from every generator that a training set may draw from."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.rand(3, 8, 8) + np.random.rand() + random.random()
        return noise + index, index


def loader(workers: int, persistent: bool, own: bool) -> DataLoader[Any]:
    return DataLoader(
        Augmented(),
        batch_size=8,
        shuffle=True,
        num_workers=workers,
        persistent_workers=persistent,
        generator=torch.Generator().manual_seed(5) if own else None,
    )


def two_epochs(train: DataLoader[Any], call: bool, between: bool) -> list[tuple[Tensor, Tensor]]:
    """What a training sees, with the call before it or between its epochs."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    seen: list[tuple[Tensor, Tensor]] = []
    conv = nn.Conv2d(3, 8, 3)
    for epoch in range(2):
        if call and epoch == int(between):
            states = global_states()
            prewarm_(conv, train, batches=2, patches_per_image=9, scale=0.2)
            assert global_states() == states
        seen += [(images.clone(), labels.clone()) for images, labels in train]
    assert len(seen) == 10
    return seen


@pytest.mark.parametrize("between", [False, True], ids=["before", "between epochs"])
@pytest.mark.parametrize("own", [False, True], ids=["global generator", "own generator"])
@pytest.mark.parametrize(
    ("workers", "persistent"), [(0, False), (2, False), (2, True)], ids=["0", "2", "2 persistent"]
)
def test_training_sees_the_same_images_in_the_same_order(
    workers: int, persistent: bool, own: bool, between: bool
) -> None:
    with_call = two_epochs(loader(workers, persistent, own), True, between)
    without = two_epochs(loader(workers, persistent, own), False, between)
    for (images, labels), (other_images, other_labels) in zip(with_call, without, strict=True):
        assert torch.equal(labels, other_labels)
        assert torch.equal(images, other_images)  # the workers' own random states, too


def test_a_sampler_with_a_generator_of_its_own() -> None:
    orders = []
    for call in (True, False):
        generator = torch.Generator().manual_seed(3)
        sampler = torch.utils.data.RandomSampler(DATASET, generator=generator)
        train = DataLoader(DATASET, 8, sampler=sampler)
        if call:
            prewarm_(model(), train, patches_per_image=9)
        orders.append([labels.tolist() for _, labels in train])
    assert orders[0] == orders[1]


def test_an_iterable_dataset_starts_again() -> None:
    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            yield from PIXELS

    train = DataLoader(Stream(), 8)
    assert torch.equal(filters(train, batches=2), filters(PIXELS[:16]))
    assert torch.equal(next(iter(train)), PIXELS[:8])


def test_an_iterator_is_advanced_by_what_was_read_and_no_more() -> None:
    batches = iter(PIXELS.split(8))
    prewarm_(model(), batches, batches=3, patches_per_image=9)
    assert torch.equal(next(batches), PIXELS[24:32])


def sorted_classes() -> DataLoader[Any]:
    """Eight classes, one a batch: stripes in eight directions."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    classes = []
    for label in range(8):
        angle = label * torch.pi / 8
        wave = rows * np.cos(angle) + columns * np.sin(angle)
        phases = torch.linspace(0, 6, 16)[:, None, None]
        classes.append(0.5 + 0.5 * torch.sin(wave * 1.5 + phases))
    images = torch.cat(classes)[:, None]
    return DataLoader(TensorDataset(images, torch.arange(128) // 16), batch_size=16)


def test_a_first_batch_that_represents_nothing_does_not_decide() -> None:
    """One class shows stripes in one direction only, which span two dimensions of patches."""
    first, all_classes = (stripe_filters(batches) for batches in (1, 8))
    spans = []
    for bank in (first, all_classes):
        spread = torch.linalg.svdvals(bank)
        spans.append(int((spread > 0.05 * spread[0]).sum()))
    assert spans[0] < spans[1], spans
    cosine = torch.nn.functional.normalize(first) @ torch.nn.functional.normalize(all_classes).T
    assert float(cosine.amax(0).min()) < 0.9  # a filter that the first batch has nothing like


def stripe_filters(batches: int) -> Tensor:
    conv = nn.Conv2d(1, 16, 3)
    prewarm_(conv, sorted_classes(), batches=batches, patches_per_image=20)
    return conv.weight.detach()[:8].flatten(1)


BAD: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "no batch": ([], {}, ("list without a single batch", "not empty")),
    "batches of 0": (DataLoader(DATASET, 8), {"batches": 0}, ("batches=0", "at least 1", "8")),
    "batches as a word": (DataLoader(DATASET, 8), {"batches": "all"}, ("batches='all'", "whole")),
    "a batch of names": ([("a", "b")], {}, ("batch 0 of images is a tuple", "'pixel_values'")),
    "a mapping without images": ([{"labels": LABELS}], {}, ("batch 0 of images is a dict",)),
    "one batch with its labels": (
        [PIXELS, LABELS], {}, ("batch 1 of images has shape (", "pass only the images"),
    ),
    "one batch as a mapping": (
        {"x": PIXELS}, {}, ("images is a dict with x", "for example images['pixel_values']"),
    ),
    "types that differ": (
        [PIXELS[:4], PIXELS[:4].to(torch.uint8)], {}, ("batch 1 of images is torch.uint8 and",),
    ),
    "sizes that differ": (
        [PIXELS[:4], PIXELS[:4, :, :6]], {}, ("batch 1 has images of (3, 6, 8) and batch 0",),
    ),
    "NaN in the second batch": (
        [PIXELS[:4], PIXELS[:4] * float("nan")], {}, ("768 NaN or infinite values out of 1536",),
    ),
    "neither": (3, {}, ("images is a int", "expected a torch.Tensor (N, C, H, W)")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_loaders_that_give_no_images_are_refused(case: str) -> None:
    images, options, fragments = BAD[case]
    conv = model()
    kept = conv.weight.detach().clone()
    states = global_states()
    with pytest.raises(WarminitError) as caught:
        prewarm_(conv, images, patches_per_image=9, **options)
    assert not [text for text in fragments if text not in str(caught.value)], str(caught.value)
    assert torch.equal(conv.weight, kept)
    assert global_states() == states


def test_an_error_in_the_dataset_comes_through_with_its_own_name() -> None:
    class Broken(Augmented):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            torch.rand(())
            raise OSError("disk")

    conv, loader = model(), DataLoader(Broken(), 4)
    states = global_states()
    with pytest.raises(OSError, match="disk"):
        prewarm_(conv, loader)
    assert global_states() == states


def test_large_batches_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warminit.images.source._IMAGE_BYTES", 2 * 5 * PIXELS[0].numel() * 4)
    kept, note = read_images(DataLoader(DATASET, 48), 2)
    assert note == "read 96 images from 2 batches, of which 10 were kept"
    assert torch.equal(kept[:5], PIXELS[[0, 11, 23, 35, 47]])


MEASURED = """
import pathlib, warnings
import torch
from torch import nn
import sklearn.cluster
from warminit import prewarm_, whiten_
torch.set_num_threads(1)
warnings.simplefilter("error")
def resident(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(name + ":")[1].split()[0]) / 1024
conv = nn.Conv2d
prewarm_(conv(3, 8, 3), torch.rand(4, 3, 32, 32), patches_per_image=50)   # everything is loaded
{setup}
before = resident("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")   # the peak starts from here
report = {call}
print(resident("VmHWM") - before, "|", *report.notes)
"""

# name -> (setup, call, whether the patches are sampled down)
LARGE: dict[str, tuple[str, str, bool]] = {
    "one channel": (
        "images = torch.rand(64, 1, 512, 512)",
        "prewarm_(conv(1, 32, 3), images, patches_per_image=40000)", True,
    ),
    "channels_last photographs": (
        "images = torch.rand(4, 3, 2048, 2048).contiguous(memory_format=torch.channels_last)",
        "prewarm_(conv(3, 64, 7), images)", False,
    ),
    "groups of uint8": (
        "images = torch.randint(0, 256, (48, 6, 512, 512), dtype=torch.uint8)",
        "prewarm_(conv(6, 64, 5, groups=2), images, patches_per_image=50000, mean=0.5, std=0.25)",
        True,
    ),
    "a ViT's patches": (
        "images = torch.rand(256, 3, 224, 224)",
        "whiten_(conv(3, 768, 16, stride=16), images, patches_per_image=4000)", True,
    ),
    "many small images": (
        "images = torch.rand(60000, 3, 16, 16)",
        "prewarm_(conv(3, 32, 12), images, patches_per_image=20)", True,
    ),
    "a loader of photographs": (
        "images = [torch.rand(48, 3, 512, 512)] * 8",
        "prewarm_(conv(3, 64, 7), images, patches_per_image=20000)", True,
    ),
}  # fmt: skip

LONG = {"one channel", "groups of uint8", "many small images"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.full] if case in LONG else []) for case in LARGE],
)
def test_memory_above_the_input_stays_under_the_bound(case: str) -> None:
    """The peak of the resident memory of a process of its own, as Linux counts it."""
    setup, call, sampled = LARGE[case]
    script = MEASURED.format(setup=setup, call=call)
    # One malloc arena, and what is freed goes back: what is counted is what is held.
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_TRIM_THRESHOLD_": "65536",
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peak, note = done.stdout.split("|", 1)
    assert 0 < float(peak) < 256, done.stdout
    assert ("were sampled instead of" in note and "within 256 MiB" in note) == sampled, note
