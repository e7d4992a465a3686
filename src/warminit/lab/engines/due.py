"""a study, what its store has -> the runs that are to be done now, and after each outcome more."""

from collections.abc import Iterable, Mapping, Sequence

from warminit.lab.engines.job import Outcome
from warminit.lab.runs.looks import Cell, cell_of, needed, score
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study

Part = tuple[Study, Sequence[PlannedRun]]
"""A study, or one of the two comparisons of a tuned one, with all runs that it can need."""


class Due:
    """The runs that a study still needs.

    Of a fixed study these are the missing ones. Of a sequential study they are those of the next
    look, and once all of them have ended those of the look after it, as long as any comparison is
    open. The two comparisons of a tuned study are decided apart; a run that both need is done once.
    """

    def __init__(self, parts: Sequence[Part], finished: Mapping[str, RunResult | None]) -> None:
        """Take all planned runs, and the results that are there, by key.

        Only a sequential study reads the results. What failed before is tried again.
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
        """Take the outcome of a run; where it was the last of its look, `runs` grows by the next.

        An engine that is given `runs` finds there what is added while it hands an outcome over.
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
    """The looks of one sequential comparison."""

    def __init__(self, study: Study, runs: Sequence[PlannedRun]) -> None:
        self._study, self._runs = study, runs
        self._scores: dict[Cell, dict[int, float]] = {}
        self._waiting: set[str] = set()

    def note(self, outcomes: Mapping[str, Outcome | None]) -> bool:
        """Take outcomes, and tell whether they were the last that this look waited for."""
        for run in self._runs:
            if run.key in outcomes:
                scores = self._scores.setdefault(cell_of(run.spec), {})
                scores[run.spec.seed] = score(outcomes[run.key], self._study)
        waited = bool(self._waiting)
        self._waiting -= outcomes.keys()
        return waited and not self._waiting

    def next(self) -> list[PlannedRun]:
        """Return the runs of the next look; none once everything is decided."""
        wanted = needed(self._study, self._scores)
        new = [run for run in self._runs if (cell_of(run.spec), run.spec.seed) in wanted]
        self._waiting = {run.key for run in new}
        return new
