"""a study, what its store has -> the runs that are to be done now, and after each outcome more."""

from collections.abc import Mapping, Sequence

from warminit.lab.engines.job import Outcome
from warminit.lab.runs.looks import Cell, cell_of, needed, score
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study


class Due:
    """The runs that a study still needs.

    Of a fixed study these are the missing ones. Of a sequential study they are those of the next
    look, and once all of them have ended those of the look after it, as long as any comparison is
    open.
    """

    def __init__(
        self, study: Study, runs: Sequence[PlannedRun], finished: Mapping[str, RunResult | None]
    ) -> None:
        """Take all planned runs, and the results that are there, by key.

        Only a sequential study reads the results. What failed before is tried again.
        """
        self._study, self._runs = study, runs
        self._scores: dict[Cell, dict[int, float]] = {}
        self._waiting: set[str] = set()
        self.runs: list[PlannedRun]
        if study.sequential is None:
            self.runs = [run for run in runs if run.key not in finished]
            return
        for run in runs:
            if run.key in finished:
                self._note(run, finished[run.key])
        self.runs = []
        self._look()

    def after(self, run: PlannedRun, outcome: Outcome) -> None:
        """Take the outcome of a run; where it was the last of its look, `runs` grows by the next.

        An engine that is given `runs` finds there what is added while it hands an outcome over.
        """
        if self._study.sequential is None:
            return
        self._note(run, outcome)
        self._waiting.discard(run.key)
        if not self._waiting:
            self._look()

    def _note(self, run: PlannedRun, outcome: Outcome | None) -> None:
        scores = self._scores.setdefault(cell_of(run.spec), {})
        scores[run.spec.seed] = score(outcome, self._study)

    def _look(self) -> None:
        wanted = needed(self._study, self._scores)
        new = [run for run in self._runs if (cell_of(run.spec), run.spec.seed) in wanted]
        self._waiting = {run.key for run in new}
        self.runs += new
