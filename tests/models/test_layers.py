"""model -> the layer that is conditioned: by name, metadata, channels, or the order of calls."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import global_states, identity, values, versions
from warminit import prewarm_
from warminit.errors import WarminitError
from warminit.models.find import find_layer
from warminit.models.survey import Survey

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


DRAWS: list[tuple[float, float, float]] = []


class Residual(nn.Module):
    """Its shortcut is registered first, runs last, and takes as many channels as the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(3)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.noise = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        images = self.norm(images)
        features = self.noise(self.stem(images)) + self.shortcut(images)
        DRAWS.append((random.random(), np.random.rand(), torch.rand(()).item()))
        scores: Tensor = self.fc(features.mean((2, 3)))
        return scores


class Merging(Residual):
    """Counts its passes in a buffer of its own making, and merges a weight as evaluation begins."""

    merged = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("cache", None)

    def train(self, mode: bool = True) -> "Merging":
        self.merged = not mode
        return super().train(mode)

    def forward(self, images: Tensor) -> Tensor:
        self.steps: Tensor = self.steps + 1
        self.cache: Tensor | None = images
        return super().forward(images)


class WithMetadata(Residual):
    def __init__(self, first_conv: Any) -> None:
        super().__init__()
        self.pretrained_cfg = {"first_conv": first_conv}


def test_a_dotted_name_and_the_module_itself_choose_the_same_layer() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)), nn.Conv2d(8, 4, 3))
    by_name = find_layer(model, "0.0", IMAGES)
    by_module = find_layer(model, model[0][0], IMAGES)  # type: ignore[index]
    assert by_name.module is by_module.module is model[0][0]  # type: ignore[index]
    assert by_name.name == by_module.name == "0.0"
    assert (by_name.found, by_module.found) == ("given by name", "given as a module")


@pytest.mark.parametrize("told", ["shortcut", ("shortcut",), ["shortcut", "stem"]])
def test_metadata_win_over_the_order_of_calls(told: Any) -> None:
    found = find_layer(WithMetadata(told), images=IMAGES)
    assert (found.name, found.found) == ("shortcut", "timm's metadata")


@pytest.mark.parametrize("told", [None, "head.conv", "fc", "", 3])
def test_metadata_that_name_no_fitting_convolution_are_passed_over(told: Any) -> None:
    found = find_layer(WithMetadata(told), images=IMAGES)
    assert (found.name, found.found) == ("stem", "the first convolution that runs")


def test_the_only_convolution_that_fits_the_channels() -> None:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth, self.color = nn.Conv2d(1, 8, 3), nn.Conv2d(3, 8, 3)

        def forward(self, color: Tensor, depth: Tensor) -> Tensor:
            both: Tensor = self.color(color) + self.depth(depth)
            return both

    # It cannot run on one tensor, so nothing speaks against the only layer that fits.
    found = find_layer(TwoInputs(), images=IMAGES)
    assert (found.name, found.found) == ("color", "the only convolution that takes 3 channels")


@pytest.mark.parametrize("later", [(12, 4), (12, 12)])
def test_channels_in_the_last_place_are_refused_though_a_later_layer_fits(
    later: tuple[int, int],
) -> None:
    first, second = nn.Conv2d(3, 12, 3), nn.Conv2d(later[0], later[1], 3)
    model = nn.Sequential(first, second, nn.Conv2d(later[1], 2, 3))
    with pytest.raises(WarminitError) as error:
        find_layer(model, images=IMAGES.movedim(1, -1))
    assert str(error.value) == (
        "images has 12 channels, shape (4, 12, 12, 3): expected 3, as '0' runs first."
        " Pass the batch that the model is fed; convert (N, H, W, C) to (N, C, H, W) by"
        " .permute(0, 3, 1, 2)."
    )


def test_new_tensors_in_buffers_and_modes_with_effects_are_as_before() -> None:
    model = Merging()
    steps = model.steps
    assert find_layer(model, images=IMAGES).name == "stem"
    assert model.steps is steps
    assert (model.steps.item(), model.cache, model.merged) == (0, None, False)


def test_of_several_the_one_that_runs_first_and_nothing_else_has_changed() -> None:
    model = Residual().train()
    model.norm.eval()
    calls: list[str] = []
    model.stem.register_forward_hook(lambda *_: calls.append("user's hook"))
    DRAWS.clear()
    before, kept, counts, states = identity(model), values(model), versions(model), global_states()
    found = find_layer(model, images=IMAGES)
    assert (found.name, found.found) == ("stem", "the first convolution that runs")
    assert DRAWS  # the pass drew from all three generators
    assert identity(model) == before
    assert values(model) == kept
    assert versions(model) == counts
    assert global_states() == states
    assert calls == ["user's hook"]  # the user's own hooks run, and stay


