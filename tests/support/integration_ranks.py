"""a trainer, on every rank -> the stem that each rank starts and ends with. Run under torchrun."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import integration_setup  # noqa: F401 - first, so that what follows imports

STEPS = 3


def lightning() -> tuple[Tensor, Tensor, Tensor]:
    import pytorch_lightning as pl

    from lightning_cases import Classifier, loader
    from warminit.integrations.lightning import WarmInit

    model: Any = Classifier()
    callbacks: Any = [WarmInit("prewarm", patches_per_image=9)]
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=STEPS, callbacks=callbacks,
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, loader())
    return model.seen[0], model.stems[0], model.stem


def transformers(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    from transformers_cases import Run, vit
    from warminit.integrations.transformers import WarmInit

    run = Run(
        vit, [WarmInit("prewarm", patches_per_image=9)], folder,
        max_steps=STEPS, ddp_backend="gloo",
        ddp_find_unused_parameters=False,
    )  # fmt: skip
    return run.seen[0], run.stems[0], run.conv.weight.detach()


def main(scenario: str, folder: Path) -> None:
    torch.set_num_threads(1)
    answer = lightning() if scenario == "lightning" else transformers(folder)
    rank = torch.distributed.get_rank()
    torch.save(answer, folder / f"{rank}.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], Path(sys.argv[2]))
