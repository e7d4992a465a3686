"""The check for a GPU, on the CPU: each part finds a planted fault, and none costs another part."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

import gpu_check
import gpu_parts
import warminit.initializers
import warminit.lab.runs.recording
import warminit.lab.runs.train
from warminit.initializers import METHODS

PACK = "Install it, or take wheels along (tools/gpu_check.sh --pack)"

CALLS: list[int] = []
"""One entry a call of what was planted."""


def steady(model: Any, images: Any, *, seed: int) -> None:
    nn.init.constant_(model[0].weight, 0.5)


def drifting(model: Any, images: Any, *, seed: int) -> None:
    CALLS.append(1)
    nn.init.constant_(model[0].weight, 0.5 * len(CALLS))


def part(name: str) -> tuple[list[str], dict[str, Any]]:
    found: dict[str, Any] = {}
    CALLS.clear()
    return gpu_parts.PARTS[name](found, lambda: None, True), found


def test_filters_that_differ_between_two_devices_are_found() -> None:
    # In place, and with its order as before: other tests print it.
    with patch.dict(METHODS, {"steady": steady}, clear=True):
        failures, found = part("filters")
    assert failures == []
    assert [each["same_bits"] for each in found.values()] == [True, True]
    with patch.dict(METHODS, {"steady": steady, "drifting": drifting}, clear=True):
        failures, found = part("filters")
    assert [text.partition(":")[0] for text in failures] == [
        "drifting, cnn", "drifting, patch_stem",
    ]  # fmt: skip
    assert found["drifting, cnn"]["largest_difference"] == 0.5


def test_recordings_that_are_missing_or_compute_something_else_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert part("graphs")[0] == []
    recorded = warminit.lab.runs.recording.recorded

    def never(work: Any, model: Any, device: Any, record: Any) -> Any:
        return work

    def skips(work: Any, model: Any, device: Any, record: Any) -> Any:
        def once_less() -> Any:
            CALLS.append(1)
            return None if len(CALLS) == 5 else again()

        again = recorded(work, model, device, record)
        return once_less

    monkeypatch.setattr(warminit.lab.runs.recording, "recorded", never)
    assert "simplecnn, float32: 0 recordings, 2 expected" in part("graphs")[0]
    monkeypatch.setattr(warminit.lab.runs.recording, "recorded", skips)
    assert part("graphs")[0] == ["simplecnn, float32: the recorded run has other bits"]


def test_runs_that_depend_on_their_neighbours_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert part("together")[0] == []

    def rates(*_given: object) -> tuple[float, float]:
        CALLS.append(1)
        return (1e-3 * len(CALLS), 1e-5)

    monkeypatch.setattr(warminit.lab.runs.train, "learning_rates", rates)
    failures, found = part("together")
    assert len(failures) == len(found) == 4
    assert failures[0] == "simplecnn, float32, seed 0: other bits than alone"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import torch\n@pytest.mark.gpu\ndef test_it(): assert 0", r"test_it failed"),
        ("import no_such_package\npytest.mark.gpu", r"not collected: .*'no_such_package'"),
        ("def test_it(): 'pytest.mark.gpu'", r"^pytest ended with .*NO_TESTS_COLLECTED"),
    ],
)
def test_tests_that_fail_or_cannot_be_collected_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    (tmp_path / "tests").mkdir()
    name = f"test_planted_{len(body)}"
    (tmp_path / "tests" / f"{name}.py").write_text(f"import pytest\n{body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs one\n")
    monkeypatch.setattr(gpu_parts, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    failures, _ = part("tests")
    sys.modules.pop(name, None)
    assert re.search(told, "; ".join(failures))


def missing(*_given: object) -> list[str]:
    raise ModuleNotFoundError("No module named 'pydantic'")


def broken(*_given: object) -> list[str]:
    raise RuntimeError("CUDA error: an illegal memory access")


@pytest.mark.parametrize(
    ("call", "state", "reason"),
    [
        (lambda *_given: [], "passed", ""),
        (lambda *_given: ["a", "b"], "failed", "a; b"),
        (missing, "not run", f"No module named 'pydantic'. {PACK}"),
        (broken, "failed", "RuntimeError: CUDA error: an illegal memory access"),
    ],
)
def test_how_a_part_went_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., list[str]],
    state: str,
    reason: str,
) -> None:
    monkeypatch.setitem(gpu_parts.PARTS, "graphs", call)
    arguments = ["--out", str(tmp_path), "--part", "graphs", "--dry"]
    assert gpu_check.main(arguments) == (state != "passed")
    written = json.loads((tmp_path / "graphs.part.json").read_text())
    assert written == {"state": state, "reason": reason, "found": {}}


def test_without_a_gpu_a_part_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in gpu_parts.PARTS:
        assert gpu_check.main(["--out", str(tmp_path), "--part", name]) == 1
        written = json.loads((tmp_path / f"{name}.part.json").read_text())
        assert written["state"] == "not run"
        assert written["reason"] == f"torch {torch.__version__} sees no GPU"


STANDS_FOR_PARTS = """
import json, os, sys, time
out, name = sys.argv[2], sys.argv[4]
with open(f"{out}/{name}.part.json", "w") as file:
    done = {"state": "passed", "reason": ""} if name == "together" else {}
    json.dump({**done, "found": {"first": 1}}, file)
if name == "filters":
    os._exit(3)
if name == "graphs":
    time.sleep(600)
"""


def test_a_part_that_crashes_or_hangs_costs_no_other_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "parts.py"
    script.write_text(STANDS_FOR_PARTS)
    monkeypatch.setattr(gpu_check, "__file__", str(script))
    monkeypatch.setattr(gpu_check, "LEAST", 0)
    monkeypatch.setitem(gpu_check.LIMITS, "graphs", 3)
    began = time.monotonic()
    arguments = ["--out", str(tmp_path), "--parts", "filters", "graphs", "together"]
    assert gpu_check.main(arguments) == 1
    assert time.monotonic() - began < 100
    record = json.loads((tmp_path / "gpu_check.json").read_text())
    told = [(each["state"], each["reason"]) for each in record["parts"].values()]
    assert told == [
        ("failed", "the process ended with status 3"),
        ("failed", "the process took over 3 s"),
        ("passed", ""),
    ]
    assert [each["found"] for each in record["parts"].values()] == [{"first": 1}] * 3
    assert (record["passed"], record["dry"]) == (False, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu_check.json", "parts.py"]


def test_all_parts_end_within_eight_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu_check.BUDGET < 8 * 60
    monkeypatch.setattr(gpu_check, "BUDGET", 0)
    gpu_check.main(["--out", str(tmp_path), "--parts", "filters"])
    record = json.loads((tmp_path / "gpu_check.json").read_text())
    assert record["parts"]["filters"]["reason"] == "no time was left"
