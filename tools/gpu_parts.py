"""a device -> what each part of the GPU check found there, and in words what is wrong with it.

Every part takes a mapping to fill, a call that keeps what is in it so far, and whether this is the
dry mode; it returns its failures. Packages are imported where they are used: a missing one is one
part's reason.
"""

import itertools
import re
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from warminit.lab.runs.results import RunResult
    from warminit.lab.study.spec import RunSpec

ROOT = Path(__file__).parents[1]

Part = Callable[[dict[str, Any], Callable[[], None], bool], list[str]]

RTOL, ATOL = 1e-3, 1e-4
"""Filters on two devices agree as far as sums in another order let them, in float32."""


class NoGpuError(Exception):
    """The part needs a GPU, and there is none."""


def device(dry: bool) -> torch.device:
    """Return the device of a part: a GPU, or the CPU in the dry mode."""
    if not dry and not torch.cuda.is_available():
        raise NoGpuError(f"torch {torch.__version__} sees no GPU")
    return torch.device("cpu" if dry else "cuda")


def filters(found: dict[str, Any], keep: Callable[[], None], dry: bool) -> list[str]:
    """Compare every initializer's weights on the device with those on the CPU."""
    from warminit.initializers import METHODS, get_method, keywords

    place, failures = device(dry), []
    # Methods of bodies need parts that these two networks have not.
    body = {"dirac", "mimetic", "impulse", "convcov", "zero-residual"}
    chosen = [name for name in METHODS if name not in body]
    for name, (network, side) in itertools.product(chosen, NETWORKS.items()):
        known = keywords(get_method(name))[0]
        given = {key: value for key, value in {"mean": 0.4, "std": 0.25}.items() if key in known}
        images, weights = _images(16 if dry else 64, side), []
        for where in (torch.device("cpu"), place):
            torch.manual_seed(1)
            model = network().to(where)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                get_method(name)(model, images.to(where), seed=5, **given)
            weights.append({key: value.cpu() for key, value in model.state_dict().items()})
        here, there = weights
        largest = max(float((here[key] - there[key]).abs().max()) for key in here)
        agree = all(torch.allclose(there[key], here[key], rtol=RTOL, atol=ATOL) for key in here)
        equal = all(torch.equal(there[key], here[key]) for key in here)
        label = f"{name}, {network.__name__}"
        found[label] = {"agree": agree, "same_bits": equal, "largest_difference": largest}
        failures += [] if agree else [f"{label}: up to {largest:.3g} apart"]
        keep()
    return failures


def graphs(found: dict[str, Any], keep: Callable[[], None], dry: bool) -> list[str]:
    """Compare recorded runs with computed ones, bit for bit."""
    import warminit.lab.runs.train as training
    from training_cases import make_spec, same
    from warminit.lab.runs.recording import record_graph, recorded

    place, failures = device(dry), []
    models = ["simplecnn"] if dry else ["simplecnn", "simplecnn-nobn", "resnet20", "small-vit"]
    made: list[object] = []

    def record(work: Callable[[], Any]) -> Callable[[], Any]:
        made.append(work)
        return work if dry else record_graph(work)

    def noted(work: Callable[[], Any], model: nn.Module, where: torch.device) -> Any:
        return recorded(work, model, where, record)

    def plain(work: Callable[[], Any], _model: nn.Module, _where: torch.device) -> Any:
        return work

    for model, precision in itertools.product(models, _precisions(dry)):
        spec = make_spec(model=model, precision=precision, augmentation="flip-crop", steps=30)
        made.clear()
        with mock.patch.object(training, "recorded", noted):
            replayed = _trained(spec, place)
        recordings = len(made)
        with mock.patch.object(training, "recorded", plain):
            computed = _trained(spec, place)
        equal, label = same(replayed, computed), f"{model}, {precision}"
        found[label] = {"same_bits": equal, "recordings": recordings}
        failures += [] if equal else [f"{label}: the recorded run has other bits"]
        failures += [] if recordings == 2 else [f"{label}: {recordings} recordings, 2 expected"]
        keep()
    return failures


