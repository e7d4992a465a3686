"""`warminit.lab.compare`: a user's own training loop in the laboratory's store and statistics."""

import inspect
import random
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import warminit.lab
from warminit import derive_rules
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab import compare
from warminit.lab.own_loop import Init
from warminit.lab.store.store import Store
from warminit.lab.store.stored_study import STORE_NAME, read_study
from warminit.lab.study.spec import ArmSpec
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.export import export

IMAGES = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(3))
CALLS: list[int] = []
LATER = 0.0


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))


def train(init: Init, seed: int) -> dict[str, Any]:
    """Nothing is trained: the metrics are functions of the arm's filters and the seed alone."""
    CALLS.append(seed)
    model = network()
    before = model[2].weight.detach().clone()  # type: ignore[index]
    init(model, IMAGES)
    with torch.no_grad():
        filters = float(model[0].weight.abs().mean())  # type: ignore[index]
        elsewhere = float((model[2].weight - before).abs().max())  # type: ignore[index]
    drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return {
        "accuracy": 1 / (1 + filters),
        "size": torch.tensor(filters),
        "elsewhere": elsewhere,
        "head": float(before.sum()),
        **{f"drawn {place}": value for place, value in enumerate(drawn)},
    }


@pytest.fixture(autouse=True)
def fresh_calls() -> None:
    CALLS.clear()


def metrics(analysis: Analysis, arm: str) -> list[dict[str, float]]:
    return [
        dict(run.result.metrics)
        for run in analysis.runs
        if run.spec.arm.label == arm and run.result is not None
    ]


ARMS = ["torch-default", "he-normal"]


