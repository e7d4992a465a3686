"""`warminit reproduce`: a table of the paper -> our measurements beside the paper's figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warminit.cli import options
from warminit.cli.execution import Place, close, execute
from warminit.cli.output import console as new_console
from warminit.cli.paper import nothing, show_axes, show_claims, show_grid, show_rules, show_table_3
from warminit.cli.placing import placed
from warminit.cli.studies import show_estimate
from warminit.errors import WarminitError, unknown

if TYPE_CHECKING:
    from warminit.lab.paper.reproduce import Candidate
    from warminit.lab.study.study import Study


CONTROL = "norm-matched-random"


@placed("resize")
def reproduce(
    *,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[TABLE]",
            autocompletion=options.completes("table1", "table2", "table3", "grid"),
            help="One of: table1, table2, table3, grid. Without it: the paper's claims.",
            show_default=False,
        ),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(
            "--datasets",
            "--dataset",
            metavar="NAMES",
            help="Data sets of the paper, separated by commas.",
            show_default="all; fashion-mnist for grid",
        ),
    ] = None,
    seeds: options.StudySeeds = None,
    steps: options.StudySteps = None,
    precision: options.StudyPrecision = None,
    rule_derived: options.RuleDerived = False,
    control: Annotated[
        bool,
        typer.Option(
            "--control", help="Add random filters of Pre-Warm's count and scale to table3."
        ),
    ] = False,
    axes: Annotated[
        bool,
        typer.Option("--axes", help="Vary one hyperparameter of the grid at a time: 136 runs."),
    ] = False,
    dry_run: options.DryRun = False,
    place: Place,
    as_json: options.AsJson = False,
) -> None:
    """Measure a table of the paper, and print it beside the paper's figures.

    Without a table: list every claim of the paper with its available data and the cost of its runs.
    table1 and table2 evaluate the rules in seconds. table3 and grid train networks for hours or
    days at the full protocol (--dry-run estimates the time), and resume. Missing data print "data
    not available"; partial data and shortened runs are labelled.
    """
    from warminit.lab.paper.reproduce import TABLES, find_candidates, paper_datasets

    _refuse_elsewhere("--axes", "grid", table, given=axes)
    _refuse_elsewhere("--control", "table3", table, given=control)
    if table is None:
        show_claims(place.data_root, new_console(as_json=as_json), as_json=as_json)
        return
    if table not in TABLES:
        raise unknown("table", table, TABLES)
    trains = table in {"table3", "grid"}
    if not trains:
        given = {
            "--seeds": seeds,
            "--steps": steps,
            "--precision": precision,
            "--track": place.track,
            "--dry-run": dry_run or None,
        }
        _refuse(table, [name for name, value in given.items() if value is not None])
    chosen = options.names(datasets)
    if table == "grid" and chosen is None:
        chosen = ["fashion-mnist"]  # where the paper searched (Section 4.3)
    console = new_console(as_json=as_json)
    from warminit.lab.terminal.progress import loading_progress

    with loading_progress(console, quiet=place.quiet) as progress:
        candidates = find_candidates(paper_datasets(chosen), place.source(), progress=progress)
    if not trains:
        show_rules(table, candidates, place, console, as_json=as_json)
        return
    study = _study(
        "axes" if axes else table,
        candidates,
        seeds,
        {"steps": steps, "precision": precision},
        rule=rule_derived,
        control=control,
    )
    if dry_run:
        if study is None:
            raise WarminitError(nothing(candidates))
        absent = {name: each.reason for name, each in candidates.items() if each.dataset is None}
        show_estimate(study, place, console, as_json=as_json, absent=absent)
        return
    ending = None if study is None else execute(study, place, console)
    if table == "table3":
        show_table_3(candidates, ending, console, as_json=as_json)
    elif axes:
        show_axes(candidates, ending, console, as_json=as_json)
    else:
        show_grid(candidates, ending, console, as_json=as_json)
    if ending is not None:
        close(ending, console)


def _refuse_elsewhere(option: str, belongs: str, table: str | None, *, given: bool) -> None:
    if given and table != belongs:
        raise WarminitError(
            f"{option} belongs to {belongs}, not to {table or 'the list of claims'}. Write "
            f"`warminit reproduce {belongs} {option}`."
        )


def _refuse(table: str, given: list[str]) -> None:
    if given:
        raise WarminitError(
            f"{table} trains nothing: expected no {', '.join(given)} with it. Leave it out, or "
            "pass table3 or grid."
        )


def _study(
    table: str,
    candidates: "Mapping[str, Candidate]",
    seeds: int | list[int] | None,
    protocol: "Mapping[str, Any]",
    *,
    rule: bool,
    control: bool,
) -> "Study | None":
    """Return the shipped study on the available data, or None."""
    from warminit.lab.study.builtin import changed_study, load_study

    at_hand = [name for name, each in candidates.items() if each.dataset is not None]
    if not at_hand:
        return None
    study = load_study(table)
    return changed_study(
        study,
        source=f"{table} with these options",
        datasets=at_hand,
        seeds=seeds,
        arms=[*study.arms, CONTROL] if control else None,
        patch_counts="rule" if rule else None,
        protocol=protocol,
    )
