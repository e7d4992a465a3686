"""a Decision, texts of its numbers -> the claim of a sequential comparison, and its evidence."""

from warminit.lab.sequential.decision import Decision


def decided_sentence(
    decision: Decision,
    *,
    arm: str,
    baseline: str,
    n: int,
    difference: str,
    size: str,
    margin: str,
    interval: str,
    p: str,
) -> tuple[str, str]:
    """Return the claim of a sequential comparison, and the numbers that support it.

    Args:
        decision: Decision of the looks.
        arm: Label of the arm.
        baseline: Label of the baseline.
        n: Number of seeds that both arms have finished, up to the decision.
        difference: Mean difference with its sign and unit.
        size: Size of the difference with its unit and side: `0.41 points above`.
        margin: Margin with its unit.
        interval: Interval with its coverage; empty before the first look.
        p: Adjusted p; empty before the first look.
    """
    most = decision.max_seeds
    numbers = f"{difference} ({interval}), adjusted p {p}" if interval else difference
    seeds = f"{n} seed{'' if n == 1 else 's'}"
    if decision.outcome in ("helps", "harms"):
        return f"{arm} {decision.outcome}", (
            f"{size} {baseline} ({interval}), decided after {n} of at most {most} seeds, adjusted "
            f"p {p}."
        )
    if decision.outcome == "equivalent":
        claim = f"{arm} and {baseline} are equivalent within {margin}"
        return claim, f"{numbers}, decided after {n} of at most {most} seeds."
    if decision.outcome == "go on":
        return f"{arm} against {baseline} is open after {n} of at most {most} seeds", f"{numbers}."
    if decision.reason == "failure":
        claim = f"{arm} against {baseline} is undecidable, because a run failed"
        return claim, f"{difference} over {seeds} that both finished, not tested."
    why = (
        "the maximum"
        if decision.reason == "maximum"
        else f"ended early because {most} seeds are unlikely to decide"
    )
    return (
        f"no detectable difference between {arm} and {baseline} with {seeds}, {why}",
        f"{numbers}.",
    )
