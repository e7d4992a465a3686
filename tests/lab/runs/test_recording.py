"""What may be recorded and replayed, and what must be computed anew each time: on any device."""

import contextlib
import gc
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import warminit.lab.runs.train
from stepping_cases import CPU, Odd, count, stepper
from training_cases import make_dataset, make_spec, run, same
from warminit.errors import WarminitWarning
from warminit.lab.runs.batches import place_split
from warminit.lab.runs.evaluate import evaluator
from warminit.lab.runs.recording import record_graph, recorded

pytestmark = pytest.mark.usefixtures("one_thread")


class Recorder:
    """Stands for CUDA graphs: keeps what it is given to record, and what is replayed."""

    def __init__(self) -> None:
        self.given: list[object] = []
        self.replays = 0

    def __call__(self, work: Callable[[], Any]) -> Callable[[], Any]:
        self.given.append(work)

        def replay() -> Any:
            self.replays += 1
            return work()

        return replay


@pytest.mark.parametrize(
    ("what", "replayed"),
    [
        (lambda _: None, True),
        (lambda _: torch.rand(1, generator=torch.Generator().manual_seed(1)), True),  # its own
        (lambda _: torch.rand(1), False),
        (lambda _: random.random(), False),
        (lambda _: np.random.rand(), False),
        (lambda model: nn.functional.dropout(torch.ones(2), training=model.training), False),
        (count, False),
    ],
    ids=["nothing", "own generator", "torch", "python", "numpy", "dropout", "counts"],
)
def test_work_that_would_not_be_the_same_again_is_not_recorded(
    what: Callable[[Odd], object], replayed: bool
) -> None:
    model, recorder = Odd(what), Recorder()
    taken = stepper(model)
    step = recorded(taken, model, CPU, recorder)
    for _ in range(5):
        step()
    assert recorder.given == ([taken] if replayed else [])
    assert recorder.replays == (3 if replayed else 0)  # the first two are the work itself
    assert taken._done.item() == 5


def test_dropout_does_not_keep_an_evaluation_from_being_recorded() -> None:
    model, recorder = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 3)), Recorder()
    split = place_split(make_dataset(shape=(3, 8, 8)), "test", CPU)
    measure = recorded(evaluator(model, split, 3, "float32"), model, CPU, recorder)
    values = [measure().tolist() for _ in range(4)]
    assert recorder.replays == 2
    assert values == [values[0]] * 4


@pytest.mark.parametrize("model", ["simplecnn", "small-vit", "training_cases:RecordingModel"])
def test_a_run_through_recordings_is_the_run(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where `_fit` hands its step and its evaluation over."""
    spec = make_spec(model=model, eval_interval=4, augmentation="flip-crop")
    plain, recorder = run(spec), Recorder()

    def watched(work: Callable[[], Any], model: nn.Module, device: torch.device) -> Any:
        return recorded(work, model, device, recorder)

    monkeypatch.setattr(warminit.lab.runs.train, "recorded", watched)
    assert same(run(spec), plain)
    # 20 steps and 5 evaluations, the first two of each apart; one that draws takes none.
    assert recorder.replays == (0 if model.startswith("training_cases") else 18 + 3)


class Graphs:
    """Stands for torch.cuda's graphs on a machine without a GPU."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.replays = 0
        self.collecting: list[bool] = []
        self.options: dict[str, Any] = {}

    def CUDAGraph(self) -> "Graphs":  # noqa: N802 - torch's own name
        return self

    def replay(self) -> None:
        self.replays += 1

    @contextlib.contextmanager
    def graph(self, graph: object, **options: Any) -> Iterator[None]:
        assert graph is self
        self.options = options
        self.collecting.append(gc.isenabled())
        yield
        if self.error is not None:
            raise self.error

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CUDAGraph", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the run's own")


def test_a_graph_is_recorded_on_the_runs_stream_and_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs, numbers = Graphs(), iter(range(1, 9))
    graphs.install(monkeypatch)
    replay = record_graph(lambda: next(numbers))
    assert graphs.options == {"stream": "the run's own", "capture_error_mode": "thread_local"}
    assert [replay(), replay()] == [1, 1]  # what the recording gave, not computed anew
    assert graphs.replays == 2
    assert graphs.collecting == [False]
    assert gc.isenabled()


def test_what_torch_cannot_record_is_computed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, numbers = Graphs(RuntimeError("operation not permitted")), iter(range(1, 9))
    graphs.install(monkeypatch)
    text = r"cannot be recorded as a CUDA graph \(operation not permitted\); it runs without"
    with pytest.warns(WarminitWarning, match=text):
        again = record_graph(lambda: next(numbers))
    assert [again(), again()] == [2, 3]
    assert graphs.replays == 0
    assert gc.isenabled()
