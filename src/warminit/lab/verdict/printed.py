"""cells -> the table for `print(analysis)` and notebooks."""

from collections.abc import Sequence

from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.scale import Scale, p_text


def printed(
    cells: Sequence[Cell], metric: str, scale: Scale, baseline: str, places: Sequence[str] | None
) -> tuple[list[str], list[list[str]]]:
    """Return headings and one row per cell.

    Args:
        cells: Cells of one study, in its order.
        metric: Primary metric.
        scale: Scale of the printed values.
        baseline: Label of the arm that the others are compared with.
        places: Title of each cell's data set; None leaves out the columns for data set and model.
    """
    p = "adjusted p" if any(c.comparison and c.comparison.decision for c in cells) else "Holm p"
    unit = f", {scale.unit}" if scale.unit else ""
    level = f"{metric.replace('_', ' ')}{', %' if scale.percent else ''}"
    headings = ["arm", "outcome", "seeds", level, f"difference{unit}", "interval", p]
    rows = [_row(cell, scale, baseline) for cell in cells]
    if places is not None:
        headings = ["data set", "model", *headings]
        rows = [
            [place, cell.model, *row] for place, cell, row in zip(places, cells, rows, strict=True)
        ]
    return headings, rows


def _row(cell: Cell, scale: Scale, baseline: str) -> list[str]:
    c = cell.comparison
    low, high = (c.confidence_interval if c else None) or (None, None)
    return [
        cell.arm,
        c.outcome if c else "baseline" if cell.arm == baseline else "not finished",
        f"{len(cell.scores)}{f', {len(cell.failed)} failed' if cell.failed else ''}",
        scale.level(cell.mean),
        scale.difference(c.mean_difference if c else None),
        "" if low is None else f"{scale.difference(low)} to {scale.difference(high)}",
        p_text(c.p_holm if c else None),
    ]
