"""Analysis -> one self-contained HTML page on disk, also while its study runs.

What draws (Altair, vl-convert, Jinja2) is imported with the first page: the runs come first.
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
"""Of a driver's time that its live page may take."""


def write_report(
    analysis: Analysis,
    path: Path,
    *,
    datasets: Mapping[str, ImageDataset] | None = None,
    command: str | None = None,
) -> Path:
    """Write the report page of a study, finished or not.

    Args:
        analysis: What the page says.
        path: The file; it is whole at every moment, the old page or the new one.
        datasets: By the study's names; with them the page shows images, filters and pixels.
        command: That reproduces the study; by default `warminit run` with the study's file.

    Returns:
        The file.

    Raises:
        WarminitError: If it cannot be written.
    """
    from warminit.lab.report.images import data_figures
    from warminit.lab.report.page import page

    figures = data_figures(analysis, datasets or {})
    text = page(analysis, datasets=datasets or {}, figures=figures, command=command)
    with written_whole(path) as place:
        place.write_bytes(text.encode())
    return path


class LiveReport:
    """Keeps a study's page up to date while the study runs.

    Call `update` after each finished run; it writes at most once every `seconds`, and more rarely
    where a page takes long: of thousands of runs it takes a minute, for which no run is started.
    The figures of images and filters are left to the last page. What goes wrong is told once as a
    warning: a page is never worth a study.
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
        """Take the study, the page's file and what reads the study's runs."""
        self._study, self._path, self._stored = study, path, stored
        self._partial, self._seconds, self._clock = tuple(partial), seconds, clock
        self._written: float | None = None
        self._pause = seconds
        self._failed = False

    def update(self) -> bool:
        """Write the page if the last one is old enough; return whether it was written."""
        now = self._clock()
        if self._failed or (self._written is not None and now - self._written < self._pause):
            return False
        try:
            from warminit.lab.report.page import page

            started = self._clock()  # what is imported for the first page counts once
            # Versions are compared when the study begins and at its end; this page only looks.
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
        # Measured after the work: a slow page may not take more than its share of the time.
        self._written = self._clock()
        self._pause = max(self._seconds, (self._written - started) / SHARE)
        return True
