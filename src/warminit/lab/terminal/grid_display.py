"""measured Sections 4.3 and 4.4 -> claims, the grid and the fit of c, on a terminal."""

from collections.abc import Sequence

from rich.console import Console

from warminit.initializers.stems.design_rules import PATCH_NORM_CONSTANT
from warminit.lab.paper.grid_table import Claim, GridRow, grid_caveats, multiplicity
from warminit.lab.paper.patch_fit import Optimum, fit_constant
from warminit.lab.paper.published import COLOUR_OPTIMA
from warminit.lab.paper.reproduce import NOT_AVAILABLE, Candidate
from warminit.lab.terminal.display import MARK, new_table, say
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.scale import p_text
from warminit.lab.verdict.wording import stars

GRID_ROWS_SHOWN = 20


def print_grid(
    rows: Sequence[GridRow],
    claims: Sequence[Claim],
    candidate: Candidate,
    analysis: Analysis | None,
    console: Console,
) -> None:
    """Print the claims of Section 4.3 beside the measured results, then the smallest p."""
    name = candidate.title
    if candidate.standing == "not available" or analysis is None:
        say(console, f"{name}: {NOT_AVAILABLE}.")
        return
    if candidate.standing == "partial":
        name += f" ({candidate.reason})"
    notes = grid_caveats(analysis)
    protocol = analysis.study.protocol
    say(console, f"Section 4.3 on {name}: training loss at {protocol.steps} steps")
    if notes:
        say(console, f"Not the paper's protocol: {'; '.join(notes)}.")
    if claims:
        table = new_table(
            "", ("the paper's finding", False), ("paper", True), ("here", True), ("", False)
        )
        for claim in claims:
            mark = MARK if claim.agrees is False and not notes else ""
            table.add_row(claim.text, claim.paper, claim.here, mark)
        console.print(table)
        marked = "" if notes else f"{MARK} differs from the paper. "
        say(console, f"{marked}p are one-sided and uncorrected, as in the paper.")
    elif candidate.standing == "partial":
        say(console, "Partial data: no reproduction, so the paper's findings are left out.")
    else:
        say(console, "Nothing can be tested: a comparison needs two seeds that differ.")
    say(console, "", multiplicity(rows), "")
    best = new_table(
        f"The {min(GRID_ROWS_SHOWN, len(rows))} smallest p of {len(rows)} configurations",
        ("patch_\nsize", True),
        ("n_clus\nters", True),
        ("n_pat\nches", True),
        ("scale", True),
        ("loss", True),
        ("loss delta", True),
        ("p one-\nsided", False),
        ("p two-\nsided", True),
        ("p\nHolm", True),
        ("wins", True),
    )
    for row in rows[:GRID_ROWS_SHOWN]:
        c = row.comparison
        one, two, holm = (p_text(p) or "-" for p in (c.p_one_sided, c.p_two_sided, c.p_holm))
        best.add_row(
            str(row.patch_size),
            str(row.n_clusters),
            str(row.n_patches),
            f"{row.scale:g}",
            f"{c.mean_arm:.4f}",
            f"{row.delta:+.4f}",
            one + stars(c.p_one_sided),
            two,
            holm,
            f"{c.wins}/{c.n}",
        )
    console.print(best)
    say(
        console,
        "Loss delta: torch's default minus Pre-Warm, positive is a gain. All rows: --json, or "
        "results.csv.",
    )


def print_patch_fit(optima: Sequence[Optimum], console: Console) -> None:
    """Print the best patch counts and the c of Equation 6, beside the paper's."""
    table = new_table(
        "Section 4.4: the best n_patches and the c of Equation 6",
        ("data set", False),
        ("mean ||p||", True),
        ("best here", True),
        ("not told apart from it", True),
        ("c", True),
        ("best, paper", True),
    )
    for optimum in optima:
        low, high = optimum.not_worse
        paper = COLOUR_OPTIMA.get(optimum.dataset)
        table.add_row(
            optimum.dataset,
            f"{optimum.patch_norm:.3f}",
            str(optimum.n_patches),
            f"{low} to {high}",
            f"{optimum.c:.2f}",
            "-" if paper is None else str(paper),
        )
    console.print(table)
    if optima:
        fitted = fit_constant([(each.n_patches, each.patch_norm) for each in optima])
        say(
            console,
            f"c by least squares over {len(optima)} data set{'s' if len(optima) > 1 else ''}: "
            f"{fitted:.2f}; the paper: {PATCH_NORM_CONSTANT} from two. Where many counts cannot be "
            "told apart from the best, the data do not determine c.",
        )
