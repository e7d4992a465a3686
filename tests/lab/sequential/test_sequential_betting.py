"""bounded differences -> capital of bets, against a case by hand and simulated worst cases."""

import math

import numpy as np
import pytest

from sequential_cases import errs_at_most
from warminit.lab.sequential.betting import LARGEST_BET, BettingLooks
from warminit.lab.sequential.design import Design

LOG40 = math.log(40)


def test_the_capital_of_three_seeds_is_the_one_worked_by_hand() -> None:
    x, bound, alpha = [0.5, -0.25, 1.0], 1.0, 0.05
    # Stakes from the seeds before: variance 1 before the first; then (1 + squares) / (seeds + 1),
    # each square around the mean so far, which is shrunk as if a difference of 0 stood first.
    spread1 = (1 + (0.5 - 0.25) ** 2) / 2
    spread2 = (1 + 0.25**2 + (-0.25 - 0.25 / 3) ** 2) / 3
    stakes = [min(math.sqrt(2 * LOG40 / (3 * v)), LARGEST_BET / 1.1) for v in (1, spread1, spread2)]
    logs = np.cumsum([math.log(1 + s * (d - 0.1)) for s, d in zip(stakes, x, strict=True)])
    rule = BettingLooks((1, 2, 3), 3, bound, alpha)
    assert rule.evidence(np.array(x), 0.1) == pytest.approx(
        [max(0, logs[0]), max(0, *logs[:2]), max(0, *logs)]
    )
    # With a long horizon the stakes are small, so the spread counts and not the largest bet.
    stakes = [math.sqrt(2 * LOG40 / (100 * v)) for v in (1, spread1, spread2)]
    logs = np.cumsum([math.log(1 + s * (d - 0.1)) for s, d in zip(stakes, x, strict=True)])
    padded = np.array(x + [math.nan] * 97)
    assert BettingLooks((3,), 100, bound, alpha).evidence(padded, 0.1) == pytest.approx(
        [max(0, *logs)]
    )


def test_few_studies_of_the_worst_bounded_kind_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # Mostly +0.05, seldom -0.95: mean 0. The t test finds an effect that is not there.
    studies = 0.05 - (np.random.default_rng(0).random((4000, 1, 18)) < 0.05).astype(float)
    betting = Design(method="betting", bound=1.0, margin=1e-9, futility=0)
    assert errs_at_most(betting, studies, 0.05)
    jittered = studies + np.random.default_rng(1).normal(0, 1e-3, studies.shape)
    assert not errs_at_most(Design(margin=1e-9, futility=0), jittered, 0.05)
    coins = np.random.default_rng(2).choice([-1.0, 1.0], studies.shape)
    assert errs_at_most(betting, coins, 0.05)
    # A stake that knows the seed on which it bets wins always.
    monkeypatch.setattr(BettingLooks, "_stakes", lambda self, x: np.where(x > 0, 1.0, 0.0))
    assert not errs_at_most(betting, coins, 0.05)


def test_the_interval_holds_every_mean_that_is_not_rejected() -> None:
    x = np.random.default_rng(2).uniform(-0.2, 0.6, 40)
    rule = BettingLooks((40,), 40, 1.0, 0.05)
    low = rule.lower(x, 0, 0.025)
    means = np.linspace(-0.999, 0.999, 401)
    rejected = np.array([rule.evidence(x, m)[0] >= math.log(40) for m in means])
    assert (rejected == (means < low)).all()
    assert low < 0.2 < -rule.lower(-x, 0, 0.025)


def test_the_p_value_is_one_over_the_capital() -> None:
    rule = BettingLooks((2,), 2, 1.0, 0.05)
    assert rule.p_value(math.log(40), 0) == pytest.approx(0.025)
    assert rule.threshold(0.025) == pytest.approx([math.log(40)])
