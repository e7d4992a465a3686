"""A run is a pure function: same bits again, arms paired, the surroundings left as they were."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import training_cases
from training_cases import make_dataset, make_spec, report, run, same
from warminit.report import InitReport

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["simplecnn", "resnet20"])
def test_a_rerun_gives_the_same_bits(model: str, precision: str) -> None:
    spec = make_spec(model=model, precision=precision, augmentation="flip-crop", steps=8)
    first = run(spec)
    random.seed(0)  # whatever the surroundings drew meanwhile
    torch.manual_seed(1)
    assert same(first, run(spec))
    other_seed = run(spec.model_copy(update={"seed": spec.seed + 1}))
    assert other_seed.weights_digest != first.weights_digest


def test_arms_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[dict[str, Tensor]] = []
    batches: list[Tensor] = []

    def keep(model: nn.Module, images: Tensor) -> None:
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        batches.append(images)

    def quiet(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
        keep(model, images)
        return report("quiet", seed)

    def greedy(model: nn.Module, images: Tensor, *, seed: int, sigma: float) -> InitReport:
        random.random()
        np.random.rand(5)
        nn.init.normal_(model.get_parameter("conv1.weight"), std=sigma)
        keep(model, images)
        images.zero_()  # what an arm does to its batch stays with the arm
        return report("greedy", seed)

    spec = make_spec(model="training_cases:RecordingModel", augmentation="flip-crop")
    monkeypatch.setattr(training_cases, "SEEN", [])
    first = run(spec, arm=quiet)
    seen = training_cases.SEEN.copy()
    training_cases.SEEN.clear()
    second = run(spec, arm=greedy, arm_parameters={"sigma": 0.5})
    assert len(seen) == spec.protocol.steps
    assert all(torch.equal(a, b) for a, b in zip(seen, training_cases.SEEN, strict=True))
    assert {name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])} == {
        "conv1.weight"
    }
    assert first.train_loss != second.train_loss
    assert same(first, run(spec, arm=quiet))
    # Two arms that write the same weights differ in nothing, whatever they drew.

    def draws(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
        torch.rand(100)
        return report("quiet", seed)

    assert same(first, run(spec, arm=draws))


def test_the_arm_gets_the_first_training_batch_as_the_model_is_fed_it() -> None:
    dataset = make_dataset(shape=(3, 8, 9))
    got: list[Tensor] = []

    def arm(model: nn.Module, images: Tensor, *, seed: int, word: str) -> InitReport:
        assert (seed, word) == (7, "mine")
        assert isinstance(model.get_parameter("conv1.weight"), nn.Parameter)
        got.append(images)
        return report("mine", seed)

    result = run(
        make_spec(augmentation="flip-crop", steps=1),
        dataset,
        arm=arm,
        arm_parameters={"word": "mine"},
    )
    order = torch.randperm(75, generator=torch.Generator().manual_seed(7))[:16]
    pixels = dataset.train_images.numpy() / 255
    expected = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std(
        (0, 2, 3), keepdims=True
    )
    assert got[0].shape == (16, 3, 8, 9)
    assert got[0].dtype == torch.float32
    assert got[0].is_contiguous()
    np.testing.assert_allclose(got[0], expected[order], rtol=0, atol=2e-6)
    assert result.init_report["method"] == "mine"
    assert result.init_report["parameters"] == {"n": (1, 2)}


def test_the_global_generators_are_as_they_were() -> None:
    def states() -> str:
        mersenne = np.random.get_state(legacy=False)["state"]
        words = mersenne["key"].tolist()
        return repr((random.getstate(), words, mersenne["pos"], torch.get_rng_state().tolist()))

    def draw() -> None:
        random.random()
        np.random.rand(3)
        torch.rand(3)

    def arm(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
        draw()
        return report("draws", seed)

    def failing(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
        draw()
        raise RuntimeError("as an arm may")

    before = states()
    run(make_spec(augmentation="flip-crop"), arm=arm, on_step=lambda *_: draw())
    assert states() == before
    with pytest.raises(RuntimeError, match="as an arm may"):
        run(make_spec(), arm=failing)
    assert states() == before


def test_watching_a_run_does_not_change_it() -> None:
    # Dropout, BatchNorm and a model that draws even in evaluation: all would show a disturbance.
    spec = make_spec(model="training_cases:RecordingModel", steps=24, eval_interval=24)
    quiet = run(spec)
    calls: list[tuple[int, float]] = []

    def watch(step: int, loss: float) -> None:
        calls.append((step, loss))
        torch.rand(7)

    watched = run(make_spec(model=spec.model, steps=24, eval_interval=1), on_step=watch)
    assert watched.train_loss == quiet.train_loss
    assert watched.weights_digest == quiet.weights_digest
    assert watched.metrics == quiet.metrics
    assert calls == [(step, quiet.train_loss[step - 1]) for step in (10, 20, 24)]
