"""kept studies of the paper's experiments -> a verdict a claim, by rules worked out by hand."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from scipy import stats

from study_runs import CONSOLE, result, scored, shown, small_study, stored
from warminit.cli.paper import show_axes
from warminit.lab.paper.claims import CLAIMS, MEASURED
from warminit.lab.paper.costs import claim_seconds
from warminit.lab.paper.findings import Finding, Rules, findings
from warminit.lab.paper.reproduce import Candidate
from warminit.lab.study.builtin import changed_study, load_study
from warminit.lab.study.table1 import STEPS
from warminit.lab.verdict.analysis import Analysis, analyse

NOISE = (0.0, 0.001, -0.001, 0.002, -0.002, 0.0015, -0.0015, 0.0)


def table_3(dataset: str, gain: float, *, control: float = 0.0, seeds: int = 8) -> Analysis:
    study = small_study(
        datasets=[dataset], arms=["torch-default", "prewarm", "norm-matched-random"], seeds=8
    )
    base = [0.7 + 0.001 * i for i in range(8)]
    scores = {
        "torch-default": base,
        "prewarm": [b + gain + n for b, n in zip(base, NOISE, strict=True)],
        "norm-matched-random": [b + control for b in base],
    }
    return analyse(study, scored(study, {arm: each[:seeds] for arm, each in scores.items()}))


def found(studies: dict[str, Analysis], rules: Rules | None = None) -> dict[str, Finding]:
    return {each.claim.key: each for each in findings(studies, rules or {})}


def all_four(gain: float, control: float = 0.0) -> dict[str, Analysis]:
    return {f"table3-{name}": table_3(name, gain, control=control) for name in MEASURED}


def test_nothing_kept_says_nothing() -> None:
    verdicts = {key: each.verdict for key, each in found({}).items()}
    assert verdicts.pop("gain-svhn") == "not testable here"
    assert set(verdicts.values()) == {"not run yet"}
    assert len(verdicts) == len(CLAIMS) - 1


def test_a_clear_gain_is_reproduced_with_the_p_of_scipy_and_holm() -> None:
    each = found(all_four(0.005))["gain-mnist"]
    t = stats.ttest_1samp([0.005 + n for n in NOISE], 0.0)
    low, high = t.confidence_interval(0.95)
    # Four equal p: Holm's correction multiplies the smallest, and so all of them, by four.
    assert each.here == (
        f"+0.50 points ({100 * low:+.2f} to {100 * high:+.2f}), Holm p {4 * t.pvalue:.4f},"
        " 8/8 seeds ahead"
    )
    assert each.verdict == "reproduced"


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.005, "reproduced"),
        (0.0, "not reproduced"),  # 0 +- 0.12 points: below 0.16, 0.23 and 0.68
        (-0.005, "not reproduced"),
        (0.0012, "undecided"),  # 0.12 +- 0.12: neither 0 nor 0.16 can be excluded
    ],
)
def test_a_gain_on_fashion_mnist(gain: float, verdict: str) -> None:
    assert found(all_four(gain))["gain-fashion-mnist"].verdict == verdict


def test_a_data_set_that_is_missing_counts_in_the_family() -> None:
    alone = found({"table3-mnist": table_3("mnist", 0.0014)})["gain-mnist"]
    p = stats.ttest_1samp([0.0014 + n for n in NOISE], 0.0).pvalue
    assert p < 0.05 < 4 * p
    assert alone.verdict == "undecided"
    assert f"Holm p {4 * p:.4f}" in alone.here


def test_seven_seeds_are_not_eight() -> None:
    each = found({"table3-cifar10": table_3("cifar10", 0.005, seeds=7)})["gain-cifar10"]
    assert (each.verdict, each.why) == ("not run yet", "7 of 8 pairs are finished.")


def test_one_data_set_without_the_gain_refutes_that_all_have_it() -> None:
    mixed = {"table3-mnist": table_3("mnist", 0.005), "table3-cifar10": table_3("cifar10", -0.005)}
    assert found(mixed)["all-gains"].verdict == "not reproduced"
    assert found(all_four(0.005))["all-gains"].verdict == "undecided"  # SVHN is missing


def test_the_content_is_judged_against_random_filters_of_the_same_scale() -> None:
    assert found(all_four(0.005))["content"].verdict == "reproduced"
    # The control gains as much: whatever the gain over torch's default, content does nothing.
    same = found(all_four(0.005, control=0.005))
    assert (same["gain-cifar10"].verdict, same["content"].verdict) == (
        "reproduced",
        "not reproduced",
    )


def curves(dataset: str, arrives: int) -> Analysis:
    study = small_study(datasets=[dataset], arms=["torch-default", "prewarm"], seeds=8)
    at = (50, 100, 150, 200)
    baseline = [0.1, 0.2, 0.3, 0.4]
    arm = [0.4 if step >= arrives else 0.1 for step in at]
    results = {
        (label, seed): result(0.4, curve=curve, steps=at)
        for label, curve in (("torch-default", baseline), ("prewarm", arm))
        for seed in study.seeds
    }
    return analyse(study, stored(study, results))


@pytest.mark.parametrize(
    ("arrives", "verdict", "ratio"),
    [(100, "reproduced", "0.50"), (200, "undecided", "1.00")],
)
def test_steps_are_a_ratio_to_the_baselines_final_accuracy(
    arrives: int, verdict: str, ratio: str
) -> None:
    each = found({f"table3-{name}": curves(name, arrives) for name in MEASURED})["steps"]
    assert each.verdict == verdict
    assert f"mnist: {ratio} times the steps" in each.here


def along_the_axes(**losses: float) -> Analysis:
    """Give every arm of the shipped study a loss: 1.0, or that of the one value that is named."""
    study = load_study("axes")
    results = {}
    for arm in study.arms:
        changed = {k: v for k, v in arm.parameters.items() if v != POINT[k]}
        name = (
            "default"
            if arm.name == "torch-default"
            else "".join(f"{k}{v:g}" for k, v in changed.items())
        )
        for seed, noise in zip(study.seeds, NOISE, strict=True):
            at_seed = losses.get(name.replace(".", "_"), 1.0) + (noise if name else 0.0)
            results[arm.label, seed] = result(0.9, train_loss=(at_seed,))
    return analyse(study, stored(study, results))


POINT = {"patch_size": 3, "n_filters": 16, "patches_per_image": 22, "scale": 0.2}


def test_values_that_are_equivalent_refute_that_only_one_works() -> None:
    verdicts = {k: f.verdict for k, f in found({"axes": along_the_axes()}).items()}
    for key in ("patch-size", "clusters", "threshold", "confirmation"):
        assert verdicts[key] == "not reproduced", key
    assert verdicts["scale"] == "reproduced"


def test_values_that_are_all_worse_reproduce_it() -> None:
    study = along_the_axes(patch_size5=1.05, n_filters8=1.05, n_filters32=1.05, n_filters64=1.05)
    verdicts = {k: f.verdict for k, f in found({"axes": study}).items()}
    assert verdicts["patch-size"] == verdicts["clusters"] == "reproduced"
    assert verdicts["threshold"] == "not reproduced"


def test_a_scale_that_differs_by_more_than_the_margin() -> None:
    each = found({"axes": along_the_axes(scale0_25=1.05)})["scale"]
    assert each.verdict == "not reproduced"
    assert "scale 0.25: +0.0500 nats" in each.here


def test_torchs_default_with_a_higher_loss_confirms_the_gain() -> None:
    assert found({"axes": along_the_axes(default=1.05)})["confirmation"].verdict == "reproduced"
    assert found({"axes": along_the_axes(default=0.95)})["confirmation"].verdict == "not reproduced"


@pytest.mark.parametrize("steps", [500, 100])
def test_a_shortened_study_has_no_verdict_on_the_paper(steps: int) -> None:
    """The command's display, on runs that are made up."""
    study = along_the_axes().study
    if steps != study.protocol.steps:
        study = changed_study(study, protocol={"steps": steps})
    ending: Any = SimpleNamespace(analysis=replace(along_the_axes(), study=study))
    candidates = {"fashion-mnist": Candidate("fashion-mnist", "Fashion-MNIST", "complete")}
    text = shown(partial(show_axes, as_json=False), candidates, ending, CONSOLE)
    assert ("not reproduced: " in text) is (steps == 500)
    assert (f"Not the paper's grid: {steps} of the paper's 500 steps." in text) is (steps != 500)


