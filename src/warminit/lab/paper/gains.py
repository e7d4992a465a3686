"""studies of Table 3 -> findings on the paper's main claim, its reason, and its speed."""

from collections.abc import Mapping
from statistics import fmean

from warminit.lab.paper.claims import MEASURED, Found
from warminit.lab.paper.published import TABLE_3
from warminit.lab.study.table1 import SEEDS
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.family import holm_adjust
from warminit.lab.verdict.paired import compare_paired
from warminit.lab.verdict.time_to import TimeTo, time_to

Studies = Mapping[str, Analysis]

ARM, BASELINE, CONTROL = "prewarm", "torch-default", "norm-matched-random"
LEVEL = 0.05


def gain(studies: Studies, dataset: str) -> Found:
    """Judge the paper's gain on one data set."""
    if dataset not in MEASURED:
        return "-", "not testable here", "The whole of SVHN could not be had."
    return _judged(studies, BASELINE)[dataset]


def all_gains(studies: Studies) -> Found:
    """Judge the claim that all five gains are significant."""
    verdicts = {name: each[1] for name, each in _judged(studies, BASELINE).items()}
    text = "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
    if "not reproduced" in verdicts.values():
        return text, "not reproduced", "One data set without the gain is enough."
    if "not run yet" in verdicts.values():
        return text, "not run yet", "It needs all data sets."
    return text, "undecided", "It needs all five data sets, and the whole of SVHN is missing."


def content(studies: Studies) -> Found:
    """Judge whether Pre-Warm is ahead of random filters of the same scale."""
    each = _judged(studies, CONTROL)
    text = "; ".join(f"{name}: {here}" for name, (here, *_) in each.items())
    verdicts = [verdict for _, verdict, _ in each.values()]
    if "not run yet" in verdicts:
        return text, "not run yet", "It needs all data sets."
    if all(verdict == "reproduced" for verdict in verdicts):
        return text, "reproduced", "Ahead of random filters of the same scale everywhere."
    if "reproduced" not in verdicts and "not reproduced" in verdicts:
        return text, "not reproduced", "Nowhere ahead of random filters of the same scale."
    return text, "undecided", "The data sets do not agree, or cannot tell."


def steps(studies: Studies) -> Found:
    """Judge whether Pre-Warm needs fewer steps to the baseline's final accuracy."""
    found = {name: _time(studies, name) for name in MEASURED}
    ready = {name: t for name, t in found.items() if t is not None and t.interval is not None}
    text = "; ".join(
        f"{name}: {t.ratio:.2f} times the steps ({t.interval[0]:.2f} to {t.interval[1]:.2f})"
        for name, t in ready.items()
        if t.interval is not None
    )
    ends = [t.interval for t in ready.values() if t.interval is not None and t.n == SEEDS]
    if len(ends) < len(MEASURED):
        return text or "-", "not run yet", "It needs all seeds of all data sets."
    if all(high < 1 for _, high in ends):
        return text, "reproduced", "Fewer steps on every data set."
    if all(high >= 1 for _, high in ends) and any(low > 1 for low, _ in ends):
        return text, "not reproduced", "Fewer steps nowhere, and more somewhere."
    return text, "undecided", "The data sets do not agree, or cannot tell."


def against_control(study: Analysis) -> dict[str, Comparison]:
    """Compare Pre-Warm with random filters of its scale, by data set, if both are finished."""
    names = study.study.datasets
    if CONTROL not in {arm.label for arm in study.study.arms}:
        return {}
    found = {name: comparison({f"table3-{name}": study}, name, CONTROL) for name in names}
    return {name: c for name, c in found.items() if c is not None}


def comparison(studies: Studies, dataset: str, baseline: str) -> Comparison | None:
    """Compare Pre-Warm with another arm of Table 3; None if no seed of both is finished."""
    study = studies.get(f"table3-{dataset}")
    if study is None:
        return None
    scores = {cell.arm: cell.scores for cell in study.cells if cell.dataset == dataset}
    seeds = [seed for seed in scores.get(ARM, ()) if seed in scores.get(baseline, ())]
    if not seeds:
        return None
    return compare_paired(
        [scores[ARM][seed] for seed in seeds],
        [scores[baseline][seed] for seed in seeds],
        arm=ARM,
        baseline=baseline,
        margin=study.study.margin,
    )


def _judged(studies: Studies, baseline: str) -> dict[str, Found]:
    """Judge one family: the same comparison on every data set, with Holm's correction."""
    found = {name: comparison(studies, name, baseline) for name in MEASURED}
    complete = {name: c for name, c in found.items() if c is not None and c.n == SEEDS}
    # An unfinished comparison counts in the family as one without a finding.
    known = [complete[name].p_two_sided if name in complete else None for name in MEASURED]
    holm = dict(zip(MEASURED, holm_adjust([1.0 if p is None else p for p in known]), strict=True))
    return {
        name: _one(complete[name], holm[name], TABLE_3[name].difference)
        if name in complete
        else _unfinished(c)
        for name, c in found.items()
    }


def _one(found: Comparison, p: float | None, papers: float) -> Found:
    if p is None or found.confidence_interval is None:
        return _points(found.mean_difference), "undecided", found.note
    low, high = found.confidence_interval
    text = (
        f"{_points(found.mean_difference)} ({100 * low:+.2f} to {100 * high:+.2f}),"
        f" Holm p {p:.4f}, {found.wins}/{found.n} seeds ahead"
    )
    if p < LEVEL and found.mean_difference > 0:
        return text, "reproduced", "Ahead, corrected for four data sets."
    if p < LEVEL:
        return text, "not reproduced", "Behind, corrected for four data sets."
    if high < papers:
        return text, "not reproduced", f"The interval ends below {_points(papers)}, the paper's."
    return text, "undecided", f"{found.n} seeds can neither show such a gain nor exclude it."


def _unfinished(found: Comparison | None) -> Found:
    if found is None:
        return "-", "not run yet", f"0 of {SEEDS} pairs are finished."
    return (
        f"{_points(found.mean_difference)} so far",
        "not run yet",
        f"{found.n} of {SEEDS} pairs are finished.",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.2f} points"


def _time(studies: Studies, dataset: str) -> TimeTo | None:
    study = studies.get(f"table3-{dataset}")
    if study is None:
        return None
    curves = {
        (run.spec.arm.label, run.spec.seed): run.result
        for run in study.runs
        if run.result is not None and run.spec.dataset == dataset
    }
    seeds = [s for s in study.study.seeds if (ARM, s) in curves and (BASELINE, s) in curves]
    if not seeds:
        return None
    arm, baseline = (
        [list(curves[name, seed].eval_metrics["accuracy"]) for seed in seeds]
        for name in (ARM, BASELINE)
    )
    at = curves[ARM, seeds[0]].eval_steps
    return time_to(at, arm, baseline, fmean(curve[-1] for curve in baseline))
