"""Write an Analysis as one self-contained HTML page, also while its study runs.

The drawing packages (Altair, vl-convert, Jinja2) are imported with the first page, which
does not delay the runs.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from warminit.errors import WarminitWarning
from warminit.lab.data.load import ImageDataset
from warminit.lab.store.store import StoredRun
from warminit.lab.store.whole_file import written_whole
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import Analysis, analyse

FILE_NAME = "report.html"

SHARE = 0.05
"""Maximum share of a driver's time for its live page."""


def write_report(
    analysis: Analysis,
    path: Path,
    *,
    datasets: Mapping[str, ImageDataset] | None = None,
    command: str | None = None,
) -> Path:
    """Write the report page of a study, finished or not.

    Args:
        analysis: Analysis to show.
        path: Path of the page; the file is always the complete old page or the complete new one.
        datasets: Data sets by the study's names; with them the page shows images, filters and
            pixels.
        command: Command that reproduces the study; by default `warminit run` with the study's file.

    Returns:
        The path of the page.

    Raises:
        WarminitError: If the page cannot be written.
    """
    from warminit.lab.report.images import data_figures
    from warminit.lab.report.page import page

    figures = data_figures(analysis, datasets or {})
    text = page(analysis, datasets=datasets or {}, figures=figures, command=command)
    with written_whole(path) as place:
        place.write_bytes(text.encode())
    return path


class LiveReport:
    """Hold the page of a running study, and keep it up to date.

    Call `update` after each finished run. It writes at most once every `seconds`, and less often if
    a page takes long: with thousands of runs, a page takes a minute in which no run starts. Only
    the last page has figures of images and filters. An error is reported once, as a warning, and
    never stops the study.
    """

    def __init__(
        self,
        study: Study,
        path: Path,
        stored: Callable[[], Iterable[StoredRun]],
        *,
        partial: Iterable[str] = (),
        seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the study, the path of the page, and the function that reads the study's runs."""
        self._study, self._path, self._stored = study, path, stored
        self._partial, self._seconds, self._clock = tuple(partial), seconds, clock
        self._written: float | None = None
        self._pause = seconds
        self._failed = False

    def update(self) -> bool:
        """Write the page if the last page is old enough, and return whether it was written."""
        now = self._clock()
        if self._failed or (self._written is not None and now - self._written < self._pause):
            return False
        try:
            from warminit.lab.report.page import page

            started = self._clock()  # imports for the first page count once
            # Versions are compared when the study begins and at its end, not in this page.
            analysis = analyse(
                self._study, tuple(self._stored()), allow_mixed=True, partial=self._partial
            )
            with written_whole(self._path) as place:
                place.write_bytes(page(analysis).encode())
        except Exception as error:  # noqa: BLE001 - whatever it is, the study goes on
            self._failed = True
            warnings.warn(
                f"the report page cannot be kept up to date ({error}); the study goes on. "
                "`warminit report` writes it afterwards.",
                WarminitWarning,
                stacklevel=2,
            )
            return False
        # Measured after the work, so that a slow page takes no more than its share of the time.
        self._written = self._clock()
        self._pause = max(self._seconds, (self._written - started) / SHARE)
        return True
