"""evaluated Tables 1 and 2 -> the paper's figures and ours, on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from warminit.lab.paper.published import INIT_SECONDS, TABLE_2
from warminit.lab.paper.reproduce import NOT_AVAILABLE, Candidate, Figure
from warminit.lab.paper.rules_tables import RuleEvaluation
from warminit.lab.terminal.display import DAGGER, MARK, new_table, print_errata, say


def print_table_1(
    figures: Sequence[Figure], candidates: Iterable[Candidate], console: Console
) -> None:
    """Print Table 1: the paper's figure, ours, and a mark if the printed figures differ."""
    columns = (("quantity", False), ("paper", True), ("here", True), ("", False), ("note", False))
    for candidate in candidates:
        partial = candidate.standing == "partial"
        title = f"{candidate.title} ({candidate.reason})" if partial else candidate.title
        table = new_table(title, *columns)
        for figure in figures:
            if figure.dataset == candidate.name:
                table.add_row(
                    figure.quantity,
                    "-" if figure.paper is None else _printed(figure.paper, figure.form, figure),
                    "-" if figure.here is None else format(figure.here, figure.form),
                    MARK if figure.differs else "",
                    figure.note,
                )
        console.print(table)
        if candidate.standing == "not available":
            say(console, f"{candidate.title}: {NOT_AVAILABLE}.")
        if partial:
            say(console, "Partial data: no reproduction, so the paper's figures are left out.")
        console.print()
    say(console, f"{MARK} differs from the paper as printed.")
    print_errata(console, [f.erratum for f in figures if f.erratum and f.paper is not None])


def _printed(value: float, form: str, figure: Figure) -> str:
    text = format(value, form)
    if figure.erratum is None:
        return text
    return f"{text}{DAGGER} ({format(type(value)(figure.erratum.corrected), form)})"


def print_table_2(
    evaluations: Sequence[RuleEvaluation],
    candidates: Iterable[Candidate],
    console: Console,
    processor: str,
) -> None:
    """Print Table 2: the paper's rules, then their values for each available data set."""
    symbolic = new_table(
        "Table 2: the rules",
        ("parameter", False),
        ("grayscale", False),
        ("colour", False),
        ("rationale", False),
    )
    for rule in TABLE_2:
        symbolic.add_row(rule.parameter, rule.grayscale, rule.colour, rule.rationale)
    console.print(symbolic)
    say(
        console,
        "F: filters of the layer. K: its kernel size. d: Otsu's foreground density. mean ||p||: "
        "mean L2 norm of mean-centered patches of raw pixels.",
        "",
    )
    table = new_table(
        "Evaluated here: F = 32, K = 3",
        ("data set", False),
        ("patch_\nsize", True),
        ("n_clus\nters", True),
        ("n_pat\nches", True),
        ("scale", True),
        ("from", False),
        ("init, s\npaper", True),
        ("init, s\nfast", True),
    )
    found = {evaluation.dataset: evaluation for evaluation in evaluations}
    for candidate in candidates:
        evaluation = found.get(candidate.name)
        if evaluation is None:
            table.add_row(candidate.title, "-", "-", "-", "-", NOT_AVAILABLE, "-", "-")
            continue
        hyper = evaluation.hyperparameters
        table.add_row(
            f"{candidate.title}{' (partial)' if evaluation.partial else ''}",
            str(hyper.patch_size[0]),
            str(hyper.n_clusters),
            str(hyper.n_patches),
            f"{hyper.scale:.2f}",
            f"d = {hyper.foreground_density:.4f}"
            if hyper.patch_norm is None
            else f"mean ||p|| = {hyper.patch_norm:.3f}",
            f"{evaluation.seconds['paper']:.3f}{'' if evaluation.within_claim else MARK}",
            f"{evaluation.seconds['fast']:.3f}",
        )
    console.print(table)
    say(
        console,
        f"init: one batch of 256 by the paper's engine and by the fast one, median of 5, on "
        f"{processor}. The paper claims under {INIT_SECONDS} s on a T4 GPU; {MARK} takes longer.",
        "Take Equation 5 as an empirical rule: its argument (2 informative patches a cluster) asks "
        "for F / d patches in all, not F / (4 d) an image. c = 6.65 was fitted to two data sets.",
    )
