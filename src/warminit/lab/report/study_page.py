"""a running study -> its report page, kept up to date and then finished; errors only warn."""

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
"""Packages that draw the page, besides those that every study needs."""

SECONDS = 10.0
"""Seconds between two pages of a running study: the page reloads at the same interval."""


def with_page(
    listener: Listener, study: Study, folder: Path, *, partial: Iterable[str] = ()
) -> Listener:
    """Return a listener that also writes the study's page when a run has finished.

    Args:
        listener: Listener to extend; it is called first.
        study: Running study.
        folder: Folder of the study's store; the page is written beside it.
        partial: Data sets whose counts differ from the published ones.

    Warns:
        WarminitWarning: If a package for the page is missing; the study continues.
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
        analysis: Analysis to show.
        folder: Folder of the study's store.
        datasets: Data sets by the study's names, for images, filters and pixels.
        command: Command that reproduces the study.

    Warns:
        WarminitWarning: If the page cannot be written. The results are then in the store.
    """
    if _missing():
        return None  # reported when the study began
    try:
        return write_report(analysis, folder / FILE_NAME, datasets=datasets, command=command)
    except Exception as error:  # noqa: BLE001 - whatever it is, the results are worth more
        _warn(f"the report page was not written: {error}")
        return None


def _reports(result: RunResult, metric: str) -> bool:
    """Return whether a run has the study's metric; the driver reports a missing metric."""
    try:
        result.metric(metric)
    except WarminitError:
        return False
    return True


def _missing() -> list[str]:
    """Return the packages for the page that are not installed, without importing any."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _warn(text: str) -> None:
    warnings.warn(text, WarminitWarning, stacklevel=3)
