"""analysis of a tuned study -> the chosen learning rates, in shared sentences."""

from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.wording import counted

OWN_BEST = "Each arm at its own best learning rate."


def at_baselines_best(analysis: Analysis) -> str:
    """Return the heading of the second comparison."""
    return f"Every arm at the best learning rate of {analysis.study.baseline}."


def tuning_sentences(analysis: Analysis) -> list[str]:
    """Return one sentence per place with each arm's choice, and one per best at an edge."""
    tune = analysis.study.tune
    if tune is None:
        return []
    places: dict[tuple[str, str], list[str]] = {}
    edges = []
    for row in analysis.tuned:
        if not row.chosen:
            continue
        dataset, model, arm = row.cell
        places.setdefault((dataset, model), []).append(f"{arm} {row.lr_start:g}")
        if row.lr_start in (min(tune.lr_start), max(tune.lr_start)):
            side = "smallest" if row.lr_start == min(tune.lr_start) else "largest"
            edges.append(
                f"{analysis.place(dataset, model)}: the best learning rate of {arm}, "
                f"{row.lr_start:g}, is the {side} that was tried; its best may lie beyond."
            )
    seeds = counted(len(tune.seeds), "seed")
    told = [
        f"{analysis.place(*place)}: learning rates chosen on validation images with {seeds} of "
        f"their own: {', '.join(found)}."
        for place, found in places.items()
    ]
    return [*(told or ["The learning rates are not chosen yet."]), *edges]
