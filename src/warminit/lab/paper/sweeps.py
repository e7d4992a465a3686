"""studies along one hyperparameter -> findings on the rules of Sections 4.3 and 4.4."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from warminit.lab.paper.claims import Found, Verdict
from warminit.lab.paper.patch_fit import find_optima, fit_constant
from warminit.lab.study.table1 import SEEDS
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.paired import compare_paired

LEVEL = 0.05
LEAST_COUNT = 10
"""Smallest patch count covered by the claim that counts hardly matter."""

PAPERS_BEST = 28
"""Best n_patches on CIFAR-10 in the paper (Section 4.4)."""

VALUES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "patch-size": ("patch_size", (5,)),
    "clusters": ("n_filters", (8, 32, 64)),
    "threshold": ("patches_per_image", (10, 15, 20, 30, 50, 100)),
    "scale": ("scale", (0.1, 0.25)),
}
"""By claim, the hyperparameter and its values compared with the recommended point."""


def axis(key: str, study: Analysis | None) -> Found:
    """Judge one claim of Section 4.3 by the study along its axes.

    Its baseline is the recommended point and its metric the training loss at 500 steps, so a
    positive difference is a worse value.
    """
    if study is None:
        return "-", "not run yet", "No run is kept."
    if key == "confirmation":
        return _confirmation(study)
    name, values = VALUES[key]
    found = {value: _at(study, name, value) for value in values}
    ready = {v: c for v, c in found.items() if c is not None and c.n == SEEDS}
    text = "; ".join(f"{name} {value:g}: {_nats(c)}" for value, c in ready.items())
    if len(ready) < len(values):
        why = f"{len(ready)} of {len(values)} values are finished."
        return text or "-", "not run yet", why
    judge = _insensitive if key == "scale" else _others_worse
    return text, *judge(list(ready.values()))


def _others_worse(found: list[Comparison]) -> tuple[Verdict, str]:
    outcomes = [c.outcome for c in found]
    alike, better = sum(map(_equivalent, found)), outcomes.count("helps")
    if all(outcome == "harms" for outcome in outcomes):
        within = ", by less than the margin" if alike == len(found) else ""
        return "reproduced", f"Every other value has a higher loss{within}."
    if alike or better:
        why = (
            f"Of {len(found)} other values {alike} are equivalent, and {better} have a lower loss."
        )
        return "not reproduced", why
    return "undecided", f"{SEEDS} seeds cannot tell every value from the recommended one."


def _insensitive(found: list[Comparison]) -> tuple[Verdict, str]:
    if all(_equivalent(c) for c in found):
        return "reproduced", "Both are equivalent with 0.2 within the margin."
    if any(c.outcome in {"helps", "harms"} and not _equivalent(c) for c in found):
        return "not reproduced", "One differs from 0.2, and not by less than the margin."
    return "undecided", f"{SEEDS} seeds cannot show that both lie within the margin."


def _equivalent(found: Comparison) -> bool:
    return found.p_equivalence is not None and found.p_equivalence < found.alpha


def _confirmation(study: Analysis) -> Found:
    c = next((cell.comparison for cell in study.cells if cell.arm == "torch-default"), None)
    if c is None or c.n < SEEDS:
        return "-", "not run yet", f"{0 if c is None else c.n} of {SEEDS} pairs are finished."
    # The study compares torch's default with Pre-Warm; the claim is the reverse.
    text = f"torch's default against it: {_nats(c)}"
    if c.outcome == "harms":
        return text, "reproduced", "Torch's default has a higher loss, by Holm's p."
    if c.outcome == "helps":
        return text, "not reproduced", "Torch's default has a lower loss, by Holm's p."
    if _equivalent(c):
        return text, "not reproduced", "Both are equivalent within the margin."
    return text, "undecided", f"{SEEDS} seeds can neither show the gain nor exclude it."


def counts(study: Analysis | None, patch_norms: Mapping[str, float | None]) -> Found:
    """Judge Section 4.4 by the sweep of patch counts on colour images."""
    if study is None or study.missing or study.failed:
        missing = "All runs" if study is None else f"{study.missing + len(study.failed)} runs"
        return "-", "not run yet", f"{missing} are missing."
    norms = {name: norm for name, norm in patch_norms.items() if norm}
    optima = find_optima(study, norms)
    text = "; ".join(
        f"{each.dataset}: best {each.n_patches}, not told from {each.not_worse[0]} to"
        f" {each.not_worse[1]}, c = {each.c:.2f}"
        for each in optima
    )
    c = fit_constant([(each.n_patches, each.patch_norm) for each in optima])
    text += f"; c = {c:.2f} over both"
    pairs = _pairs(study)
    alike = sum(map(_equivalent, pairs))
    why = f"{alike} of {len(pairs)} pairs of counts above {LEAST_COUNT} are equivalent."
    if alike == len(pairs):
        return text, "not reproduced", why
    if {"cifar10": PAPERS_BEST}.items() <= {e.dataset: e.n_patches for e in optima}.items():
        return text, "reproduced", why
    return text, "undecided", why


def _pairs(study: Analysis) -> list[Comparison]:
    """Compare every two counts above the least with each other, on each data set."""
    found = []
    for dataset in study.study.datasets:
        cells = [
            cell
            for cell in study.cells
            if cell.dataset == dataset
            and float(_parameters(study, cell).get("patches_per_image", 0)) > LEAST_COUNT
        ]
        found += [
            compare_paired(
                [a.scores[seed] for seed in study.study.seeds],
                [b.scores[seed] for seed in study.study.seeds],
                arm=a.arm,
                baseline=b.arm,
                margin=study.study.margin,
            )
            for a, b in combinations(cells, 2)
        ]
    return found


def _parameters(study: Analysis, cell: Cell) -> Mapping[str, Any]:
    return next(arm.parameters for arm in study.study.arms if arm.label == cell.arm)


def _at(study: Analysis, name: str, value: float) -> Comparison | None:
    for cell in study.cells:
        parameters = _parameters(study, cell)
        if parameters.get(name) == value and _one_changed(study, parameters, name):
            return cell.comparison
    return None


def _one_changed(study: Analysis, parameters: Mapping[str, Any], name: str) -> bool:
    point = next(a.parameters for a in study.study.arms if a.label == study.study.baseline)
    return {k: v for k, v in parameters.items() if k != name} == {
        k: v for k, v in point.items() if k != name
    }


def _nats(found: Comparison) -> str:
    ends = found.confidence_interval
    text = f"{found.mean_difference:+.4f} nats"
    return text if ends is None else f"{text} ({ends[0]:+.4f} to {ends[1]:+.4f})"
