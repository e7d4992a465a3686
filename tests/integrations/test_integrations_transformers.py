"""Transformers trainer with the callback -> the filters it starts with, the batches it sees."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import integration_setup as setup
from warminit import prewarm_filters
from warminit.errors import WarminitError

if find_spec("transformers") is None or find_spec("accelerate") is None:
    pytest.skip("transformers or accelerate is not installed", allow_module_level=True)

import transformers

from transformers_cases import IMAGES, Run, convnext, resnet, vit
from warminit.initializers import DEFAULT_METHOD
from warminit.integrations.marks import unmark
from warminit.integrations.transformers import PreWarm, WarmInit

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # The trainer's own, which pins memory on machines that have no use for it.
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
]


@pytest.mark.parametrize("make", [vit, convnext, resnet])
def test_training_starts_with_the_filters_of_the_first_batch(make: Any, tmp_path: Path) -> None:
    callback = WarmInit("prewarm", mean=setup.MEAN, std=setup.STD, seed=3)
    run = Run(make, [callback], tmp_path)
    assert len(run.seen) == run.trainer.state.global_step == setup.STEPS
    meant = prewarm_filters(
        run.seen[0], 16, run.conv.kernel_size, mean=setup.MEAN, std=setup.STD, seed=3
    )
    assert torch.equal(run.stems[0][:8], meant)
    assert torch.equal(run.stems[0][8:], run.fresh[8:])
    assert not torch.equal(run.stems[1], run.stems[0])
    assert (run.stems[-1] - run.stems[0]).abs().max() < setup.STEPS * 2e-3
    assert callback.report is not None
    assert run.model.get_submodule(callback.report.layer) is run.conv


@pytest.mark.parametrize("arm", ["integration_setup:nothing", "prewarm"])
def test_batches_come_in_the_same_order(arm: str, tmp_path: Path) -> None:
    parameters = {} if arm != "prewarm" else {"patches_per_image": 9}
    plain = Run(vit, [], tmp_path)
    run = Run(vit, [WarmInit(arm, **parameters)], tmp_path)
    assert all(map(torch.equal, run.seen, plain.seen))
    # Dropout too: where the arm changes nothing, training is the same to the bit.
    assert torch.equal(run.conv.weight, plain.conv.weight) == (arm != "prewarm")


def test_a_run_that_resumes_is_left_alone(tmp_path: Path) -> None:
    first = Run(vit, [], tmp_path, max_steps=4, save_strategy="steps", save_steps=4)
    callback = WarmInit("prewarm", patches_per_image=9)
    run = Run(vit, [callback], tmp_path, max_steps=6, resume=str(tmp_path / "checkpoint-4"))
    assert len(run.seen) == 2
    assert callback.report is None
    assert torch.equal(run.stems[0], first.conv.weight)


def test_an_evaluation_before_the_first_step_conditions_nothing(tmp_path: Path) -> None:
    options = {"eval_strategy": "steps", "eval_on_start": True, "eval_steps": 100, "max_steps": 2}
    run = Run(vit, [WarmInit("prewarm", patches_per_image=9)], tmp_path, **options)
    assert torch.equal(run.stems[0][:8], prewarm_filters(run.seen[0], 16, 4, patches_per_image=9))


def test_half_precision_conditions_in_full(tmp_path: Path) -> None:
    run = Run(vit, [WarmInit("prewarm", patches_per_image=9)], tmp_path, bf16=True, max_steps=2)
    assert torch.equal(run.stems[0][:8], prewarm_filters(run.seen[0], 16, 4, patches_per_image=9))


@pytest.mark.full
def test_a_compiled_model_is_conditioned_once(tmp_path: Path) -> None:
    compiled = {"torch_compile": True, "torch_compile_backend": "eager", "max_steps": 4}
    callback = WarmInit("prewarm", patches_per_image=9)
    run = Run(vit, [callback], tmp_path, **compiled)
    assert torch.equal(run.stems[0][:8], prewarm_filters(run.seen[0], 16, 4, patches_per_image=9))
    assert not torch.equal(run.stems[1], run.stems[0])
    assert not any(torch.equal(each[:8], run.stems[0][:8]) for each in run.stems[1:])


def test_one_process_of_several_gpus_is_refused() -> None:
    arguments, state = SimpleNamespace(n_gpu=2), SimpleNamespace(global_step=0)
    with pytest.raises(WarminitError) as caught:
        WarmInit("prewarm").on_train_begin(arguments, state, None, model=nn.Conv2d(1, 8, 3))
    assert str(caught.value) == (
        "one process drives n_gpu=2 GPUs: expected one process per GPU. Start the script with "
        "torchrun or accelerate launch, or set CUDA_VISIBLE_DEVICES."
    )


def test_where_no_batch_comes_the_hook_is_taken_back() -> None:
    model, state = nn.Conv2d(1, 8, 3), SimpleNamespace(global_step=0)
    callback = WarmInit("prewarm")
    callback.on_train_begin(SimpleNamespace(n_gpu=0), state, None, model=model)
    assert not model._forward_pre_hooks
    callback.on_step_begin(None, state, None, model=model)
    assert len(model._forward_pre_hooks) == 1
    callback.on_train_end(None, state, None)
    assert not model._forward_pre_hooks
    assert callback.report is None


class Bad(torch.utils.data.Dataset[Any]):
    """A data set whose disk fails at the first image."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        raise OSError("disk")


