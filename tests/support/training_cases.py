"""numbers -> small data sets, specifications and arms that the tests of the training loop share."""

from typing import Any

import torch
from torch import Tensor, nn

from warminit.lab.data.load import ImageDataset
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec
from warminit.report import InitReport


def make_dataset(
    *, n_train: int = 75, n_test: int = 50, shape: tuple[int, int, int] = (1, 8, 9),
    n_classes: int = 3, name: str = "stripes",
) -> ImageDataset:  # fmt: skip
    """Noisy images of one template a class: easy to learn, and no two alike."""
    generator = torch.Generator().manual_seed(11)
    templates = torch.randint(40, 216, (n_classes, *shape), generator=generator)

    def split(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % n_classes
        noise = torch.randint(-40, 40, (n, *shape), generator=generator)
        return (templates[labels] + noise).to(torch.uint8), labels

    train_images, train_labels = split(n_train)
    test_images, test_labels = split(n_test)
    pixels = train_images.double() / 255
    return ImageDataset(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(f"class {label}" for label in range(n_classes)),
        mean=tuple(pixels.mean((0, 2, 3)).tolist()),
        std=tuple(pixels.std((0, 2, 3), correction=0).tolist()),
        fingerprint="made in a test",
        partial=False,
    )


def make_spec(*, model: str = "simplecnn", seed: int = 7, **protocol: Any) -> RunSpec:
    settings = {"steps": 20, "batch_size": 16, "eval_interval": 10} | protocol
    return RunSpec(
        dataset="stripes",
        model=model,
        arm=ArmSpec(name="mine"),
        seed=seed,
        protocol=Protocol.model_validate(settings),
    )


def report(arm: str, seed: int) -> InitReport:
    return InitReport(arm, "conv1", "by the test", 0, 32, {"n": (1, 2)}, seed, 0.0)


def do_nothing(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
    return report("nothing", seed)


def run(spec: RunSpec, dataset: ImageDataset | None = None, **options: Any) -> RunResult:
    settings: dict[str, Any] = {"arm": do_nothing, "arm_parameters": {}} | options
    return train(dataset or make_dataset(), spec, **settings)


def same(first: RunResult, second: RunResult) -> bool:
    """Whether two results agree in everything but the measured times, NaN equal to NaN."""
    one, other = (result.to_dict() for result in (first, second))
    for values in (one, other):
        del values["init_seconds"], values["train_seconds"]
    return repr(one) == repr(other)


SEEN: list[Tensor] = []
"""Every batch that a `RecordingModel` was trained on; the test that uses it empties it first."""


class RecordingModel(nn.Module):
    """A linear model that keeps what it is fed, and draws from the global generator to no end."""

    def __init__(self, *, in_channels: int, image_size: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.dropout = nn.Dropout(0.3)
        self.conv1 = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.head = nn.Linear(4 * image_size[0] * image_size[1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        torch.rand(3)
        if self.training:
            SEEN.append(images.clone())
        x: Tensor = self.conv1(self.norm(images)).relu().flatten(1)
        logits: Tensor = self.head(self.dropout(x))
        return logits


def one_value_too_many(in_channels: int, image_size: tuple[int, int], n_classes: int) -> nn.Module:
    return RecordingModel(in_channels=in_channels, image_size=image_size, n_classes=n_classes + 1)
