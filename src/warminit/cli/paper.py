"""results of `warminit reproduce` -> tables, findings, or one JSON object."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from warminit.cli.execution import Ending, Place
from warminit.cli.output import duration, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.paper.reproduce import Candidate
    from warminit.lab.verdict.analysis import Analysis


def show_claims(data_root: str | None, console: "Console", *, as_json: bool) -> None:
    """List the paper's claims with the available data and the cost of their runs."""
    from warminit.lab.data.availability import known_datasets
    from warminit.lab.paper.claims import CLAIMS
    from warminit.lab.paper.costs import claim_seconds
    from warminit.lab.terminal.claims_display import data_text, print_claims

    at_hand = {each.name: each.at_hand for each in known_datasets(data_root)}
    seconds = claim_seconds(CLAIMS)
    if as_json:
        rows = [
            asdict(claim) | {"data": data_text(claim, at_hand), "core_seconds": seconds[claim.key]}
            for claim in CLAIMS
        ]
        print_json({"claims": rows})
    else:
        costs = {key: duration(each) if each else "seconds" for key, each in seconds.items()}
        print_claims(CLAIMS, at_hand, costs, console)


def nothing(candidates: "Mapping[str, Candidate]") -> str:
    """Return why no data set is available."""
    return next((each.reason for each in candidates.values() if each.reason), "no data set")


def show_rules(
    table: str,
    candidates: "Mapping[str, Candidate]",
    place: Place,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    """Print Table 1 or Table 2, evaluated here."""
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


def show_table_3(
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    """Print the measured Table 3."""
    from warminit.lab.paper.gains import against_control
    from warminit.lab.paper.training_tables import caveats, table_3
    from warminit.lab.terminal.display import say
    from warminit.lab.terminal.training_display import print_table_3

    analysis = None if ending is None else ending.analysis
    rows = table_3(candidates.values(), analysis)
    controlled = {} if analysis is None else against_control(analysis)
    if as_json:
        content = [asdict(row) | {"error_change": row.error_change} for row in rows]
        control = {name: asdict(each) for name, each in controlled.items()}
        _print_measured(
            "table3", candidates, ending, {"rows": content, "control": control}, caveats
        )
    else:
        print_table_3(rows, analysis, console)
        say(console, *(f"- {name}: {each.verdict}" for name, each in controlled.items()))


def show_grid(
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    """Print the measured grid of Section 4.3."""
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


def show_axes(
    candidates: "Mapping[str, Candidate]",
    ending: Ending | None,
    console: "Console",
    *,
    as_json: bool,
) -> None:
    """Print the study along the grid's axes, and its verdict on the paper's claims."""
    from warminit.lab.paper.findings import axes_findings
    from warminit.lab.paper.grid_table import grid_caveats
    from warminit.lab.terminal.claims_display import print_findings
    from warminit.lab.terminal.display import print_analysis, say

    if ending is None:
        say(console, nothing(candidates))
        return
    analysis, caveats = ending.analysis, grid_caveats(ending.analysis)
    papers = all(name == "fashion-mnist" for name in candidates) and not caveats
    complete = all(each.standing == "complete" for each in candidates.values())
    found = axes_findings(analysis) if papers and complete else []
    if as_json:
        content = {"findings": [asdict(each) for each in found]}
        _print_measured("grid", candidates, ending, content, grid_caveats)
        return
    print_analysis(analysis, console)
    say(console, *(f"Not the paper's grid: {caveat}." for caveat in caveats))
    print_findings(found, console)


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