def test_buffers_that_change_even_in_eval_mode_are_put_back() -> None:
    class Counting(Residual):
        calls: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().forward(images)

    model = Counting()
    buffer = model.calls
    assert find_layer(model, images=IMAGES).name == "stem"
    assert model.calls is buffer
    assert float(model.calls) == 0


def test_the_report_says_which_layer_and_how() -> None:
    report = prewarm_(Residual(), IMAGES)
    assert (report.layer, report.found) == ("stem", "the first convolution that runs")
    assert "the first convolution that runs" in str(report)
    assert prewarm_(nn.Conv2d(3, 8, 3), IMAGES).layer == "(the model itself)"


def test_a_model_that_stops_after_its_stem_still_tells_its_order() -> None:
    class Detector(Residual):
        def forward(self, images: Tensor) -> Tensor:
            self.stem(images)
            raise RuntimeError("targets are needed")

    assert find_layer(Detector(), images=IMAGES).name == "stem"


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_one_to_three_dimensions(dims: int) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    model = nn.Sequential(conv(2, 6, 3), nn.ReLU(), conv(6, 6, 1))
    found = find_layer(model, images=torch.rand(2, 2, *[6] * dims))
    assert (found.name, found.spatial_dims) == ("0", dims)


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "compiled": compiled,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrappers_are_seen_through(kind: str) -> None:
    plain = Residual()
    model = WRAPPERS[kind](plain)
    assert find_layer(model, images=IMAGES).module is plain.stem
    assert find_layer(model, "shortcut", IMAGES).module is plain.shortcut
    assert prewarm_(model, IMAGES).layer == "stem"


def test_parts_that_are_compiled_are_not_compiled_for_the_search() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("compiled")

    model = Residual()
    model.stem.compile(backend=never)
    model.compile(backend=never)
    assert Survey(model, IMAGES).order() == ["stem", "shortcut", "fc"]


def transposed_first() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(3, 3, 2), nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return torch.conv2d(images, self.a.weight) + torch.conv2d(images, self.b.weight)


class Broken(Residual):
    def forward(self, images: Tensor) -> Tensor:
        raise KeyError("a mask is needed")


REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], tuple[str, ...]]] = {
    "no convolution": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 2)), {},
        ("Sequential has no convolution", "1 (Linear)", "Pass another model"),
    ),
    "only a transposed one": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 2)), {},
        ("no convolution", "0 (ConvTranspose2d, 3 channels)"),
    ),
    "a transposed one first": (
        transposed_first, {},
        ("the first layer that runs is '0', a ConvTranspose2d", "1 (Conv2d, 3 channels)"),
    ),
    "a transposed one by name": (
        transposed_first, {"layers": "0"},
        ("layer '0' is a ConvTranspose2d", "expected a Conv1d", "2 (Conv2d, 3 channels)"),
    ),
    "a name that is missing": (
        Residual, {"layers": "stam"},
        ("layers='stam' is missing from this Residual", "stem (Conv2d, 3 channels)", "fc (Linear)"),
    ),
    "other channels": (
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3)), {},
        ("images has 3 channels, shape (4, 3, 12, 12)", "0 (Conv2d, 1 channels)", "Pass the batch"),
    ),
    "a model that does not run": (
        Broken, {}, ("(1, 3, 12, 12) fails in the model", "a mask is needed", "layers="),
    ),
    "layers that are never called": (
        Functional, {}, ("no layer of this Functional is called", "a (Conv2d", "layers="),
    ),
    "a lazy layer further on": (
        lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.LazyConv2d(4, 3)), {},
        ("2.weight is lazy", "Run one batch", "layers="),
    ),
    "seven layers": (
        lambda: nn.Sequential(*(nn.Conv2d(9, 9, 1) for _ in range(7))), {},
        ("5 (Conv2d, 9 channels) and 1 more.",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_without_such_a_layer_is_refused_with_its_candidates(case: str) -> None:
    build, options, fragments = REFUSED[case]
    model = build()
    lazy = [nn.parameter.is_lazy(p) for p in model.parameters()]
    kinds = [type(module) for module in model.modules()]
    states = global_states()
    with pytest.raises(WarminitError) as caught:
        prewarm_(model, IMAGES, **options)
    assert not [text for text in fragments if text not in str(caught.value)], str(caught.value)
    assert [nn.parameter.is_lazy(p) for p in model.parameters()] == lazy
    assert [type(module) for module in model.modules()] == kinds
    assert global_states() == states


DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(
    ("number", "printed"),
    [(0, "0 - the only convolution that takes 4 channels\n"), (1, "0, 3\n")],
)
def test_the_examples_of_the_document_run(
    number: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(EXAMPLES) == 2
    exec(compile(EXAMPLES[number], f"models.md, block {number + 1}", "exec"), {})
    assert capsys.readouterr().out == printed
