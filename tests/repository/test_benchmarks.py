"""The harness of the benchmarks by hand, and its statement of Listing 1 by the paper's text."""

import json
import math
import random
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks import demo, listing1
from benchmarks.__main__ import PAGE, RESULTS, kept_records, main
from benchmarks.harness import Measured, environment, interleaved, paired_ratio
from benchmarks.images import inertia
from benchmarks.tables import BEGIN, END, as_line, as_tables
from sklearn.metrics import pairwise_distances_argmin_min
from torch import nn

import listing1 as papers_text
from warminit.initializers.prewarm.listing1 import conditioned_init

pytestmark = pytest.mark.usefixtures("one_thread")


def measured(value: float, better: str = "at least", note: str = "") -> Measured:
    return Measured("init", "MNIST", "times faster", 8.0, better, value, {"a": [1.0, 3.0]}, note)  # type: ignore[arg-type] # a plain str from the parameters below


@pytest.mark.parametrize(
    ("value", "better", "passed"),
    [
        (8.0, "at least", True),
        (7.99, "at least", False),
        (8.0, "at most", True),
        (8.01, "at most", False),
        (math.nan, "at least", False),
        (math.nan, "at most", False),
    ],
)
def test_a_target_is_reached_or_not(value: float, better: str, passed: bool) -> None:
    found = measured(value, better)
    assert found.passed is passed
    assert found.record()["passed"] is passed
    assert as_line(found.record()).startswith("pass " if passed else "short")


def test_contenders_take_turns_and_another_comes_first_each_time() -> None:
    calls: list[str] = []
    times = iter(range(1000))
    seconds = interleaved(
        {name: partial(calls.append, name) for name in "abc"},
        repeats=3,
        warmup=1,
        clock=lambda: float(next(times)) ** 2,
    )
    assert "".join(calls) == "abcbcacababc"
    # The clock is asked before and after each call, and squares tell which of the calls it was:
    # call k takes (2 k + 1)^2 - (2 k)^2 = 4 k + 1.
    assert seconds == {"a": [21.0, 29.0, 37.0], "b": [13.0, 33.0, 41.0], "c": [17.0, 25.0, 45.0]}


def test_the_ratio_is_paired() -> None:
    # Alone, the medians are 4 and 2; of the pairs 1 / 2, 4 / 1 and 9 / 3 the median is 3.
    seconds = {"slow": [1.0, 4.0, 9.0], "fast": [2.0, 1.0, 3.0]}
    assert paired_ratio(seconds, "slow", "fast") == 3.0
    with pytest.raises(ValueError, match="zip"):
        paired_ratio({"slow": [1.0], "fast": [1.0, 2.0]}, "slow", "fast")


def test_the_environment_names_what_figures_depend_on() -> None:
    found = environment()
    assert found["versions"]["torch"] == torch.__version__
    assert found["threads"] == 1
    assert len(found["load_average"]) == 3
    json.dumps(found)


def test_a_run_is_stored_and_its_tables_go_between_the_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = ModuleType("benchmarks.startup")
    roots: list[Path | None] = []

    def measure(data_root: Path | None) -> list[Measured]:
        roots.append(data_root)
        return [measured(9.0), measured(2.0, note="a | b")]

    monkeypatch.setattr(fake, "measure", measure, raising=False)
    monkeypatch.setattr(fake, "skipped", lambda: ["no GPU at hand"], raising=False)
    monkeypatch.setitem(sys.modules, "benchmarks.startup", fake)
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    arguments = ["startup", "--data-root", "x", "--results", str(tmp_path), "--page", str(page)]
    assert main(arguments) == 0
    assert roots == [Path("x")]
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines] == ["== st", "pass ", "short", "skipp", "start"]
    stored = json.loads((tmp_path / "startup.json").read_text())
    assert [each["value"] for each in stored["measured"]] == [9.0, 2.0]
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| MNIST | times faster | at least 8 | 2 | **short** | a \\| b |" in text
    assert text.count("| MNIST | a | 2 | 1 | 3 | 2 |") == 1  # the same repeats, listed once
    assert "| startup | " in text
    assert "Skipped: no GPU at hand." in text
    main(arguments)  # again: nothing grows
    assert page.read_text().count("### startup") == 1
    with pytest.raises(ValueError, match="the page lacks the marks"):
        as_tables("no marks", [stored])


