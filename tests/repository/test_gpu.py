"""The laboratory on a GPU: as on the CPU, recorded as computed, together as alone, no waiting."""

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import warminit.lab.runs.train
from outcomes import all_of, bits
from stepping_cases import Odd, count
from study_cases import tiny_study, write_data
from training_cases import do_nothing, make_dataset, make_spec, run, same
from warminit.images.source import Batch
from warminit.initializers.prewarm.method import kmeans_filters, prewarm_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.whitening import whiten_
from warminit.lab.engines.driver import plan
from warminit.lab.engines.job import DataSource, begin, execute
from warminit.lab.engines.local import run_all
from warminit.lab.networks.build import build_model
from warminit.lab.runs.arithmetic import arithmetic
from warminit.lab.runs.batches import place_split
from warminit.lab.runs.evaluate import evaluator
from warminit.lab.runs.recording import record_graph, recorded
from warminit.lab.runs.stepping import Stepper
from warminit.lab.runs.train import train_in_turns

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

SETTINGS: list[dict[str, Any]] = [
    {},
    {"precision": "tf32", "optimizer": "adamw", "weight_decay": 0.1},
    {"precision": "bfloat16", "augmentation": "flip-crop"},
    {"optimizer": "sgd", "augmentation": "flip-crop"},
]
MODELS = ["simplecnn", "simplecnn-nobn", "resnet20", "small-vit"]


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect what is recorded while runs go on."""
    found: list[object] = []

    def keep(work: Callable[[], Any]) -> Callable[[], Any]:
        found.append(work)
        return record_graph(work)

    def noted(work: Callable[[], Any], model: nn.Module, device: torch.device) -> Any:
        return recorded(work, model, device, keep)

    monkeypatch.setattr(warminit.lab.runs.train, "recorded", noted)
    return found


def eager(work: Callable[[], Any], _model: nn.Module, _device: torch.device) -> Any:
    return work


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise where the host waits for the GPU."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(mode)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_a_recorded_run_is_the_computed_one_bit_for_bit(
    model: str, settings: dict[str, Any], recordings: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(model=model, eval_interval=4, **settings)
    first = run(spec, device="cuda")
    assert len(recordings) == 2  # the step and the evaluation
    assert same(first, run(spec, device="cuda"))
    monkeypatch.setattr(warminit.lab.runs.train, "recorded", eager)
    assert same(first, run(spec, device="cuda"))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_agrees_with_that_on_the_cpu(model: str, optimizer: str) -> None:
    spec = make_spec(
        model=model, optimizer=optimizer, lr_start=1e-3, lr_end=1e-5, augmentation="flip-crop"
    )
    here, there = run(spec), run(spec, device="cuda")
    # float32 on both, other orders of the sums, and a learning rate rounded to float32.
    np.testing.assert_allclose(there.train_loss, here.train_loss, rtol=2e-3, atol=2e-4)
    assert there.metrics["loss"] == pytest.approx(here.metrics["loss"], rel=2e-2, abs=2e-3)


def test_tf32_and_bfloat16_are_other_arithmetics_on_the_same_run() -> None:
    exact, *rough = (
        run(make_spec(precision=name), device="cuda").train_loss
        for name in ("float32", "tf32", "bfloat16")
    )
    for losses, tolerance in zip(rough, (2e-3, 2e-2), strict=True):  # 11 and 8 significant bits
        assert losses[0] != exact[0]
        assert losses[0] == pytest.approx(exact[0], rel=tolerance)


def test_a_run_with_dropout_is_not_recorded_and_repeats(recordings: list[object]) -> None:
    spec = make_spec(model="training_cases:RecordingModel", augmentation="flip-crop")
    first = run(spec, device="cuda")
    assert recordings == []
    assert same(first, run(spec, device="cuda"))


@pytest.mark.parametrize(
    "what",
    [
        lambda model: model.head.weight.sum().item(),
        lambda model: model.head.weight.detach().cpu(),
        lambda model: torch.rand(1, device="cuda"),
        count,
    ],
    ids=["reads a number", "copies to the host", "draws", "counts"],
)
def test_a_model_that_cannot_be_replayed_is_found_out(what: Callable[[Odd], object]) -> None:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        model = Odd(what).to("cuda")
        step = recorded(stepper(model), model, torch.device("cuda"), refuse)
        for _ in range(4):
            step()
    torch.cuda.synchronize()


def refuse(_work: object) -> Any:
    raise AssertionError("it was recorded")


def stepper(model: nn.Module, **settings: Any) -> Stepper:
    split = place_split(make_dataset(shape=(3, 8, 8)), "train", torch.device("cuda"))
    taken = Stepper(model, split, 3, make_spec(**settings).protocol, 7, (1e-3, 1e-5))
    taken.plan()
    return taken


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
def test_nothing_within_a_run_waits_for_the_gpu(model: str, precision: Any) -> None:
    place = torch.device("cuda")
    with torch.cuda.stream(torch.cuda.Stream()), arithmetic(precision, place):
        net = build_model(model, 3, (8, 8), 3).to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
        testing = place_split(make_dataset(shape=(3, 8, 8)), "test", place)
        work = stepper(net, precision=precision, augmentation="flip-crop")
        step = recorded(work, net, place)
        look = evaluator(net, testing, 3, precision)
        measure = recorded(look, net, place)
        step(), measure()  # what libraries set up once
        with no_waiting():
            work()
            look()
        for _ in range(2):
            step(), measure()  # the last of them is recorded, and that waits
        with no_waiting():
            kept = []
            for _ in range(5):
                step()
                kept.append(measure().clone())
        assert torch.stack(kept).isfinite().all()
        assert work._done.item() == 9


def test_runs_that_take_turns_are_those_that_ran_alone() -> None:
    kinds = [("simplecnn", "tf32"), ("training_cases:RecordingModel", "float32")]
    kinds += [("resnet20", "bfloat16"), ("simplecnn", "float32")]
    specs = [
        make_spec(model=model, precision=precision, seed=seed, steps=60, eval_interval=20)
        for seed, (model, precision) in enumerate(kinds)
    ]
    data = make_dataset()
    turns = [
        train_in_turns(data, spec, arm=do_nothing, arm_parameters={}, device="cuda")
        for spec in specs
    ]
    results: dict[int, Any] = {}
    while len(results) < len(turns):
        for number, each in enumerate(turns):
            if number not in results:
                try:
                    next(each)
                except StopIteration as end:
                    results[number] = end.value
    for number, spec in enumerate(specs):
        assert same(results[number], run(spec, data, device="cuda"))


def test_a_study_gives_the_same_bits_however_many_runs_share_the_gpu(tmp_path: Any) -> None:
    source = DataSource(device="cuda")
    protocol = {"steps": 40, "batch_size": 16, "eval_interval": 10}
    study = tiny_study(
        write_data(tmp_path), arms=["torch-default", "prewarm"], seeds=3, protocol=protocol
    )
    runs = plan(study, source)
    together = all_of(run_all(runs, partial(begin, source=source), at_once=4))
    for each in runs:
        assert bits(together[each.key]) == bits(execute(each, None, source=source))


REFUSED_BY_TORCH = """
import warnings
import torch
from warminit.lab.runs.recording import record_graph

