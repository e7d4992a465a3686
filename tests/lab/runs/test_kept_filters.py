"""The input layer's filters in a store: exact, bounded, and none where there are none."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from training_cases import make_dataset, make_spec
from warminit.initializers import get_method
from warminit.lab.report.starts import start_of
from warminit.lab.runs.kept_filters import MOST_BYTES, keep_filters, kept_filters, survival
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train
from warminit.lab.store.store import StoredRun

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_every_bit_comes_back_after_json() -> None:
    layer = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = -0.0
        layer.weight[1, 0, 0, 0] = 1e-40  # subnormal
    back = kept_filters(json.loads(json.dumps(keep_filters(nn.Sequential(layer), IMAGES))))
    assert back is not None
    assert back.dtype == torch.float32
    expected = layer.weight.detach().numpy().view(np.int32)
    assert np.array_equal(back.numpy().view(np.int32), expected)
    assert keep_filters(nn.Sequential(layer), IMAGES)["layer"] == "0"


@pytest.mark.parametrize(
    ("filters", "kernel", "kept"),
    # 64 KiB hold 16,384 values: 21 filters of 3 x 16 x 16 = 768, one of 3 x 80 x 80.
    [(64, 3, 64), (100, 3, 64), (64, 16, 21), (5, 80, 1)],
)
def test_so_many_are_kept(filters: int, kernel: int, kept: int) -> None:
    layer = nn.Conv2d(3, filters, kernel)
    values = keep_filters(layer, torch.rand(1, 3, 80, 80))
    back = kept_filters(values)
    assert back is not None
    assert torch.equal(back, layer.weight.detach()[:kept])
    assert back.numel() * 4 <= max(MOST_BYTES, 3 * kernel**2 * 4)


def test_nothing_is_kept_where_no_layer_takes_the_images_or_a_filter_is_not_finite() -> None:
    assert keep_filters(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), IMAGES) == {}
    layer = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = torch.nan
    assert keep_filters(layer, IMAGES) == {}
    assert kept_filters({}) is None


def test_survival_is_the_mean_cosine() -> None:
    # By hand: the same direction 1, the opposite -1, at 60 degrees 0.5, zeros 0.
    before = torch.tensor([[1.0, 0], [0, 2], [1, 0], [3, 4]])[:, None]
    after = torch.tensor([[5.0, 0], [0, -1], [1, 3**0.5], [0, 0]])[:, None]
    assert survival(before, after) == pytest.approx((1 - 1 + 0.5 + 0) / 4, abs=1e-7)


def test_a_run_keeps_the_filters_that_it_ends_with() -> None:
    """With a learning rate below float32's resolution they are those that it started with."""
    dataset = make_dataset(shape=(1, 12, 12))

    def ended(rate: float) -> StoredRun:
        spec = make_spec(steps=3, batch_size=16, schedule="constant", lr_start=rate)
        spec = spec.model_copy(update={"arm": spec.arm.model_copy(update={"name": "prewarm"})})
        options = {"patches_per_image": 9, "algorithm": "paper"}
        result = train(dataset, spec, arm=get_method("prewarm"), arm_parameters=options)
        again = RunResult.from_dict(json.loads(json.dumps(result.to_dict())))
        return StoredRun(
            key="", spec=spec, arm_parameters=options, environment={}, result=again, error=None,
            finished_at="",
        )  # fmt: skip

    still, moved = ended(1e-30), ended(1e-2)
    for run, same in ((still, True), (moved, False)):
        assert run.result is not None
        kept = kept_filters(run.result.trained_filters)
        assert kept is not None
        assert torch.equal(kept, start_of(dataset, run).after) is same
        assert run.result.trained_filters["layer"] == "conv1"


def test_a_result_of_before_has_none() -> None:
    old = {
        "metrics": {"accuracy": 0.5}, "train_loss": [1.0], "eval_steps": [1],
        "eval_metrics": {"accuracy": [0.5]}, "weights_digest": "0" * 64,
    }  # fmt: skip
    assert kept_filters(RunResult.from_dict(old).trained_filters) is None
