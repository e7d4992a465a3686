"""The benchmark of the GPU: what it says without one, and what it counts."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import gpu, gpu_limits
from benchmarks.__main__ import MODULES, main
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from warminit.lab.networks.simple import SimpleCNN


def test_without_a_gpu_it_gives_the_reason_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gpu" in MODULES
    assert main(["gpu", "--results", str(tmp_path), "--page", str(tmp_path / "none.md")]) == 0
    reason = f"laboratory on a GPU: none is at hand (torch {torch.__version__})"
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["== gpu", f"skipped  {reason}"]
    stored = json.loads((tmp_path / "gpu.json").read_text())
    assert (stored["measured"], stored["skipped"]) == ([], [reason])


def test_its_arithmetic_of_a_step_is_what_torch_counts() -> None:
    model = SimpleCNN(3, (32, 32), 10)
    with FlopCounterMode(display=False) as counted:
        loss = nn.functional.cross_entropy(model(torch.zeros(4, 3, 32, 32)), torch.zeros(4).long())
        torch.autograd.backward(loss)
    assert gpu_limits._operations(4) == counted.get_total_flops()


def test_the_least_that_a_step_moves_by_hand() -> None:
    # One image: 3072 values; convolutions of 32768 and 16384; pooled to 8192 and 4096.
    values = 2 * 3072 + 6 * (32768 + 16384) + 4 * (8192 + 4096)
    assert gpu_limits._bytes(2, 4) == 2 * 4 * values


def test_so_many_runs_are_under_way_at_a_time_until_all_are_done() -> None:
    events: list[tuple[str, int]] = []

    def run(number: int) -> Generator[int, None, str]:
        events.append(("begun", number))
        yield from range(1, 3 + number)
        events.append(("done", number))
        return "result"

    runs: Any = (run(number) for number in range(5))
    gpu._finish(runs, 2)
    under_way, most = 0, 0
    for what, _ in events:
        under_way += 1 if what == "begun" else -1
        most = max(most, under_way)
    assert sorted(number for what, number in events if what == "done") == list(range(5))
    assert (most, under_way) == (2, 0)