def test_it_runs_stores_resumes_and_compares(tmp_path: Path) -> None:
    analysis = compare(train, ARMS, seeds=5, out=tmp_path)
    assert CALLS == [42, 42, 7, 7, 13, 13, 99, 99, 2025, 2025]  # paired runs one after the other
    (comparison,) = analysis.comparisons
    ours, base = ([each["accuracy"] for each in metrics(analysis, arm)] for arm in reversed(ARMS))
    assert comparison.n == 5
    assert comparison.mean_difference == pytest.approx(np.mean(ours) - np.mean(base), rel=1e-12)
    # SciPy's paired test is the oracle of the one that the analysis went through.
    assert comparison.p_two_sided == pytest.approx(stats.ttest_rel(ours, base).pvalue, rel=1e-9)
    assert "he-normal" in comparison.verdict

    CALLS.clear()
    again = compare(train, ARMS, seeds=6, out=tmp_path)
    assert CALLS == [1, 1]  # only the sixth seed was missing
    assert again.runs[:10] == analysis.runs
    stored = read_study(tmp_path)
    study, runs = stored.study, stored.runs
    assert study == again.study
    assert runs == again.runs


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    compare(train, arms=["torch-default", "he-normal"], seeds=2, out="~/results")
    assert (tmp_path / "home" / "results" / STORE_NAME).is_file()
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_the_arms_share_what_they_do_not_set(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    arms = [*ARMS, "study_cases:draws"]
    analysis = compare(train, arms, seeds=2, out=tmp_path)
    now = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert torch.equal(state[0], now[0])
    assert state[1:] == now[1:]
    first, second = metrics(analysis, "torch-default"), metrics(analysis, "he-normal")
    third = metrics(analysis, "study_cases:draws")
    for ours, theirs, drawing in zip(first, second, third, strict=True):
        assert ours["elsewhere"] == 0
        for name in ("head", "drawn 0", "drawn 1", "drawn 2"):
            assert ours[name] == theirs[name] == drawing[name]
        assert ours["size"] != theirs["size"]
    assert first[0]["drawn 2"] != first[1]["drawn 2"]  # another seed, other draws
    results = [run.result for run in analysis.runs if run.result is not None]
    # An arm that sets nothing leaves torch's own weights.
    assert len({result.weights_digest for result in results}) == 4
    assert results[0].init_report["method"] == "torch-default"
    assert 0 <= results[0].init_seconds <= results[0].init_seconds + results[0].train_seconds < 60


def test_methods_together_get_the_options_that_each_takes(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def train(init: Init, seed: int) -> dict[str, float]:
        report = init(network(), IMAGES, n_filters=1, patches_per_image=9)
        seen[report.method] = (report.parts or (report,))[0].filters_set
        return {"accuracy": 1.0}

    arms = ["whitening", "whitening+small-head"]
    compare(train, arms, 1, out=tmp_path, version="1", quiet=True)
    assert seen == {"whitening": 1, "whitening+small-head": 1}


def test_a_loss_and_another_unit(tmp_path: Path) -> None:
    # He's normal filters are about 1.6 times as wide as torch's, so "size" is surely larger.
    as_loss = compare(
        train, ARMS, seeds=4, out=tmp_path, metric="size", higher_is_better=False, margin=0.01
    )
    assert as_loss.comparisons[0].verdict.startswith("he-normal harms")
    assert as_loss.comparisons[0].wins == 0
    CALLS.clear()
    as_gain = compare(train, ARMS, seeds=4, out=tmp_path, metric="size", unit="widths", margin=0.01)
    assert as_gain.comparisons[0].verdict.startswith("he-normal helps")
    assert "widths" in as_gain.comparisons[0].verdict
    assert not CALLS  # every metric was stored; another one asks for no new runs


def test_it_is_exported_like_any_study(tmp_path: Path) -> None:
    analysis = compare(train, ARMS, seeds=2, out=tmp_path)
    for file_format in ("csv", "json", "latex"):
        written = export(analysis, tmp_path / f"results.{file_format}", file_format)
        assert "he-normal" in written.read_text(encoding="utf-8")
    header, *rows = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 4
    assert {"arm", "seed", "accuracy", "size"} <= set(header.split(","))


# ---------------------------------------------------------------- what makes another run
def test_a_changed_version_function_or_value_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(init: Init, seed: int) -> dict[str, Any]:
        return {**train(init, seed), "later": LATER}

    def run(loop: Any = later, **options: Any) -> int:
        CALLS.clear()
        arms: list[Any] = options.pop("arms", ["torch-default"])
        compare(loop, arms, seeds=1, out=tmp_path, **options)
        return len(CALLS)

    assert run() == 1
    assert run() == 0
    assert run(version="2") == 1
    assert run(train) == 1  # another text
    monkeypatch.setattr(sys.modules[__name__], "LATER", 0.5)  # a value that `later` reads
    assert run() == 1
    monkeypatch.undo()
    assert run() == 0
    prewarm = {"name": "prewarm", "n_filters": 2, "patches_per_image": 20, "scale": 0.1}
    assert run(arms=[prewarm]) == 1
    assert run(arms=[dict(reversed(prewarm.items()))]) == 0  # the order of keys is nothing
    assert run(arms=[{**prewarm, "scale": 0.2}]) == 1
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert run() == 1
    finally:
        torch.set_num_threads(before)


def test_a_function_without_text_needs_a_version(tmp_path: Path) -> None:
    bound = partial(train)
    with pytest.raises(WarminitError, match=r"version=None: the source .* Pass version='1'"):
        compare(bound, ["torch-default"], seeds=1, out=tmp_path)
    assert len(compare(bound, ["torch-default"], seeds=1, out=tmp_path, version="1").runs) == 1


# ---------------------------------------------------------------- what goes wrong
def test_failed_runs_are_told_kept_and_tried_again(tmp_path: Path) -> None:
    broken = [True]

    def sometimes(init: Init, seed: int) -> dict[str, Any]:
        if broken[0] and seed == 7:
            raise KeyError("my own mistake")
        return train(init, seed)

    with pytest.warns(WarminitWarning, match=r"2 of 6 runs failed; .* seed 7: KeyError: 'my own"):
        analysis = compare(sometimes, ARMS, seeds=3, out=tmp_path, on_error="continue")
    assert analysis.comparisons[0].n == 2
    assert [cell.failed for cell in analysis.cells] == [(7,), (7,)]
    broken[0] = False
    assert compare(sometimes, ARMS, seeds=3, out=tmp_path).comparisons[0].n == 3


def not_orthogonal(init: Init, seed: int) -> dict[str, Any]:
    """A loop whose own code fails for one arm alone."""
    CALLS.append(seed)
    model = network()
    report = init(model, IMAGES)
    if report.method == "orthogonal":
        raise ValueError("not orthogonal.")
    with torch.no_grad():
        return {"accuracy": float(1 / (1 + model[0].weight.abs().mean()))}  # type: ignore[index]


@pytest.mark.parametrize("workers", [None, 2])
def test_an_arm_stops_at_its_first_failing_run_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int | None
) -> None:
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), start=1)
        if 'ValueError("not orthogonal' in text
    )
    arms = ["torch-default", "orthogonal", "he-normal"]
    with pytest.warns(WarminitWarning, match=r"1 of 7 runs failed; orthogonal at seed 42") as told:
        analysis = compare(not_orthogonal, arms, seeds=3, out=tmp_path, workers=workers)
    text = str(told[0].message)
    assert "ValueError: not orthogonal. (test_own_loop.py, line" in text
    assert f'line {line}: raise ValueError("not orthogonal."))' in text
    assert "on_error='continue'" in text
    if workers is None:
        assert CALLS == [42, 42, 42, 7, 7, 13, 13]
    assert [len(cell.scores) for cell in analysis.cells] == [3, 0, 3]
    printed = " ".join(capsys.readouterr().out.split())
    (comparison,) = analysis.comparisons
    assert f"- {comparison.verdict}" in printed
    assert "orthogonal seed 42: failed: ValueError: not orthogonal." in printed


