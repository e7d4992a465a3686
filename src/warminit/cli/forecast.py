"""a study, where and how -> its estimated cost, printed; nothing is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warminit.cli.execution import Place, describe, slow
from warminit.cli.output import duration
from warminit.errors import DataNotAvailableError

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.engines.estimate import Estimate
    from warminit.lab.study.study import Study


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hold the estimated cost of a study, and its missing or partial data.

    Attributes:
        estimate: Estimate of the runs on the available data.
        missing: Data sets that are not available, each with the reason.
        partial: Data sets whose counts differ from the published ones.
    """

    estimate: "Estimate"
    missing: Mapping[str, str]
    partial: tuple[str, ...]


def estimated(study: "Study", place: Place, console: "Console") -> Forecast:
    """Plan a study and measure a few steps; nothing is run or written.

    Raises:
        WarminitError: If none of its data sets is available, or it cannot be planned.
    """
    from warminit.lab.engines.estimate import estimate
    from warminit.lab.engines.tuned import most_runs
    from warminit.lab.runs.plan import plan_runs
    from warminit.lab.store.stored_study import stored_runs
    from warminit.lab.terminal.progress import loading_progress

    source = place.source()
    at_hand, missing, partial = {}, {}, []
    with loading_progress(console, quiet=place.quiet) as progress:
        for name in study.datasets:
            try:
                at_hand[name] = source.load(name, study.validation, progress(name))
            except DataNotAvailableError as error:
                if name == study.datasets[-1] and not at_hand:
                    raise
                missing[name] = str(error)
                continue
            partial += [name] * at_hand[name].partial
    finished = [run.key for run in stored_runs(place.folder(study)) if run.result is not None]
    study = study.model_copy(update={"datasets": tuple(at_hand)})
    if study.tune is None:
        runs = plan_runs(study, at_hand, device=source.device, threads=source.threads)
    else:
        runs = most_runs(study, at_hand, source)
    found = estimate(runs, source, finished, workers=place.workers)
    return Forecast(found, missing, tuple(partial))


def print_estimate(study: "Study", place: Place, forecast: Forecast, console: "Console") -> None:
    """Print the estimated cost of a study."""
    found = forecast.estimate
    most = "at most " if study.sequential is not None or study.tune is not None else ""
    measured = "from a few steps measured on this machine"
    lines = (
        describe(study),
        f"runs   {most}{found.runs:,}, of which {found.to_do:,} are to do",
        f"time   {most or 'about '}{duration(found.seconds)}, {measured}",
        f"       {100 * found.evaluation_share:.0f} % of it for evaluations",
        f"disk   about {found.megabytes:.1f} MB",
        f"folder {place.folder(study)}",
        *(f"missing {name}, not counted: {why}" for name, why in forecast.missing.items()),
        *(
            f"partial {name}: its counts differ from the published ones"
            for name in forecast.partial
        ),
        slow(study, place),
        "Nothing was run.",
    )
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False)