def swept(best: int, gain: float) -> Analysis:
    study = load_study("patch-counts")
    results = {}
    for i, arm in enumerate(study.arms):
        count = arm.parameters.get("patches_per_image")
        # Another order of the noise for each count, so that no two of them differ by a constant.
        for seed, noise in zip(study.seeds, NOISE[i:] + NOISE[:i], strict=True):
            at_seed = 0.6 + (gain if count == best else 0.0) + noise / 4
            results[arm.label, seed] = result(at_seed)
    return analyse(study, stored(study, results))


RULES = {
    "mnist": {"n_patches": 58, "patch_norm": None},
    "fashion-mnist": {"n_patches": 22, "patch_norm": None},
    "cifar10": {"n_patches": 27, "patch_norm": 0.522},
    "cifar100": {"n_patches": 30, "patch_norm": 0.568},
}
EVALUATED = {
    name: {"hyperparameters": each, "seconds": {"paper": 0.02}} for name, each in RULES.items()
}


def test_counts_that_are_all_equivalent_do_not_matter() -> None:
    each = found({"counts": swept(28, 0.0)}, EVALUATED)["counts"]
    assert each.verdict == "not reproduced"
    assert "12 of 12 pairs" in each.why  # 4 counts above 10 give 6 pairs, on 2 data sets


def test_the_papers_count_is_the_best() -> None:
    each = found({"counts": swept(28, 0.02)}, EVALUATED)["counts"]
    assert each.verdict == "reproduced"
    # c of both: 28 = 8 c norm on each, least squares through the origin.
    x = [8 * 0.522, 8 * 0.568]
    c = sum(28 * value for value in x) / sum(value**2 for value in x)
    assert f"c = {c:.2f} over both" in each.here
    assert found({"counts": swept(40, 0.02)}, EVALUATED)["counts"].verdict == "undecided"


def test_rules_are_compared_with_the_papers_counts() -> None:
    each = found({}, EVALUATED)
    assert each["patches-grayscale"].verdict == each["patches-cifar10"].verdict == "reproduced"
    assert each["patches-cifar100"].verdict == "not reproduced"
    assert each["seconds"].here == "0.020 to 0.020 s for 256 images"


def test_every_claim_says_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warminit.lab.paper.costs._step", lambda channels, side: float(channels))
    seconds = claim_seconds(CLAIMS)
    assert seconds["gain-mnist"] == 16 * STEPS * 1.0
    assert seconds["gain-cifar10"] == 16 * STEPS * 3.0
    assert seconds["counts"] == 112 * 500 * 3.0
    assert seconds["content"] == 64 * STEPS * 2.0  # two sets of each kind
    assert seconds["patches-cifar10"] == 0


def test_a_measured_step_takes_time() -> None:
    assert (
        claim_seconds([each for each in CLAIMS if each.key == "confirmation"])["confirmation"] > 0
    )