def test_where_every_arm_fails_one_run_of_each_is_done(tmp_path: Path) -> None:
    def broken(init: Init, seed: int) -> dict[str, Any]:
        CALLS.append(seed)
        return {"accuracy": dict[str, float]()["accuracy"]}  # the line that is at fault

    with pytest.raises(WarminitError, match=r"2 of 2 runs failed.*the line that is at fault"):
        compare(broken, ARMS, seeds=8, out=tmp_path)
    assert CALLS == [42, 42]
    CALLS.clear()
    with pytest.raises(WarminitError, match="6 of 6 runs failed"):
        compare(broken, ARMS, seeds=3, out=tmp_path, on_error="continue")
    assert CALLS == [42, 42, 7, 7, 13, 13]


def test_progress_and_verdicts_are_printed_unless_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = compare(train, ARMS, seeds=2, out=tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"\[1/4, \d+ s\] torch-default seed 42: accuracy 0\.\d{4}", printed)
    assert "your training loop: 2 seeds" in printed
    assert analysis.comparisons[0].verdict in printed
    # Of the protocol, which stands in for the user's own, and of its names nothing is shown.
    for word in ("yours", "demonstration", "1 steps"):
        assert word not in printed
    compare(train, ARMS, seeds=3, out=tmp_path, quiet=True)
    assert capsys.readouterr().out == ""


def test_its_page_speaks_of_the_users_loop_alone(tmp_path: Path) -> None:
    compare(train, ARMS, seeds=2, out=tmp_path, quiet=True)
    page = (tmp_path / "report.html").read_text("utf-8")
    shown = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    assert "in your own training loop" in shown
    for word in ("yours", "demonstration", "batch 256", "study.toml", "data set</button>"):
        assert word not in shown
    assert "yours" not in "".join(re.findall(r'id="spec-.*?</script>', page, flags=re.DOTALL))