def together(found: dict[str, Any], keep: Callable[[], None], dry: bool) -> list[str]:
    """Compare runs that take turns with the same runs alone, bit for bit."""
    from training_cases import make_spec, same

    place, failures = device(dry), []
    models = ["simplecnn", "resnet20"][: 1 if dry else 2]
    kinds = itertools.product(models, _precisions(dry), range(2 if dry else 4))
    specs = [
        make_spec(model=model, precision=precision, seed=seed, steps=30 if dry else 60)
        for model, precision, seed in kinds
    ]
    beside = _in_turns([_turns(spec, place) for spec in specs])
    for spec, shared in zip(specs, beside, strict=True):
        equal = same(shared, _trained(spec, place))
        label = f"{spec.model}, {spec.protocol.precision}, seed {spec.seed}"
        found[label] = {"same_bits": equal, "at_once": len(beside)}
        failures += [] if equal else [f"{label}: other bits than alone"]
        keep()
    return failures


def benchmark(found: dict[str, Any], keep: Callable[[], None], dry: bool) -> list[str]:
    """Run `python -m benchmarks gpu`. A target that is missed is a result, not a failure."""
    from benchmarks.__main__ import run

    device(dry)

    def kept(record: dict[str, Any]) -> None:
        found.update(record)
        keep()

    kept(run("gpu", None, kept, toy=dry))
    return []


def tests(found: dict[str, Any], keep: Callable[[], None], dry: bool) -> list[str]:
    """Run the tests marked `gpu`; in the dry mode they are collected, and skip."""
    import hypothesis  # noqa: F401 - tests/conftest.py requires it
    import pytest

    device(dry)
    outcomes: dict[str, str] = found.setdefault("outcomes", {})

    class Kept:
        """Notes the outcome of each test as soon as it is known."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call" or report.outcome != "passed":
                outcomes[report.nodeid] = report.outcome
                keep()

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                outcomes[report.nodeid] = "not collected: " + report.longreprtext.splitlines()[-1]
                keep()

    marked = re.compile(r"pytest\.mark\.gpu\b")
    files = [
        path for path in (ROOT / "tests").rglob("test_*.py") if marked.search(path.read_text())
    ]
    options = ["-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    # Another torch may warn of its own; where a step could not be recorded, the package warns.
    options += ["-W", "default", "-W", "error::warminit.errors.WarminitWarning"]
    status = pytest.main([*options, *map(str, sorted(files))], plugins=[Kept()])
    wanted = "skipped" if dry else "passed"
    found["counts"] = {kind: list(outcomes.values()).count(kind) for kind in set(outcomes.values())}
    failures = [f"{name} {kind}" for name, kind in outcomes.items() if kind != wanted]
    return failures if status == 0 and outcomes else [*failures, f"pytest ended with {status!r}"]


def cnn() -> nn.Module:
    """Build a network with a normalization, a second convolution and a head."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 16, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


def patch_stem() -> nn.Module:
    """Build a network whose first layer takes patches that do not overlap."""
    stem = nn.Conv2d(3, 24, 8, 8)
    return nn.Sequential(stem, nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


NETWORKS = {cnn: 16, patch_stem: 32}
"""What is initialized, and the side of its images."""


def _images(n: int, side: int) -> Tensor:
    """Return standardized images of pixels from 0 to 1 whose neighbours are alike."""
    noise = torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(3))
    pixels = ((noise + noise.roll(1, -1) + noise.mean(1, keepdim=True)) * 0.15 + 0.4).clamp(0, 1)
    return (pixels - 0.4) / 0.25


def _precisions(dry: bool) -> tuple[Any, ...]:
    return ("float32", "bfloat16") if dry else ("float32", "tf32", "bfloat16")


def _turns(spec: "RunSpec", place: torch.device) -> "Generator[int, None, RunResult]":
    from training_cases import do_nothing, make_dataset
    from warminit.lab.runs.train import train_in_turns

    return train_in_turns(make_dataset(), spec, arm=do_nothing, arm_parameters={}, device=place)


def _in_turns(runs: "Sequence[Generator[int, None, RunResult]]") -> "list[RunResult]":
    """Give all runs their turns until the last one is done."""
    results: dict[int, RunResult] = {}
    while len(results) < len(runs):
        for number, each in enumerate(runs):
            if number not in results:
                try:
                    next(each)
                except StopIteration as end:
                    results[number] = end.value
    return [results[number] for number in range(len(runs))]


def _trained(spec: "RunSpec", place: torch.device) -> "RunResult":
    return _in_turns([_turns(spec, place)])[0]


PARTS: dict[str, Part] = {
    "filters": filters,
    "graphs": graphs,
    "together": together,
    "benchmark": benchmark,
    "tests": tests,
}