values = torch.zeros(3, device="cuda")
torch.cuda.synchronize()

def work():
    values.add_(1)
    return len(values.nonzero())

with torch.cuda.stream(torch.cuda.Stream()), warnings.catch_warnings(record=True) as told:
    again = record_graph(work)
    found = [again(), again(), values.tolist()]
print(found, [each.category.__name__ for each in told])
"""


def test_what_cannot_be_recorded_is_computed() -> None:
    # In a process of its own: what torch leaves behind of a recording that failed stays there.
    command = [sys.executable, "-c", REFUSED_BY_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[3, 3, [2.0, 2.0, 2.0]] ['WarminitWarning']\n"


class HostCopies(TorchDispatchMode):
    """Notes how many values each operation brings from the GPU to the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch gives it no types
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in args if isinstance(each, Tensor)]
        if func.overloadpacket.__name__ == "_local_scalar_dense" and tensors[0].is_cuda:
            self.sizes.append(1)
        elif isinstance(result, Tensor) and result.is_cpu and any(each.is_cuda for each in tensors):
            self.sizes.append(result.numel())
        return result


@pytest.mark.parametrize("arm", [prewarm_, whiten_])
def test_an_init_on_a_gpu_gives_what_it_gives_on_the_cpu(arm: Any) -> None:
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    weights = []
    for place in ("cpu", "cuda"):
        torch.manual_seed(5)
        model = nn.Conv2d(3, 16, 3).to(place)
        arm(model, images.to(place), layers=model, patches_per_image=40, scale=0.25)
        weights.append(model.weight.detach().cpu())
    assert weights[1].shape == weights[0].shape
    assert weights[1].isfinite().all()
    torch.testing.assert_close(weights[1].norm(), weights[0].norm(), rtol=0.05, atol=0)


def test_k_means_on_a_gpu_brings_one_number_to_the_host() -> None:
    images = torch.randn(64, 3, 32, 32, device="cuda")
    hyper = Hyperparameters(16, n_patches=50, patch_size=(3, 3), scale=0.25)
    with HostCopies() as copies:
        filters = kmeans_filters(Batch(images), hyper, (3, 3), seed=0)
    assert copies.sizes == [1]  # whether there are enough distinct patches
    assert filters.is_cuda


@pytest.mark.parametrize("arm", [prewarm_, whiten_])
def test_an_init_on_a_gpu_brings_no_images_and_no_patches_to_the_host(arm: Any) -> None:
    images = torch.randn(64, 3, 32, 32, device="cuda")
    model = nn.Conv2d(3, 16, 3).to("cuda")
    with HostCopies() as copies:
        arm(model, images, layers=model, patches_per_image=50, scale=0.25)
    # The weight itself is looked at: whether it is fresh, and whether it took what was written.
    assert max(copies.sizes, default=0) <= model.weight.numel()
