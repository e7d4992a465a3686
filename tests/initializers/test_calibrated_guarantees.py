"""krahenbuhl and lsuv: what they leave as it was, what they leave alone, and what they refuse."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from arm_guarantees import global_states, identity, values, versions
from calibrated_cases import ARMS, Dead, Net, make_images, outputs_of
from warminit.errors import WarminitError
from warminit.initializers.network.krahenbuhl import krahenbuhl
from warminit.initializers.network.lsuv import lsuv

CONSTANT = {
    krahenbuhl: "2 channels not set: their output is constant",
    lsuv: "not set, its output is constant",
}


@pytest.mark.parametrize("arm", ARMS)
def test_all_values_are_written_in_place_and_nothing_else_changes(arm: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = Net(batch_norm=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own, untyped
    model.bn.eval()
    model.bn.weight.requires_grad_(requires_grad=False)
    model.body.register_forward_hook(lambda *_: None)
    model(make_images()).sum().backward()
    kept, before, states = identity(model), values(model), global_states()
    unused = versions(model.unused)
    arm(model, make_images(), seed=0)
    assert identity(model) == kept
    assert versions(model.unused) == unused
    assert global_states() == states
    after = values(model)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"{a}.{b}" for a in ("stem", "body", "head") for b in ("weight", "bias")}
    # The memory format decides the order of sums, and so the last bits.
    again = Net(batch_norm=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own, untyped
    torch.manual_seed(99)  # neither the old weights nor the global generators matter
    arm(again, make_images(), seed=0)
    assert all(values(again)[name] == after[name] for name in changed)
    arm(again, make_images(), seed=1)
    assert all(values(again)[name] != after[name] for name in changed)


@pytest.mark.parametrize("arm", ARMS)
def test_scope_first_writes_the_input_layer_only(arm: Callable[..., Any]) -> None:
    for layer, name in ((None, "stem"), ("stem", "stem")):
        model = Net(batch_norm=True)
        before = values(model)
        report = arm(model, make_images(), seed=0, scope="first", layers=layer)
        assert (report.layer, report.filters_set, report.parameters["scope"]) == (name, 6, "first")
        after = values(model)
        changed = [key for key in before if before[key] != after[key]]
        assert changed == ["stem.weight", "stem.bias"]
        output = outputs_of(model, make_images())["stem"]
        assert abs(output.var() - 1) < 0.1


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(arm: Callable[..., Any], dtype: torch.dtype) -> None:
    model = Net(batch_norm=True).to(dtype)
    arm(model, make_images(), seed=0)
    assert {p.dtype for p in model.parameters()} == {dtype}
    tolerance = 1e-9 if dtype == torch.float64 else 0.05  # bfloat16 keeps 8 bits
    if arm is krahenbuhl:
        for output in outputs_of(model, make_images().to(dtype)).values():
            np.testing.assert_allclose(output.std(1), 1, atol=tolerance)


@pytest.mark.parametrize("arm", ARMS)
def test_no_bias_shared_weights_and_computed_weights(arm: Callable[..., Any]) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1),
        weight_norm(nn.Conv2d(4, 4, 3)),
    )
    model[2].weight = model[1].weight
    before = values(model)
    report = arm(model, make_images(), seed=0)
    assert report.layer == "0, 1"
    notes = [
        "2: not set, it shares its weight with an earlier layer",
        "3: not set, its weight is computed or quantized",
    ]
    if arm is krahenbuhl:
        notes.insert(0, "0: no bias, so the mean of its output stays")
    assert list(report.notes) == notes
    after = values(model)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["0.weight", "1.weight", "1.bias"]
    outputs = outputs_of(model, make_images())
    if arm is lsuv:
        assert all(abs(outputs[name].var() - 1) < 0.1 for name in ("0", "1"))
    else:
        np.testing.assert_allclose(outputs["0"].std(1), 1, atol=1e-5)


@pytest.mark.parametrize("arm", ARMS)
def test_constant_outputs_are_left_alone_and_never_divided_by(arm: Callable[..., Any]) -> None:
    model = Dead((0, 0))
    before = values(model)
    report = arm(model, make_images(), seed=0)
    after = values(model)
    assert [n for n in before if before[n] != after[n]] == ["stem.weight", "stem.bias"]
    assert report.layer == "stem"
    assert "constant" in report.notes[0]
    assert report.notes[0].startswith("late: ")


def test_krahenbuhl_leaves_single_constant_channels_alone() -> None:
    model = Dead((1, 0))
    weight, bias = (p.detach() for p in model.late.parameters())
    before = weight.clone(), bias.clone()
    report = krahenbuhl(model, make_images(), seed=0)
    assert report.notes == ("late: 2 channels not set: their output is constant",)
    assert report.filters_set == 4
    assert torch.equal(weight[2:], before[0][2:])
    assert torch.equal(bias[2:], before[1][2:])
    np.testing.assert_allclose(outputs_of(model, make_images())["late"][:2].std(1), 1, atol=1e-5)


class Twice(nn.Module):
    """One layer runs twice, and one that is constant reaches the last by its bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.again = nn.Conv2d(2, 2, 3, padding=1)
        self.constant = nn.Conv2d(2, 2, 1)
        self.last = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(self.stem(x)) * 9)
        return self.last(x + self.constant(x * 0))  # type: ignore[no-any-return]


