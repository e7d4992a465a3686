"""`warminit reproduce`: a table of the paper -> the same measured here, beside the paper's own."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warminit.cli import options
from warminit.cli.command_line import again
from warminit.cli.execution import Ending, Place, close, execute
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json
from warminit.cli.studies import show_estimate
from warminit.errors import WarminitError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.paper.reproduce import Candidate
    from warminit.lab.study.study import Study
    from warminit.lab.verdict.analysis import Analysis


def reproduce(
    context: typer.Context,
    *,
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            autocompletion=options.completes("table1", "table2", "table3", "grid"),
            help="One of: table1, table2, table3, grid.",
        ),
    ],
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
    dry_run: options.DryRun = False,
    out: options.Out = None,
    data_root: options.DataRoot = None,
    device: options.Device = "cpu",
    threads: options.Threads = 1,
    workers: options.Workers = None,
    allow_mixed: options.AllowMixed = False,
    track: options.Track = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure a table of the paper here, and print it beside the paper's own figures.

    table1 and table2 evaluate the rules in seconds; table3 and grid train networks for hours or
    days at the full protocol (--dry-run says how long), and resume. What is not at hand prints
    "data not available"; partial data and shortened runs are labelled.
    """
    from warminit.lab.paper.reproduce import TABLES, find_candidates, paper_datasets

    if table not in TABLES:
        raise unknown("table", table, TABLES)
    trains = table in {"table3", "grid"}
    if not trains:
        given = {
            "--seeds": seeds,
            "--steps": steps,
            "--precision": precision,
            "--track": track,
            "--dry-run": dry_run or None,
        }
        _refuse(table, [name for name, value in given.items() if value is not None])
    chosen = options.names(datasets)
    if table == "grid" and chosen is None:
        chosen = ["fashion-mnist"]  # where the paper searched (Section 4.3)
    console = new_console(as_json=as_json)
    place = Place(
        out=out,
        data_root=data_root,
        device=device,
        threads=threads,
        workers=workers,
        allow_mixed=allow_mixed,
        quiet=quiet,
        track=track,
        command=again(context),
    )
    from warminit.lab.terminal.progress import loading_progress

    with loading_progress(console, quiet=quiet) as progress:
        candidates = find_candidates(paper_datasets(chosen), place.source(), progress=progress)
    if not trains:
        _reproduce_rules(table, candidates, place, console, as_json=as_json)
        return
    study = _study(
        table, candidates, seeds, {"steps": steps, "precision": precision}, rule=rule_derived
    )
    if dry_run:
        if study is None:
            raise WarminitError(_nothing(candidates))
        absent = {name: each.reason for name, each in candidates.items() if each.dataset is None}
        show_estimate(study, place, console, as_json=as_json, absent=absent)
        return
    ending = None if study is None else execute(study, place, console)
    if table == "table3":
        _show_table_3(candidates, ending, console, as_json=as_json)
    else:
        _show_grid(candidates, ending, console, as_json=as_json)
    if ending is not None:
        close(ending, console)


def _refuse(table: str, given: list[str]) -> None:
    if given:
        raise WarminitError(
            f"{table} trains nothing, so {', '.join(given)} has no use with it. Leave it out, or "
            "give table3 or grid."
        )


def _study(
    table: str,
    candidates: "Mapping[str, Candidate]",
    seeds: int | list[int] | None,
    protocol: "Mapping[str, Any]",
    *,
    rule: bool,
) -> "Study | None":
    """Return the shipped study on the data that are at hand; None where there are none."""
    from warminit.lab.study.builtin import changed_study, load_study

    at_hand = [name for name, each in candidates.items() if each.dataset is not None]
    if not at_hand:
        return None
    return changed_study(
        load_study(table),
        source=f"{table} with these options",
        datasets=at_hand,
        seeds=seeds,
        patch_counts="rule" if rule else None,
        protocol=protocol,
    )


def _nothing(candidates: "Mapping[str, Candidate]") -> str:
    return next((each.reason for each in candidates.values() if each.reason), "no data set")


def _reproduce_rules(
    table: str,
    candidates: "Mapping[str, Candidate]",
    place: Place,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    from warminit.lab.paper import rules_tables
    from warminit.lab.terminal.rules_display import print_table_1, print_table_2

    if table == "table1":
        figures = rules_tables.table_1(candidates.values())
        if as_json:
            rows = [asdict(figure) | {"differs": figure.differs} for figure in figures]
            print_json({"table": table, "datasets": _standings(candidates), "figures": rows})
        else:
            print_table_1(figures, candidates.values(), console)
        return
    evaluations = rules_tables.table_2(
        candidates.values(), device=place.device, threads=place.threads
    )
    processor = rules_tables.processor(place.device, place.threads)
    if as_json:
        from warminit.lab.paper.published import INIT_SECONDS, TABLE_2

        print_json(
            {
                "table": table,
                "datasets": _standings(candidates),
                "rules": [asdict(rule) for rule in TABLE_2],
                "evaluations": [asdict(each) for each in evaluations],
                "init": {"paper_seconds_below": INIT_SECONDS, "processor": processor},
            }
        )
    else:
        print_table_2(evaluations, candidates.values(), console, processor)


def _show_table_3(
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    from warminit.lab.paper.training_tables import caveats, table_3
    from warminit.lab.terminal.training_display import print_table_3

    analysis = None if ending is None else ending.analysis
    rows = table_3(candidates.values(), analysis)
    if as_json:
        content = [asdict(row) | {"error_change": row.error_change} for row in rows]
        _print_measured("table3", candidates, ending, {"rows": content}, caveats)
    else:
        print_table_3(rows, analysis, console)


def _show_grid(
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    from warminit.lab.paper.grid_table import grid_caveats, grid_claims, grid_rows, multiplicity
    from warminit.lab.terminal.grid_display import print_grid

    tables = {}
    for name, candidate in candidates.items():
        rows = [] if ending is None else grid_rows(ending.analysis, name)
        # Claims are the paper's about complete Fashion-MNIST; other data have none beside them.
        claims = grid_claims(rows) if candidate.standing == "complete" else []
        tables[name] = {
            "claims": [asdict(claim) for claim in claims],
            "multiplicity": multiplicity(rows),
            "rows": [asdict(row) | {"delta": row.delta} for row in rows],
        }
        if not as_json:
            analysis = None if ending is None else ending.analysis
            print_grid(rows, claims, candidate, analysis, console)
    if as_json:
        _print_measured("grid", candidates, ending, {"tables": tables}, grid_caveats)


def _print_measured(
    table: str,
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    content: dict[str, Any],
    caveats: "Callable[[Analysis], list[str]]",
) -> None:
    from warminit.lab.verdict.rows import summary

    print_json(
        {
            "table": table,
            "datasets": _standings(candidates),
            "caveats": [] if ending is None else caveats(ending.analysis),
            **content,
            "study": None if ending is None else summary(ending.analysis),
        }
    )


def _standings(candidates: "Mapping[str, Candidate]") -> list[dict[str, str]]:
    return [
        {"name": each.name, "standing": each.standing, "reason": each.reason}
        for each in candidates.values()
    ]
