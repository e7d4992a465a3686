"""a study under way -> its report page on disk, kept up to date, then finished. Never fatal."""

import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.driver import Listener
from warminit.lab.engines.job import Outcome
from warminit.lab.report import FILE_NAME, LiveReport, write_report
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.stored_study import read_study
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import Analysis

PACKAGES = ("altair", "jinja2", "vl_convert")
"""What the page is drawn with, besides what every study needs."""

SECONDS = 10.0
"""Between two pages of a study under way: as often as the page reloads itself."""


def with_page(
    listener: Listener, study: Study, folder: Path, *, partial: Iterable[str] = ()
) -> Listener:
    """Return a listener that also writes the study's page when a run has finished.

    Args:
        listener: Told everything as before, and first.
        study: What is under way.
        folder: Of its store; the page goes beside it.
        partial: Data sets whose counts differ from the published ones.

    Warns:
        WarminitWarning: Where a package that the page needs is missing; the study goes on.
    """
    if missing := _missing():
        _warn(
            f"there will be no report page ({', '.join(missing)} cannot be found). Run `pip "
            'install "warminit[lab]"`; `warminit report` then writes it.'
        )
        return listener
    live = LiveReport(
        study, folder / FILE_NAME, lambda: read_study(folder).runs, partial=partial, seconds=SECONDS
    )

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        listener.finished(run, outcome)
        if isinstance(outcome, str) or _reports(outcome, study.metric):
            live.update()

    return replace(listener, finished=finished)


def last_page(
    analysis: Analysis,
    folder: Path,
    *,
    datasets: Mapping[str, ImageDataset] | None = None,
    command: str | None = None,
) -> Path | None:
    """Write the whole page at a study's end, finished or stopped; None if it cannot be written.

    Args:
        analysis: What the page says.
        folder: Of the study's store.
        datasets: By the study's names, for images, filters and pixels.
        command: That reproduces the study.

    Warns:
        WarminitWarning: If the page cannot be written. The results are then in the store.
    """
    if _missing():
        return None  # said when the study began
    try:
        return write_report(analysis, folder / FILE_NAME, datasets=datasets, command=command)
    except Exception as error:  # noqa: BLE001 - whatever it is, the results are worth more
        _warn(f"the report page was not written: {error}")
        return None


def _reports(result: RunResult, metric: str) -> bool:
    """Tell whether a run has the study's metric; that it has not is the driver's to tell."""
    try:
        result.metric(metric)
    except WarminitError:
        return False
    return True


def _missing() -> list[str]:
    """Return what the page needs and is not installed; asked without importing it."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _warn(text: str) -> None:
    warnings.warn(text, WarminitWarning, stacklevel=3)
