"""paired differences, look by look -> decisions: error rates, Holm, intervals, what stays."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sequential_cases import Values, draw, errs_at_most, found
from warminit.errors import WarminitError
from warminit.lab.sequential.boundaries import StudentLooks
from warminit.lab.sequential.decide import decide
from warminit.lab.sequential.decision import Decision
from warminit.lab.sequential.design import Design
from warminit.lab.sequential.replay import EQUIVALENT, _step_down, replay

TINY = 1e-9  # a margin within which nothing is ever equivalent


def plain_t(rule: StudentLooks, level: float) -> Values:
    """The fault that sequential designs are for: each look tests as if it were the only one."""
    return np.asarray(stats.t.isf(level, np.array(rule.looks) - 1))


@pytest.mark.parametrize("family", [1, 3])
def test_no_more_studies_than_alpha_find_an_effect_that_is_not_there(
    family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, design = draw(4000, family, 0.0, seed=1), Design(family=family, margin=TINY)
    assert errs_at_most(design, studies, 0.05)
    assert errs_at_most(Design(family=family, margin=TINY, futility=0), studies, 0.05)
    monkeypatch.setattr(StudentLooks, "threshold", plain_t)
    assert not errs_at_most(design, studies, 0.05)


def test_the_family_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    studies, design = draw(4000, 3, 0.0, seed=2), Design(family=3, margin=TINY)
    monkeypatch.setattr(Design, "level", lambda design, decided: design.alpha)
    assert not errs_at_most(design, studies, 0.05)


def test_one_true_effect_gives_its_level_to_the_others_and_no_more() -> None:
    studies = draw(4000, 3, 0.0, seed=3)
    studies[:, 0] += 5.0
    history = replay(Design(family=3, margin=TINY, futility=0), studies)
    assert found(history)[:, 0].all()
    wrong = int(found(history)[:, 1:].any(axis=1).sum())
    # Two comparisons share 0.05; without Holm they would have two thirds of that.
    assert stats.binomtest(wrong, 4000, 0.05 * 2 / 3, alternative="greater").pvalue < 1e-3
    assert stats.binomtest(wrong, 4000, 0.05, alternative="greater").pvalue > 1e-4


def test_power_and_runs_are_the_pages() -> None:
    # docs/sequential.md: power 0.90 at one standard deviation, 0.61 and 0.74 of 13 seeds.
    design = Design(margin=TINY)
    effect, none = (replay(design, draw(4000, 1, effect, seed=4)) for effect in (1.0, 0.0))
    assert found(effect).mean() == pytest.approx(0.902, abs=0.02)  # 4 standard errors
    seeds = np.array(design.looks)
    assert seeds[effect.look].mean() / 13 == pytest.approx(0.739, abs=0.02)
    assert seeds[none.look].mean() / 13 == pytest.approx(0.609, abs=0.02)


def test_no_more_studies_than_alpha_are_wrongly_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    # A true effect on the edge of a margin of two spreads, which "equivalent" would deny.
    studies, design = draw(4000, 1, 2.0, seed=5), Design(margin=2.0, futility=0)

    def right() -> bool:
        # "helps" would end a study before it can err: evidence for it is taken away
        with monkeypatch.context() as patch:
            patch.setattr("warminit.lab.sequential.replay._step_down", only_agrees)
            wrong = int((replay(design, studies).outcome == EQUIVALENT).sum())
        return bool(stats.binomtest(wrong, 4000, 0.05, alternative="greater").pvalue > 1e-4)

    real, calls = _step_down, iter(range(10**6))

    def only_agrees(evidence: Values, is_open: Any, decided: Any, boundary: Values) -> Any:
        differs = next(calls) % 2 == 0
        return np.zeros_like(is_open) if differs else real(evidence, is_open, decided, boundary)

    assert right()
    monkeypatch.setattr(StudentLooks, "threshold", plain_t)
    assert not right()


def test_holm_passes_the_level_on_within_one_look() -> None:
    design = Design(family=2, margin=TINY, looks=(6,), max_seeds=6)
    shape = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    # p 0.03: above 0.05 / 2, below 0.05
    weak = shape + float(stats.t.isf(0.015, 5)) * shape.std(ddof=1) / math.sqrt(6)
    strong = shape + 10
    assert decide(design, {"weak": weak, "other": shape})["weak"].outcome == "undecidable"
    both = decide(design, {"weak": weak, "strong": strong})
    assert {arm: d.outcome for arm, d in both.items()} == {"weak": "helps", "strong": "helps"}
    assert both["weak"].p == pytest.approx(0.03, rel=1e-6)
    assert both["weak"].confidence == pytest.approx(0.95)
    p = 2 * stats.t.sf(stats.ttest_1samp(strong, 0).statistic, 5)
    assert both["strong"].p == pytest.approx(2 * p, rel=1e-6)
    assert both["strong"].confidence == pytest.approx(0.975)


def test_one_look_is_the_fixed_paired_t_test_with_its_interval() -> None:
    x = draw(1, 1, 0.4, seed=6)[0, 0]
    decision = decide(Design(looks=(18,), margin=TINY), {"a": x})["a"]
    fixed = stats.ttest_1samp(x, 0)
    assert decision.p == pytest.approx(fixed.pvalue, rel=1e-6)
    assert decision.interval == pytest.approx(tuple(fixed.confidence_interval(0.95)), rel=1e-6)


@pytest.mark.parametrize("effect", [0.2, -0.1])
def test_the_interval_at_the_last_look_covers_the_effect(
    effect: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, studies = Design(margin=TINY, futility=0), draw(4000, 1, effect, seed=8)

    def covers() -> bool:
        # A mean lies within [lower, upper] where the look does not reject it: for all studies.
        last = replay(design, studies).look[:, 0]
        sides = (design.rule.evidence(studies, effect), design.rule.evidence(-studies, -effect))
        t = np.maximum(*sides)[np.arange(4000), 0, last]
        covered = int((t <= design.rule.threshold(0.025)[last]).sum())
        return bool(stats.binomtest(covered, 4000, 0.95, alternative="less").pvalue > 1e-4)

    assert covers()
    monkeypatch.setattr(StudentLooks, "threshold", plain_t)
    assert not covers()


def random_studies() -> list[dict[str, Values]]:
    rng = np.random.default_rng(7)
    effects = rng.choice([0.0, 0.6, 1.2, -3.0], (6, 3))
    noise = rng.standard_normal((6, 3, 18)).clip(-2, 2)
    return [{f"arm{i}": effects[s, i] + noise[s, i] for i in range(3)} for s in range(6)]


@pytest.mark.parametrize("method", ["t", "betting"])
def test_what_is_decided_stays_decided(method: Any) -> None:
    design = Design(family=3, margin=0.5, method=method, bound=5.0)
    outcomes = set()
    for study in random_studies():
        before: dict[str, Decision] = {}
        for n in (4, 5, 9, 18):
            now = decide(design, {arm: x[:n] for arm, x in study.items()})
            for arm, earlier in before.items():
                assert now[arm].path[: len(earlier.path)] == earlier.path
                if earlier.outcome != "go on":
                    assert now[arm] == earlier
            before = now
        assert "go on" not in {d.outcome for d in before.values()}
        outcomes |= {d.outcome for d in before.values()}
    assert len(outcomes) >= 2


@pytest.mark.parametrize("method", ["t", "betting"])
@pytest.mark.parametrize("margin", [TINY, 0.8])
def test_the_interval_says_what_the_outcome_says(method: Any, margin: float) -> None:
    design = Design(family=3, margin=margin, method=method, bound=5.0)
    for study in random_studies():
        for d in decide(design, study).values():
            assert d.interval is not None
            assert d.p is not None
            low, high = d.interval
            assert (low > 0) == (d.outcome == "helps") or d.outcome == "equivalent"
            assert (high < 0) == (d.outcome == "harms") or d.outcome == "equivalent"
            if d.outcome == "equivalent":
                assert -margin < low < high < margin
            assert (d.p <= 0.05) == (d.outcome in {"helps", "harms", "equivalent"})


def test_opposite_differences_give_the_opposite_decision_and_a_unit_changes_nothing() -> None:
    for study in random_studies()[:10]:
        one = decide(Design(family=3, margin=0.5), study)
        other = decide(Design(family=3, margin=0.5), {a: -x for a, x in study.items()})
        scaled = decide(Design(family=3, margin=0.005), {a: x / 100 for a, x in study.items()})
        swap = {"helps": "harms", "harms": "helps"}
        for arm, d in one.items():
            assert other[arm].outcome == swap.get(d.outcome, d.outcome)
            assert scaled[arm].outcome == d.outcome
            assert d.interval is not None
            assert other[arm].interval == pytest.approx((-d.interval[1], -d.interval[0]))


def test_a_look_waits_for_every_open_comparison_but_for_no_decided_one() -> None:
    strong = np.array([1.0, 1.1, 0.9, 1.0, 1.05])
    unclear = np.array([0.3, 0.6, -0.1, 0.5, 0.2, 0.4, 0.1])
    design = Design(family=2, margin=TINY)
    early = decide(design, {"a": strong, "b": unclear[:4]})
    assert [d.look for d in early.values()] == [0, 0]
    assert early["a"] == Decision("go on", max_seeds=18)
    later = decide(design, {"a": strong, "b": unclear})
    assert (later["a"].outcome, later["a"].seeds) == ("helps", 5)
    assert later["b"].seeds == 7
    # seeds that a decided arm ran beyond its last look change nothing
    assert decide(design, {"a": [*strong, -9.0, -9.0], "b": unclear}) == later


def test_differences_without_variance_are_never_evidence() -> None:
    decision = decide(Design(futility=0), {"a": [0.01] * 18})["a"]
    assert (decision.outcome, decision.p) == ("undecidable", 1.0)
    assert decision.interval == (-math.inf, math.inf)


def test_small_differences_are_equivalent_and_hopeless_ones_end_early() -> None:
    flat = np.tile([0.1, -0.1, 0.05, -0.05, 0.0], 4)[:18]
    assert decide(Design(margin=1.0), {"a": flat})["a"].outcome == "equivalent"
    hopeless = decide(Design(margin=TINY), {"a": flat})["a"]
    assert (hopeless.outcome, hopeless.seeds) == ("undecidable", 5)
    assert decide(Design(margin=TINY, futility=0), {"a": flat})["a"].seeds == 18


def test_a_failed_run_ends_its_comparison_undecided_and_no_other() -> None:
    design, strong = Design(family=2, margin=TINY), [3.0, 3.1, 2.9, 3.2, 3.0, 2.8, 3.1]
    # Without the failed pair the five others would say "helps" at once.
    survivors = [*strong[:2], math.nan, *strong[3:]]
    assert decide(design, {"a": np.delete(survivors, 2), "b": strong})["a"].outcome == "helps"
    found = decide(design, {"a": survivors, "b": strong})
    assert (found["a"].outcome, found["a"].reason, found["a"].look) == ("undecidable", "failure", 0)
    assert found["b"].outcome == "helps"
    # It gives none of its level to the other one, and a look does not wait for its seeds.
    alone = decide(design, {"a": [math.nan], "b": strong})["b"]
    assert (alone.outcome, alone.confidence) == ("helps", 0.975)


def test_a_failure_after_the_decision_changes_nothing_and_before_it_keeps_the_path() -> None:
    design = Design(margin=TINY)
    strong = [3.0, 3.1, 2.9, 3.2, 3.0]
    assert decide(design, {"a": [*strong, math.nan]}) == decide(design, {"a": strong})
    weak = [0.5, -0.2, 0.9, 0.1, 0.6]
    before, after = (decide(design, {"a": x})["a"] for x in (weak, [*weak, math.nan, 0.4]))
    assert (before.outcome, after.outcome, after.reason) == ("go on", "undecidable", "failure")
    assert (after.path, after.interval, after.seeds) == (before.path, before.interval, 5)


def test_it_says_why_a_comparison_is_undecidable() -> None:
    flat = [0.01, -0.01] * 9
    assert decide(Design(margin=TINY), {"a": flat})["a"].reason == "futility"
    assert decide(Design(margin=TINY, futility=0), {"a": flat})["a"].reason == "maximum"


BAD: list[tuple[str, Callable[[], Any]]] = [
    ("max_seeds=1: expected a whole number from 2 to 100", lambda: Design(max_seeds=1)),
    ("family=0: expected a whole number", lambda: Design(family=0)),
    ("margin=0: expected a positive, finite number", lambda: Design(margin=0)),
    ("alpha=0.5: expected between 0 and 0.5", lambda: Design(alpha=0.5)),
    ("futility=1: expected a chance", lambda: Design(futility=1)),
    ("gamma=nan: expected a number", lambda: Design(gamma=math.nan)),
    ("looks=(5, 5, 18): expected rising", lambda: Design(looks=(5, 5, 18))),
    ("looks=(5, 10): expected rising", lambda: Design(looks=(5, 10))),
    ("looks=(1, 18): expected rising", lambda: Design(looks=(1, 18))),
    ("method='z': expected", lambda: Design(method="z")),  # type: ignore[arg-type]
    ("bound=0.001: expected a finite number above", lambda: Design(method="betting", bound=0.001)),
    ("expected 1 to 1 arms", lambda: decide(Design(), {"a": [], "b": []})),
    ("expected 1 to 1 arms", lambda: decide(Design(), {})),
    ("max_seeds=18 numbers", lambda: decide(Design(), {"a": [0.1] * 19})),
    ("differences['a'][1]=inf", lambda: decide(Design(), {"a": [0.1, math.inf]})),
    ("bound=1: a paired", lambda: decide(Design(method="betting"), {"a": [0.1, 2.0]})),
]  # fmt: skip


@pytest.mark.parametrize(("text", "call"), BAD, ids=[text for text, _ in BAD])
def test_bad_input_is_one_clear_error(text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(WarminitError) as caught:
        call()
    assert text in str(caught.value)
