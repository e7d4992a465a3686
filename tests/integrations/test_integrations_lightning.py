"""Lightning trainer with the callback -> the filters it starts with, the batches that it sees."""

from collections.abc import Iterable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import integration_setup as setup
from warminit import prewarm_filters

if find_spec("pytorch_lightning") is None:
    pytest.skip("pytorch_lightning is not installed", allow_module_level=True)

import pytorch_lightning as pl

from lightning_cases import IMAGES, LABELS, Classifier, loader
from warminit.initializers import DEFAULT_METHOD
from warminit.integrations.lightning import PreWarm, WarmInit

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Lightning's own: it asks torch in a way that torch has renamed, and advises on workers.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
]


def trained(
    callbacks: list[Any],
    batches: Iterable[Any] | None = None,
    *,
    model: Classifier | None = None,
    resume: Path | None = None,
    **options: Any,
) -> tuple[Classifier, pl.Trainer]:
    model = model or Classifier()
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": setup.STEPS, "enable_checkpointing": False, **options},
    )
    torch.manual_seed(2)
    trainer.fit(model, batches or loader(), ckpt_path=resume)
    return model, trainer


def test_training_starts_with_the_filters_of_the_first_batch() -> None:
    callback = WarmInit("prewarm", mean=setup.MEAN, std=setup.STD, seed=3)
    model, trainer = trained([callback])
    meant = prewarm_filters(model.seen[0], 8, 3, mean=setup.MEAN, std=setup.STD, seed=3)
    assert torch.equal(model.stems[0][:4], meant)
    assert torch.equal(model.stems[0][4:], model.fresh[4:])
    # From there on it is trained, not set again.
    assert trainer.global_step == setup.STEPS
    assert not torch.equal(model.stems[1], model.stems[0])
    assert (model.stems[-1] - model.stems[0]).abs().max() < setup.STEPS * 2e-3
    assert callback.report is not None
    assert callback.report.layer == "net.0"


@pytest.mark.parametrize("arm", ["integration_setup:nothing", "prewarm"])
def test_batches_come_in_the_same_order(arm: str) -> None:
    parameters = {} if arm != "prewarm" else {"patches_per_image": 9}
    plain, _ = trained([])
    model, _ = trained([WarmInit(arm, **parameters)])
    assert len(plain.seen) == setup.STEPS
    assert all(map(torch.equal, model.seen, plain.seen))
    # Dropout too: where the arm changes nothing, training is the same to the bit.
    assert torch.equal(model.stem, plain.stem) == (arm != "prewarm")


def test_a_run_that_resumes_is_left_alone(tmp_path: Path) -> None:
    first, trainer = trained([])
    trainer.save_checkpoint(tmp_path / "epoch.ckpt")
    callback = WarmInit("prewarm", patches_per_image=9)
    model, trainer = trained([callback], resume=tmp_path / "epoch.ckpt", max_steps=23)
    assert trainer.global_step == 23
    assert callback.report is None
    assert torch.equal(model.stems[0], first.stem)


def test_a_second_fit_goes_on_and_another_model_is_conditioned() -> None:
    callback = WarmInit("prewarm", patches_per_image=9)
    model, trainer = trained([callback], max_steps=5)
    report, last = callback.report, model.stem.clone()
    trainer.fit_loop.epoch_loop.max_steps = 8
    trainer.fit(model, loader())
    assert callback.report is report
    assert torch.equal(model.stems[5], last)
    other, _ = trained([callback], max_steps=1)
    assert callback.report is not report
    assert torch.equal(other.stems[0], model.stems[0])


def test_once_holds_across_trainers_callbacks_and_checkpoints(tmp_path: Path) -> None:
    model, trainer = trained([WarmInit("prewarm", patches_per_image=9)], max_steps=10)
    last, keys = model.stem.clone(), set(model.state_dict())
    assert keys == set(Classifier().state_dict())  # the mark is no part of the weights
    for again in (model, deepcopy(model)):
        callback = WarmInit("prewarm", patches_per_image=9)
        trained([callback], model=again, max_steps=1)
        assert callback.report is None
        assert torch.equal(again.stems[10], last)

    # Through a checkpoint to a fresh model, which then begins a training of its own.
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    fresh, resumed = Classifier(), WarmInit("prewarm", patches_per_image=9)
    trained([resumed], model=fresh, resume=tmp_path / "trained.ckpt", max_steps=11)
    begun = WarmInit("prewarm", patches_per_image=9)
    trained([begun], model=fresh, max_steps=1)
    assert (resumed.report, begun.report) == (None, None)


def test_batches_may_be_mappings() -> None:
    rows = [{"image": i, "label": y} for i, y in zip(IMAGES, LABELS, strict=True)]
    batches: Any = DataLoader(rows, 32)  # type: ignore[arg-type]  # torch asks for less than it says
    model, _ = trained([WarmInit("prewarm", patches_per_image=9)], batches, max_steps=2)
    assert torch.equal(model.stems[0][:4], prewarm_filters(IMAGES[:32], 8, 3, patches_per_image=9))


def test_gradients_of_several_batches_condition_once() -> None:
    model, _ = trained(
        [WarmInit("prewarm", patches_per_image=9)], max_steps=2, accumulate_grad_batches=5
    )
    assert len(model.seen) == 10
    assert all(torch.equal(each, model.stems[0]) for each in model.stems[:5])


class WithForward(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net(images)
        return scores


@pytest.mark.parametrize(("kind", "head"), [(WithForward, 0.1), (Classifier, None)])
def test_the_default_of_init_makes_the_head_small_where_there_is_a_forward(
    kind: type[Classifier], head: float | None
) -> None:
    callback, model = WarmInit("whitening-small-head"), kind()
    weight = dict(model.named_parameters())["net.4.weight"]
    fresh = weight.detach().clone()
    seen: list[Tensor] = []
    model.net.register_forward_pre_hook(lambda *_: seen.append(weight.detach().clone()))
    trained([callback], model=model)
    assert callback.report is not None
    assert callback.report.parameters["head_scale"] == head
    assert torch.allclose(seen[-setup.STEPS], fresh * (0.1 if head else 1), rtol=0.05)


def test_the_default_is_that_of_init_and_the_old_name_keeps_its_own() -> None:
    callback = WarmInit()
    trained([callback])
    assert callback.report is not None
    assert callback.report.method == DEFAULT_METHOD
    with pytest.warns(DeprecationWarning, match="PreWarm is called WarmInit") as caught:
        old = PreWarm(patches_per_image=9, seed=3)
    assert [each.filename for each in caught] == [__file__]
    assert (old.method, old.seed, old.parameters) == ("prewarm", 3, {"patches_per_image": 9})