# ---------------------------------------------------------------- options that the loop gives
def with_statistics(init: Init, seed: int) -> dict[str, Any]:
    model = network()
    report = init(model, (IMAGES - 0.5) / 0.25, mean=[0.5], std=[0.25])
    return {
        "accuracy": 0.5 + seed / 1e5,
        "patches": report.parameters.get("patches_per_image") or 0,
    }


@pytest.mark.filterwarnings("ignore:Otsu's separability")
def test_options_of_init_go_to_the_arms_that_take_them(tmp_path: Path) -> None:
    arms: list[Any] = ["torch-default", "prewarm", {"name": "prewarm", "patches_per_image": 7}]
    analysis = compare(with_statistics, arms, seeds=1, out=tmp_path)
    default, ruled, given = (metrics(analysis, cell.arm)[0]["patches"] for cell in analysis.cells)
    # The rule sees raw pixels only with mean and std; the arm's own parameters come after them.
    assert (default, given) == (0, 7)
    assert ruled == derive_rules(IMAGES, 4, 3).n_patches


def test_an_option_that_no_arm_takes_is_refused(tmp_path: Path) -> None:
    def misspelt(init: Init, seed: int) -> dict[str, Any]:
        init(network(), IMAGES, patches_per_imag=3)
        return {"accuracy": 0.5}

    with pytest.raises(
        WarminitError, match=r"no compared arm takes 'patches_per_imag'.*per_image'"
    ):
        compare(misspelt, ["torch-default", "prewarm"], seeds=1, out=tmp_path)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_statistics_of_an_arm_are_one_value_and_never_swept(tmp_path: Path, kind: Any) -> None:
    prewarm = {
        "name": "prewarm",
        "mean": kind([0.5]),
        "std": kind([0.25]),
        "patches_per_image": [7, 9],
    }
    arms: list[Any] = ["torch-default", prewarm]
    analysis = compare(train, arms, seeds=1, out=tmp_path, quiet=True)
    swept = [arm.parameters for arm in analysis.study.arms[1:]]
    assert swept == [{"mean": [0.5], "std": [0.25], "patches_per_image": n} for n in (7, 9)]
    assert read_study(tmp_path).study == analysis.study
    three = {"name": "prewarm", "mean": [0.4, 0.5, 0.6], "std": (0.2, 0.2, 0.3)}
    assert len(ArmSpec.parse(three)) == 1


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    compare(train, ARMS, seeds=1, out="~/results", quiet=True)
    assert (tmp_path / "home/results" / STORE_NAME).is_file()
    assert not (tmp_path / "~").exists()


def test_it_has_at_most_twelve_keywords() -> None:
    given = inspect.signature(compare).parameters.values()
    assert [each.name for each in given if each.kind is not each.KEYWORD_ONLY] == [
        "train", "arms", "seeds",
    ]  # fmt: skip
    assert sum(each.kind is each.KEYWORD_ONLY for each in given) <= 12


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "train returned None: expected a dict of metrics"),
        ({}, "expected a dict of metrics"),
        ({"accuracy": "high"}, "expected one number per metric"),
        ({"accuracy": torch.zeros(2)}, "expected one number per metric"),
        ({"accuracy": float("nan")}, "the run diverged"),
    ],
)
def test_what_train_returns_is_checked(tmp_path: Path, returned: Any, text: str) -> None:
    def loop(init: Init, seed: int) -> Any:
        init(network(), IMAGES)
        return returned

    with pytest.raises(WarminitError, match=text):
        compare(loop, ["torch-default"], seeds=1, out=tmp_path)


def test_a_loop_that_never_calls_init_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        WarminitError, match=r"did not call init\(model, images\).*expected one call"
    ):
        compare(lambda init, seed: {"accuracy": 0.5}, ["torch-default"], seeds=1, out=tmp_path)


