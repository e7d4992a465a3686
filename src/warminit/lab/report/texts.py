"""Analysis -> sentences of the report page: state, summary, verdicts, and its command."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

from warminit.errors import WarminitError
from warminit.lab.report.tables import metric_name
from warminit.lab.study.builtin import load_study, shipped_studies
from warminit.lab.study.protocol import learning_rates
from warminit.lab.study.study import Study
from warminit.lab.study.toml import study_toml
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.cells import cell_rows
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.wording import counted, seeds_planned

MOST_VERDICTS = 24
"""Most unfolded verdicts; with more, only the decisive ones are unfolded."""

DECIDED = ("helps", "harms")

SIGNS = {
    "helps": "\u25b6",
    "harms": "\u25c0",
    "equivalent": "\u25c6",
    "undecided": "\u25cb",
    "not tested": "\u2715",
}
"""Sign of each outcome, as in the forest plot."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold one verdict for the page, which states its outcome once: in the claim."""

    kind: str
    sign: str
    claim: str
    evidence: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Hold verdicts under one title, which may be "", the largest gain first."""

    title: str
    found: tuple[Verdict, ...]


def is_long(analysis: Analysis) -> bool:
    """Return whether a study has so many comparisons that the page folds them."""
    return len(analysis.comparisons) > MOST_VERDICTS


def asked(analysis: Analysis) -> str:
    """Return one line on the runs and their settings."""
    study, protocol = analysis.study, analysis.study.protocol
    what = f"{counted(len(study.arms), 'arm')} x {seeds_planned(study)}"
    if study.own_loop:
        return f"{what} in your own training loop."
    places = ", ".join(analysis.title(dataset) for dataset in study.datasets)
    split = (
        f"{study.validation:,} training images set aside" if study.validation else "the test set"
    )
    return (
        f"{what} on {places} with {', '.join(study.models)}: {protocol.steps:,} steps at batch "
        f"{protocol.batch_size}, {_optimizer(study)}, {protocol.precision}. Evaluated on {split}."
    )


def _optimizer(study: Study) -> str:
    """Return the optimizer, learning rates, warm-up, decay and augmentation in words."""
    protocol = study.protocol
    rates = {learning_rates(protocol, dataset) for dataset in study.datasets}
    if protocol.schedule == "constant":
        told = sorted({f"{start:g}" for start, _ in rates})
    else:
        told = sorted({f"{start:g} to {end:g}" for start, end in rates})
    rate = f"learning rate {' or '.join(told)} ({protocol.schedule})"
    if study.tune is not None:
        tried = ", ".join(f"{each:g}" for each in study.tune.lr_start)
        rate = f"learning rate of each arm chosen among {tried} ({protocol.schedule})"
    warmup = f"warm-up of {protocol.warmup:,} steps" if protocol.warmup else "no warm-up"
    decay = (
        f"weight decay {protocol.weight_decay:g}" if protocol.weight_decay else "no weight decay"
    )
    more = "" if protocol.augmentation == "none" else f", augmentation {protocol.augmentation}"
    return f"{protocol.optimizer}, {rate}, {warmup}, {decay}{more}"


def state(analysis: Analysis) -> dict[str, Any]:
    """Return the notes that precede the results: unfinished or failed runs, partial data."""
    failed, missing = len(analysis.failed), analysis.missing
    n_asked = len(analysis.runs) + missing
    done = len(analysis.runs) - failed
    lines = []
    look = "" if analysis.study.sequential is None else " for the next look"
    if missing or failed:
        lines.append(
            f"{done} of {counted(n_asked, 'run')} done, {failed} failed, {missing} to do{look}. "
            "What follows is of the finished runs only, and may change."
        )
    if analysis.partial:
        lines.append(
            f"Partial data: the counts of {', '.join(sorted(analysis.partial))} differ from the "
            "published ones, so its results reproduce nothing."
        )
    title = "Partial data"
    if missing:
        title = "This study is not finished"
    elif failed:
        title = f"{counted(failed, 'run')} failed"
    return {
        "unfinished": missing > 0,
        "failed": failed,
        "partial": bool(analysis.partial),
        "title": title,
        "lines": lines,
        "asked": n_asked,
        "done": done,
    }


def summary(analysis: Analysis) -> str:
    """Return the number of comparisons with each outcome, in words."""
    study, outcomes = analysis.study, outcome_counts(analysis.comparisons)
    if not outcomes:
        return f"No comparison yet: no seed has finished in both an arm and {study.baseline}."
    begin = counted(len(analysis.comparisons), "comparison")
    return f"{begin} with {study.baseline} by {metric_name(analysis)}: {outcomes}."


def outcome_counts(comparisons: Iterable[Comparison]) -> str:
    """Return the number of comparisons with each outcome, in words; "" if there is none."""
    outcomes = [comparison.outcome for comparison in comparisons]
    words = {
        "helps": ("helps", "help"),
        "harms": ("harms", "harm"),
        "equivalent": ("makes no difference that matters", "make no difference that matters"),
        "undecided": ("shows no detectable difference", "show no detectable difference"),
        "not tested": ("could not be tested", "could not be tested"),
    }
    return ", ".join(
        f"{outcomes.count(name)} {one if outcomes.count(name) == 1 else many}"
        for name, (one, many) in words.items()
        if name in outcomes
    )


def verdicts(analysis: Analysis) -> tuple[list[Verdicts], list[Verdicts]]:
    """Return the unfolded and the folded verdicts, by place.

    In a long study, the decisive verdicts with the largest differences are unfolded.
    """
    several = len(analysis.study.datasets) * len(analysis.study.models) > 1
    told = [
        (cell, row.beside)
        for cell, row in zip(analysis.cells, cell_rows(analysis), strict=True)
        if cell.comparison is not None or row.beside
    ]
    told.sort(
        key=lambda each: each[0].comparison.gain if each[0].comparison else -inf, reverse=True
    )
    shown = {id(cell) for cell, _ in told}
    if is_long(analysis):
        decide = [
            cell for cell, _ in told if cell.comparison and cell.comparison.outcome in DECIDED
        ]
        decide.sort(key=lambda cell: abs(cell.comparison.gain) if cell.comparison else 0.0)
        shown = {id(cell) for cell in decide[-MOST_VERDICTS:]}
    places = dict.fromkeys((cell.dataset, cell.model) for cell in analysis.cells)
    in_view: list[Verdicts] = []
    folded: list[Verdicts] = []
    for place in places:
        here = [each for each in told if (each[0].dataset, each[0].model) == place]
        title = analysis.place(*place) if several else ""
        for groups, is_shown in ((in_view, True), (folded, False)):
            found = tuple(_verdict(*each) for each in here if (id(each[0]) in shown) is is_shown)
            if found:
                groups.append(Verdicts(title, found))
    return in_view, folded


def _verdict(cell: Cell, beside: tuple[str, ...]) -> Verdict:
    comparison = cell.comparison
    outcome = comparison.outcome if comparison else "not tested"
    claim, evidence = (
        comparison.claim_and_evidence()
        if comparison
        else (f"{cell.arm} could not be tested", "no seed is left in both arms.")
    )
    return Verdict(outcome.replace(" ", "-"), SIGNS[outcome], claim, evidence, beside)


def reproduce(analysis: Analysis, command: str | None) -> dict[str, str]:
    """Return the command and the study file that reproduce the runs."""
    study = analysis.study
    if study.own_loop:
        text = "Run your script again: its call of compare() takes what is finished from the store."
        return {"text": text, "command": "", "study_file": ""}
    text = "The same command goes on where a study stopped, and runs nothing twice."
    if command is None:
        shipped = study.name in shipped_studies() and _same(study, study.name)
        command = f"warminit run {study.name if shipped else 'study.toml'}"
        devices = {run.environment.get("device", "cpu") for run in analysis.runs} - {"cpu"}
        command += " --device cuda" if devices else ""
    return {"text": text, "command": command, "study_file": study_toml(study)}


def _same(study: Study, name: str) -> bool:
    try:
        return load_study(name) == study
    except WarminitError:
        return False
