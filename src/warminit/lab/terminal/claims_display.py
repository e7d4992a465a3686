"""claims of the paper -> a list with their data, cost and commands; and their findings."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from warminit.lab.paper.claims import Claim
from warminit.lab.paper.findings import Finding
from warminit.lab.terminal.display import new_table, say


def print_claims(
    claims: Sequence[Claim],
    at_hand: Mapping[str, str],
    costs: Mapping[str, str],
    console: Console,
) -> None:
    """Print one row per claim, and the commands that measure them.

    Args:
        claims: Claims, in printed order.
        at_hand: Availability by data set, in the words of `known_datasets`.
        costs: Time of each claim's runs on one core, in words.
        console: Terminal to print to.
    """
    table = new_table(
        "The paper's claims, and what an answer needs",
        ("", True),
        ("section", False),
        ("claim", False),
        ("data", False),
        ("runs", True),
        ("one core", False),
    )
    for number, claim in enumerate(claims, 1):
        runs = f"{claim.runs} x {claim.steps:,}" if claim.runs else "-"
        data = data_text(claim, at_hand)
        table.add_row(str(number), claim.section, claim.text, data, runs, costs[claim.key])
    console.print(table)
    say(console, "Runs x training steps, with their baseline. What measures each:")
    for command in dict.fromkeys(claim.command for claim in claims):
        numbers = [str(n) for n, claim in enumerate(claims, 1) if claim.command == command]
        say(console, f"  {', '.join(numbers)}: {command}")


def data_text(claim: Claim, at_hand: Mapping[str, str]) -> str:
    """Describe the availability of a claim's data sets."""
    absent = [
        f"{name}: {'not available' if at_hand[name] == 'no' else at_hand[name]}"
        for name in claim.datasets
        if at_hand[name] != "yes"
    ]
    return "; ".join(absent) or "available"


def print_findings(found: Iterable[Finding], console: Console) -> None:
    """Print the finding and the verdict of each claim."""
    for each in found:
        say(console, f"- {each.claim.text}")
        say(console, f"  paper: {each.claim.paper}; here: {each.here}")
        say(console, f"  {each.verdict}: {each.why}")