def test_the_page_has_the_kept_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert as_tables(page, kept_records(RESULTS)) == page


def test_what_was_measured_before_a_failure_is_kept_beside_the_last_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(_root: Path | None) -> Iterator[Measured]:
        yield measured(9.0)
        raise RuntimeError("out of memory")

    fake = ModuleType("benchmarks.gpu")
    monkeypatch.setattr(fake, "measure", measure, raising=False)
    monkeypatch.setitem(sys.modules, "benchmarks.gpu", fake)
    (tmp_path / "gpu.json").write_text("the last one")
    assert main(["gpu", "--results", str(tmp_path), "--page", str(tmp_path / "none.md")]) == 1
    assert (tmp_path / "gpu.json").read_text() == "the last one"
    kept = json.loads((tmp_path / "gpu.partial.json").read_text())
    assert [each["value"] for each in kept["measured"]] == [9.0]
    assert "gpu failed: RuntimeError: out of memory" in capsys.readouterr().out


def test_toys_are_of_the_gpu_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--toy"])
    assert "--toy: expected the module gpu alone. Run python" in capsys.readouterr().err


def test_one_benchmark_that_fails_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, found in (("startup", None), ("driver", [measured(9.0)])):
        fake = ModuleType(f"benchmarks.{name}")
        monkeypatch.setattr(fake, "measure", lambda _root, found=found: list(found), raising=False)
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", fake)
    page = str(tmp_path / "none.md")
    assert main(["startup", "driver", "--results", str(tmp_path), "--page", page]) == 1
    assert "startup failed: TypeError" in capsys.readouterr().out
    assert (tmp_path / "driver.json").exists()
    assert not (tmp_path / "startup.json").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_its_listing_is_the_papers(channels: int) -> None:
    images = torch.randn(12, channels, 14, 11, generator=torch.Generator().manual_seed(1))
    weights = []
    for initialize in (listing1.conditioned_init, papers_text.conditioned_init, conditioned_init):
        model = nn.Sequential()
        torch.manual_seed(3)
        model.conv1 = nn.Conv2d(channels, 8, 3)
        initialize(model, images, n_clusters=5, n_patches=9, scale=0.2, seed=7)
        weights.append(model.conv1.weight.detach().numpy().tobytes())
    assert weights[0] == weights[1] == weights[2]


def test_its_patches_are_those_of_the_listing() -> None:
    images = torch.rand(5, 2, 9, 12)
    random.seed(4)
    ours = listing1.extract_patches(images, 4, 6)
    random.seed(4)
    assert np.array_equal(ours, papers_text.extract_patches(images, 4, 6))


def test_its_inertia_is_scikit_learns() -> None:
    draw = np.random.RandomState(0)
    patches, centroids = draw.randn(5000, 6) + 3, draw.randn(7, 6) + 3
    _, nearest = pairwise_distances_argmin_min(patches, centroids)
    found = inertia(torch.from_numpy(patches), torch.from_numpy(centroids))
    assert found == pytest.approx((nearest**2).mean(), rel=1e-9)


def test_the_demo_that_is_measured_is_that_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert f"/warminit {' '.join(demo.COMMAND)}\n" in makefile


def test_the_demo_tells_its_seconds_and_what_it_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [{"outcome": outcome} for outcome in ("baseline", "helps", "undecided")]
    found = {"runs": [None] * 29, "spared_runs": 3, "cells": cells}

    def ran(command: list[str], **_: object) -> None:
        folder = command[command.index("--out") + 1]
        (Path(folder) / "results.json").write_text(json.dumps(found))

    monkeypatch.setattr("benchmarks.demo.subprocess.run", ran)
    (entry,) = demo.measure(None)
    assert entry.note.startswith("29 runs, 3 spared; helps, undecided; 0 s of CPU time")
    assert 0 <= entry.value < 60