def test_a_run_that_dies_leaves_no_hook_behind(tmp_path: Path) -> None:
    run = Run(vit, [], tmp_path, max_steps=1)
    before = run.conv.weight.detach().clone()
    callback = WarmInit("prewarm", patches_per_image=9)
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=2, use_cpu=True, report_to=[], disable_tqdm=True
    )
    trainer = transformers.Trainer(run.model, arguments, train_dataset=Bad(), callbacks=[callback])
    with pytest.raises(OSError, match="disk"):
        trainer.train()
    assert not run.model._forward_pre_hooks
    run.model.train()(pixel_values=IMAGES[:8])  # any later forward of the user's own
    assert torch.equal(run.conv.weight, before)
    # What fails within the forward finds the hook gone, too.
    refused = WarmInit("integration_setup:refuses")
    with pytest.raises(WarminitError, match="refused"):
        Run(vit, [refused], tmp_path, max_steps=1)


def test_once_holds_across_trainings_trainers_and_reloading(tmp_path: Path) -> None:
    callback = WarmInit("prewarm", patches_per_image=9)
    run = Run(vit, [callback], tmp_path, max_steps=3)
    report, trained = callback.report, run.conv.weight.detach().clone()
    run.trainer.args.learning_rate = 0.0
    run.trainer.optimizer = run.trainer.lr_scheduler = None
    run.trainer.train()
    assert torch.equal(run.conv.weight, trained)
    assert callback.report is report

    run.model.save_pretrained(tmp_path / "saved")
    loaded = transformers.ViTForImageClassification.from_pretrained(tmp_path / "saved")
    other = WarmInit("prewarm", patches_per_image=9)
    again = Run(lambda: loaded, [other], tmp_path, max_steps=1)
    assert other.report is None
    assert torch.equal(again.stems[0], trained)
    unmark(loaded)
    Run(lambda: loaded, [other], tmp_path, max_steps=1)
    assert other.report is not None


def test_the_default_is_that_of_init_and_the_old_name_keeps_its_own(tmp_path: Path) -> None:
    callback = WarmInit()
    Run(vit, [callback], tmp_path, max_steps=1)
    assert callback.report is not None
    assert callback.report.method == DEFAULT_METHOD
    with pytest.warns(DeprecationWarning, match="PreWarm is called WarmInit") as caught:
        old = PreWarm(patches_per_image=9, seed=3)
    assert [each.filename for each in caught] == [__file__]
    assert (old.method, old.seed, old.parameters) == ("prewarm", 3, {"patches_per_image": 9})
