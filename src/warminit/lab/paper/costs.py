"""claims of the paper -> time of their runs on one core of this machine."""

import time
from collections.abc import Iterable
from statistics import fmean

import torch

from warminit.initializers import get_method
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.estimate import torch_threads
from warminit.lab.paper.claims import Claim
from warminit.lab.runs.train import train
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec
from warminit.lab.study.table1 import BATCH_SIZE, TABLE_1

STEPS = 6
"""Number of timed steps, after one untimed step."""


def claim_seconds(claims: Iterable[Claim]) -> dict[str, float]:
    """Return the core-seconds of each claim's runs, by its key, from steps timed here.

    The network is the paper's, in float32 at batch 256, on random images of the data sets' shapes.
    """
    kinds = dict.fromkeys((row.in_channels, row.image_size) for row in TABLE_1.values())
    with torch_threads(1):
        step = {kind: _step(*kind) for kind in kinds}
    return {
        claim.key: claim.runs
        * claim.steps
        * fmean(step[TABLE_1[n].in_channels, TABLE_1[n].image_size] for n in claim.datasets)
        for claim in claims
    }


def _step(channels: int, side: int) -> float:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        256, (BATCH_SIZE, channels, side, side), dtype=torch.uint8, generator=generator
    )
    labels = torch.arange(BATCH_SIZE) % 10
    dataset = ImageDataset(
        name="random images",
        train_images=images,
        train_labels=labels,
        test_images=images[:2],
        test_labels=labels[:2],
        class_names=tuple(map(str, range(10))),
        mean=(0.5,) * channels,
        std=(0.3,) * channels,
        fingerprint="",
        partial=False,
    )

    def processor_seconds(steps: int) -> float:
        protocol = Protocol(steps=steps, eval_interval=steps, lr_start=1e-3, lr_end=1e-3)
        arm = ArmSpec(name="torch-default")
        spec = RunSpec(dataset="", model="simplecnn", arm=arm, seed=0, protocol=protocol)
        started = time.process_time()
        train(dataset, spec, arm=get_method("torch-default"), arm_parameters={})
        return time.process_time() - started

    processor_seconds(1)
    return processor_seconds(STEPS) / STEPS
