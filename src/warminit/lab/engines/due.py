"""a study, its stored results -> the runs to execute now, and further runs after each outcome."""

from collections.abc import Iterable, Mapping, Sequence

from warminit.lab.engines.job import Outcome
from warminit.lab.runs.looks import Cell, cell_of, needed, score
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study

Part = tuple[Study, Sequence[PlannedRun]]
"""A study, or one of the two comparisons of a tuned study, with all runs that it can need."""


class Due:
    """Hold the runs that a study still needs.

    A fixed study needs its missing runs. A sequential study needs the runs of its next look. Once
    they have ended, it needs the runs of the following look, as long as any comparison is open. The
    two comparisons of a tuned study are decided separately; a run that both need is executed once.
    """

    def __init__(self, parts: Sequence[Part], finished: Mapping[str, RunResult | None]) -> None:
        """Take all planned runs, and the stored results by key.

        Only a sequential study reads the results. Failed runs are repeated.
        """
        self.runs: list[PlannedRun] = []
        self._keys: set[str] = set()
        self._looks = [_Looks(*part) for part in parts if part[0].sequential is not None]
        for study, runs in parts:
            if study.sequential is None:
                self._add(run for run in runs if run.key not in finished)
        for looks in self._looks:
            looks.note(finished)
            self._add(looks.next())

    def after(self, run: PlannedRun, outcome: Outcome) -> None:
        """Take the outcome of a run; the last outcome of a look adds the next look to `runs`.

        An engine that iterates over `runs` sees the new runs after it has yielded an outcome.
        """
        ended = [looks for looks in self._looks if looks.note({run.key: outcome})]
        for looks in ended:
            self._add(looks.next())

    def _add(self, runs: Iterable[PlannedRun]) -> None:
        for run in runs:
            if run.key not in self._keys:
                self._keys.add(run.key)
                self.runs.append(run)


class _Looks:
    """Hold the looks of one sequential comparison."""

    def __init__(self, study: Study, runs: Sequence[PlannedRun]) -> None:
        self._study, self._runs = study, runs
        self._scores: dict[Cell, dict[int, float]] = {}
        self._waiting: set[str] = set()

    def note(self, outcomes: Mapping[str, Outcome | None]) -> bool:
        """Take outcomes, and return whether the current look is complete."""
        for run in self._runs:
            if run.key in outcomes:
                scores = self._scores.setdefault(cell_of(run.spec), {})
                scores[run.spec.seed] = score(outcomes[run.key], self._study)
        waited = bool(self._waiting)
        self._waiting -= outcomes.keys()
        return waited and not self._waiting

    def next(self) -> list[PlannedRun]:
        """Return the runs of the next look; none once every comparison is decided."""
        wanted = needed(self._study, self._scores)
        new = [run for run in self._runs if (cell_of(run.spec), run.spec.seed) in wanted]
        self._waiting = {run.key for run in new}
        return new
