"""Analysis -> the sentences that every display shares."""

from collections.abc import Mapping
from typing import Any

from warminit.lab.study.study import Study
from warminit.lab.study.table1 import BATCH_SIZE, STEPS
from warminit.lab.verdict.analysis import Analysis

SMALL = 1000
"""Number of evaluated images below which notes state the worth of one image, over 0.1 points."""


def notes(analysis: Analysis) -> list[str]:
    """Return the notes that a reader needs besides the numbers."""
    study, protocol, found = analysis.study, analysis.study.protocol, []
    # The grid search compares an early training loss: its few steps are those of the paper.
    if protocol.steps < STEPS and not study.own_loop and study.metric != "train_loss":
        found.append(
            f"Shortened: {protocol.steps:,} steps at batch {protocol.batch_size}, where the paper "
            f"trains {STEPS:,} at {BATCH_SIZE}. An early lead may vanish."
        )
    if study.sequential is not None:
        found += _sequential(analysis)
    tests = sum(c.p_one_sided is not None for c in analysis.comparisons)
    if tests > 1:
        found.append(
            f"{tests} comparisons: Holm's p is corrected for all of them. Without correction, "
            f"{tests} tests at 0.05 expect about {expected_false_alarms(tests)} with no effect."
        )
    found += [
        f"{arm} set only filters in {model} on {dataset}, and left the last layer; the report page "
        "says why."
        for dataset, model, arm in _without_head(analysis)
    ]
    found += _one_image(analysis)
    if analysis.missing:
        again = "call" if study.own_loop else "command"
        found.append(
            f"Unfinished: {counted(analysis.missing, 'run')} missing{_of_look(study)}; the same "
            f"{again} goes on."
        )
    if analysis.mixed:
        found.append(f"Compared although computed with different {', '.join(analysis.mixed)}.")
    return found


def _of_look(study: Study) -> str:
    return " for the next look" if study.sequential is not None else ""


def _sequential(analysis: Analysis) -> list[str]:
    """Return sentences on how a sequential study was decided, and on the runs that it spared."""
    study, family = analysis.study, counted(len(analysis.comparisons), "comparison")
    adjusted = f"every interval and p is adjusted for the looks, and every verdict for {family}"
    told = [f"Decided look by look: {adjusted}."]
    own, other = ", each arm at its own best,", f", every arm at the best of {study.baseline},"
    parts = [(analysis, "" if analysis.at_baseline is None else own), (analysis.at_baseline, other)]
    for part, where in parts:
        if part is not None and part.spared and not analysis.missing:
            told.append(
                f"{part.spared:,} of {counted(part.asked, 'run')}{where} were spared: "
                f"{len(study.seeds)} seeds of every arm would have taken them all."
            )
    return told


def _one_image(analysis: Analysis) -> list[str]:
    """Return the worth of one evaluated image, for each data set with few evaluated images."""
    study = analysis.study
    if not analysis.in_points or study.own_loop or "accuracy" not in study.metric:
        return []
    counts = {name: study.validation or analysis.evaluated.get(name, 0) for name in study.datasets}
    return [
        f"{analysis.title(name)}: {n:,} images are evaluated, so that one of them is worth "
        f"{100 / n:.2g} points{_beside(1 / n, study.margin)}."
        for name, n in counts.items()
        if 0 < n < SMALL
    ]


def _beside(worth: float, margin: float) -> str:
    return f", more than the margin of {100 * margin:g}" if worth > margin else ""


def _without_head(analysis: Analysis) -> list[tuple[str, str, str]]:
    """Return (data set, model, arm) of each arm that usually shrinks the last layer and did not."""
    return list(
        dict.fromkeys(
            (run.spec.dataset, run.spec.model, run.spec.arm.label)
            for run in analysis.runs
            if run.result is not None
            and _head_scale(run.result.init_report.get("parameters", {})) is None
        )
    )


def _head_scale(parameters: Mapping[str, Any]) -> Any:
    return parameters.get("head_scale", parameters.get("head", 0.0))  # its name in version 0.1


def expected_false_alarms(tests: int) -> str:
    """Return the expected number of false alarms among tests at 0.05, in words.

    Example:
        >>> expected_false_alarms(224)
        '11 false alarms'
    """
    expected = tests * 0.05
    number = f"{expected:.0f}" if expected >= 9.5 else f"{expected:.2g}"
    return f"{number} false {'alarm' if number == '1' else 'alarms'}"


def counted(number: int, name: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "seed"), counted(8, "seed")
        ('1 seed', '8 seeds')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def seeds_planned(study: Study) -> str:
    """Return the number of seeds of a study, or its maximum, in words."""
    most = "at most " if study.sequential is not None else ""
    return f"{most}{counted(len(study.seeds), 'seed')}"


def stars(p: float | None) -> str:
    """Return the significance marks of Section 5: * p < 0.1, ** p < 0.05, *** p < 0.01.

    Example:
        >>> [stars(p) for p in (0.2, 0.0616, 0.0308, 0.0033, None)]
        ['', '*', '**', '***', '']
    """
    return "" if p is None else "*" * sum(p < level for level in (0.1, 0.05, 0.01))
