"""Models of Transformers, and one training that notes its batches and its stem."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import integration_setup as setup

SIZES = {"image_size": 28, "num_channels": 1, "num_labels": 10}


IMAGES, LABELS = setup.labelled(640)


ROWS = [{"pixel_values": i, "labels": y} for i, y in zip(IMAGES, LABELS, strict=True)]


def vit() -> Any:
    config = transformers.ViTConfig(
        patch_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, hidden_dropout_prob=0.1, **SIZES,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def convnext() -> Any:
    config = transformers.ConvNextConfig(
        patch_size=2, hidden_sizes=[16] * 4, depths=[1] * 4, **SIZES
    )
    return transformers.ConvNextForImageClassification(config)


def resnet() -> Any:
    sizes = {"hidden_sizes": [16, 16], "depths": [1, 1], "layer_type": "basic"}
    config = transformers.ResNetConfig(embedding_size=16, **sizes, **SIZES)
    return transformers.ResNetForImageClassification(config)


class Run:
    """One training: the batches that the model saw, its stem before it and as each was answered."""

    def __init__(self, make: Any, callbacks: list[Any], folder: Path, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = make()
        self.conv = next(each for each in self.model.modules() if isinstance(each, nn.Conv2d))
        self.fresh = self.conv.weight.detach().clone()
        self.seen: list[Tensor] = []
        self.stems: list[Tensor] = []
        self.conv.register_forward_hook(self.note)
        resume = options.pop("resume", None)
        arguments = transformers.TrainingArguments(
            str(folder), per_device_train_batch_size=32, learning_rate=1e-3, use_cpu=True,
            report_to=[], disable_tqdm=True, seed=4,
            **{"max_steps": setup.STEPS, "save_strategy": "no", **options},
        )  # fmt: skip
        self.trainer = transformers.Trainer(
            self.model, arguments, train_dataset=ROWS, eval_dataset=ROWS[:8], callbacks=callbacks
        )
        self.trainer.train(resume_from_checkpoint=resume)

    def note(self, conv: Any, fed: Any, _: Any) -> None:
        if conv.training:
            self.seen.append(fed[0].clone())
            self.stems.append(conv.weight.detach().clone())
