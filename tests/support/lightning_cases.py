"""A module for Lightning that notes its batches and its stem, and a loader for it."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import integration_setup as setup

IMAGES, LABELS = setup.labelled(640)


class Classifier(pl.LightningModule):
    """Dropout draws from torch's global generator in every step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(1352, 10)
        )
        self.fresh = self.stem.clone()
        self.seen: list[Tensor] = []
        self.stems: list[Tensor] = []

    @property
    def stem(self) -> Tensor:
        weight: Tensor = self.net.state_dict()["0.weight"]
        return weight

    def training_step(self, batch: Any, _: int) -> Tensor:
        images, labels = batch.values() if isinstance(batch, dict) else batch
        self.seen.append(images.clone())
        self.stems.append(self.stem.clone())
        return cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def loader() -> Iterable[Any]:
    # Two epochs in 20 steps: what is read besides would show in the order of the second.
    generator = torch.Generator().manual_seed(1)
    return DataLoader(
        TensorDataset(IMAGES[:320], LABELS[:320]), 32, shuffle=True, generator=generator
    )