@pytest.mark.parametrize("arm", ARMS)
def test_a_layer_is_fitted_when_it_first_runs_and_others_see_it_as_it_stays(
    arm: Callable[..., Any],
) -> None:
    model = Twice()
    with torch.no_grad():
        model.constant.get_parameter("bias").fill_(50)
    report = arm(model, make_images(), seed=0)
    assert report.layer == "stem, again, last"
    assert report.notes == (f"constant: {CONSTANT[arm]}",)
    last = outputs_of(model, make_images())["last"]
    assert abs(last.mean()) < 1e-3
    assert abs(last.var() - 1) < 0.1


def test_batches_one_dimension_and_wrapped_models() -> None:
    series = make_images(32)[:, :, 0]
    batches = [(series[:20], torch.zeros(20)), (series[20:], torch.zeros(12))]
    for arm in ARMS:
        plain, wrapped = (nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU()) for _ in range(2))
        assert arm(plain, series, seed=0).notes == ()
        report = arm(nn.DataParallel(wrapped), batches, seed=0)
        assert report.notes == ("read 32 images from 2 batches",)
        assert report.layer == "0"
        assert values(plain) == values(wrapped)


def test_pixels_are_standardized_as_the_model_is_fed() -> None:
    pixels = (make_images().sigmoid() * 255).to(torch.uint8)
    for arm in ARMS:
        a, b = Net(), Net()
        arm(a, pixels, seed=0, mean=0.5, std=0.2, scope="first")
        arm(b, (pixels.float() / 255 - 0.5) / 0.2, seed=0, scope="first")
        torch.testing.assert_close(a.stem.weight, b.stem.weight)


class Broken(Net):
    def __init__(self, *, late: bool) -> None:
        super().__init__(batch_norm=True)
        self.late = late

    def forward(self, x: Tensor) -> Tensor:
        np.random.rand()
        torch.rand(1)
        if self.late:
            self.stem(x)
            raise KeyError("a fault of the model's own")
        return super().forward(x * float("inf"))


BAD: list[tuple[Any, Any, dict[str, Any], tuple[str, ...]]] = [
    (lsuv, Net(), {"tol": 0}, ("tol=0", "above 0", "Leave it out")),
    (lsuv, Net(), {"max_iterations": 0}, ("max_iterations=0", "at least 1")),
    (lsuv, Net(), {"layers": "stem"}, ("layers='stem'", "scope='all'", "scope='first'")),
    (lsuv, Net(), {"scope": "some"}, ("scope='some'", "'first' or 'all'", "Choose")),
    (lsuv, Net(), {"seed": -1}, ("seed=-1", "0 to 2**32 - 1")),
    (lsuv, Net(channels=3), {}, ("images has 1 channels", "(16, 1, 9, 9)", "Pass the batch")),
    (krahenbuhl, Net(channels=3), {"layers": "stem"}, ("Net cannot run", "(16, 1, 9, 9)", "Pass")),
    (lsuv, Broken(late=False), {}, ("layer stem", "NaN or infinite", "Use float32")),
    (lsuv, nn.Sequential(nn.Flatten(), nn.Linear(81, 2)), {}, ("no convolution",)),
    (lsuv, nn.Sequential(nn.Conv2d(1, 2, 3), nn.LazyLinear(2)), {}, ("1.weight is lazy", "Run")),
    (lsuv, Dead((0, 0)), {"scope": "first", "layers": "late"}, ("no layer", "constant", "Pass")),
    (krahenbuhl, Net(), {"basis": "ica"}, ("basis='ica'", "kmeans, pca", "Leave it out")),
    (krahenbuhl, Net(), {"beta": float("nan")}, ("beta=nan", "finite", "Leave it out")),
    (krahenbuhl, Net(), {"patches_per_image": 0}, ("patches_per_image=0", "at least 1")),
    (krahenbuhl, Net(), {"layers": "head"}, ("'head'", "Linear", "Conv2d")),
    (krahenbuhl, nn.Conv2d(1, 4, 11, padding=5), {}, ("11 x 11", "9 x 9", "no larger")),
]


@pytest.mark.parametrize(("arm", "model", "options", "fragments"), BAD)
def test_bad_input_writes_nothing(
    arm: Callable[..., Any], model: nn.Module, options: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    lazy = any(isinstance(p, nn.UninitializedParameter) for p in model.parameters())
    kept = () if lazy else (identity(model), values(model), versions(model))
    states = global_states()
    with pytest.raises(WarminitError) as caught:
        arm(model, make_images(), **{"seed": 0, **options})
    text = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in text] == [], text
    assert re.fullmatch(r"[^\n]{30,400}\.", text), text
    assert lazy or (identity(model), values(model), versions(model)) == kept
    assert global_states() == states


@pytest.mark.parametrize("arm", ARMS)
def test_a_fault_in_the_middle_of_the_pass_changes_nothing(arm: Callable[..., Any]) -> None:
    model = Broken(late=True)
    model.bn.eval()
    kept = identity(model), values(model), versions(model), global_states()
    with pytest.raises(WarminitError, match=r"Broken cannot run .* KeyError") as caught:
        arm(model, make_images(), seed=0)
    assert isinstance(caught.value.__cause__, KeyError)
    assert (identity(model), values(model), versions(model), global_states()) == kept