def test_an_unknown_metric_is_told_after_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(WarminitError, match=r"metric='acuracy': expected one of accuracy, size"):
        compare(train, ARMS, seeds=8, out=tmp_path, metric="acuracy")
    assert len(CALLS) == 1
    with closing(Store.existing(tmp_path / STORE_NAME)) as store:
        assert len(store.runs()) == 1  # and it is not lost


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"arms": ["he-nromal"]}, "Did you mean 'he-normal'"),
        ({"arms": []}, "arms"),
        ({"arms": "prewarm"}, "expected a list of names or tables"),
        ({"arms": [3]}, "arms=3: expected the name of an arm"),
        ({"arms": [{"name": "prewarm", "n_filter": 3}]}, "Did you mean 'n_filters'"),
        ({"baseline": "prewarm"}, "baseline='prewarm': expected torch-default"),
        ({"seeds": 0}, "expected at least one seed"),
        ({"margin": 0}, "margin"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    given: dict[str, Any] = {"train": train, "arms": ARMS, "out": tmp_path / "new"}
    with pytest.raises(WarminitError, match=f"(?i)the comparison is not valid.*{text}"):
        compare(**given | options)
    assert not CALLS
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- workers
def test_workers_give_what_this_process_gives(tmp_path: Path, one_thread: None) -> None:
    here = compare(train, ARMS, seeds=2, out=tmp_path / "here" / "study")
    there = compare(train, ARMS, seeds=2, out=tmp_path / "there" / "study", workers=1)
    assert len(CALLS) == 4  # those of this process
    for ours, theirs in zip(here.runs, there.runs, strict=True):
        assert ours.key == theirs.key
        assert ours.result is not None
        assert theirs.result is not None
        assert ours.result.metrics == theirs.result.metrics
        assert ours.result.weights_digest == theirs.result.weights_digest
    assert replace(here, runs=()) == replace(there, runs=())


def test_a_function_that_workers_cannot_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WarminitError, match=r"cannot be sent to worker processes.*importable"):
        compare(lambda _, seed: {}, ARMS, out=tmp_path, workers=1)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from warminit.lab import compare\n"
        "def train(init, seed): return {}\n"
        f"compare(train, ['torch-default'], seeds=1, out={str(tmp_path / 'out')!r}, workers=1)\n",
        encoding="utf-8",
    )
    from study_cases import PATIENCE, environment

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment(),
    )  # fmt: skip
    assert done.returncode != 0
    assert "if __name__ == '__main__':" in done.stderr


# ---------------------------------------------------------------- names and the example
def test_importing_the_laboratory_loads_nothing_heavy() -> None:
    code = (
        "import sys, warminit.lab; "
        "print(*sorted({'torch', 'numpy', 'scipy', 'pandas', 'pydantic'} & set(sys.modules))); "
        "print('compare' in dir(warminit.lab))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_the_name_stays_the_function_and_others_are_unknown() -> None:
    import warminit.lab.own_loop as module

    assert warminit.lab.compare is module.compare
    with pytest.raises(AttributeError, match="has no attribute 'compair'"):
        warminit.lab.compair  # noqa: B018


def test_files_and_texts_name_nothing_that_is_inside_the_loop(tmp_path: Path) -> None:
    analysis = compare(train, ARMS, seeds=2, out=tmp_path / ".my study (2)", quiet=True)
    assert repr(analysis).splitlines() == [
        "Analysis of my-study-2-: 4 runs", analysis.comparisons[0].verdict,
    ]  # fmt: skip
    for kind in ("csv", "latex"):
        text = export(analysis, tmp_path / kind, kind).read_text()
        assert "yours" not in text
        assert not {"dataset", "data set", "model", "steps", "batch"} & set(
            re.split(r"[ ,_&]+", text)
        )
    header, first = (tmp_path / "csv").read_text().splitlines()[:2]
    assert header.startswith("arm,seed,accuracy,")
    assert first.startswith("torch-default,42,")
    assert "yours" not in (tmp_path / ".my study (2)" / "report.html").read_text()
