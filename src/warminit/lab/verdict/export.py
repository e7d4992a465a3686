"""Analysis -> files: one row a run as CSV or parquet, a table for LaTeX, and everything as JSON."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from warminit.errors import unknown
from warminit.lab.store.whole_file import written_whole
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.rows import run_rows, summary
from warminit.lab.verdict.wording import stars


def runs_table(analysis: Analysis) -> pd.DataFrame:
    """Return `run_rows` as a table; whole numbers stay whole where some are missing."""
    table = pd.DataFrame(run_rows(analysis))
    whole = [name for name in table.columns if name.startswith("steps_to_")]
    return table.astype(dict.fromkeys(whole, "Int64"))


def comparisons_table(analysis: Analysis) -> pd.DataFrame:
    """Return one row an arm: mean and deviation, and its comparison with the baseline."""
    return pd.DataFrame(summary(analysis)["cells"])


def to_json(analysis: Analysis) -> str:
    """Return everything: study, runs with their curves, comparisons with every test."""
    return "".join(_json_pieces(analysis))


def _json_pieces(analysis: Analysis) -> Iterator[str]:
    """Yield the text of `to_json` run by run: at once it takes a gigabyte for ten thousand."""
    comparisons = [
        {"dataset": cell.dataset, "model": cell.model, "scores": cell.scores}
        | asdict(cell.comparison)
        for cell in analysis.cells
        if cell.comparison is not None
    ]
    content = summary(analysis) | {"runs": [], "comparisons": comparisons}
    before, empty, after = _json(content).partition('\n "runs": []')
    yield before + empty[:-1]
    for number, run in enumerate(analysis.runs):
        values = {
            "spec": run.spec.model_dump(mode="json"),
            "arm_parameters": dict(run.arm_parameters),
            "environment": dict(run.environment),
            "result": None if run.result is None else run.result.to_dict(),
            "error": run.error,
            "key": run.key,
            "finished_at": run.finished_at,
        }
        # No line of JSON ends within a text, so that all of them can be moved to the right.
        yield ("," if number else "") + f"\n{_json(values)}".replace("\n", "\n  ")
    yield ("\n " if analysis.runs else "") + f"]{after}\n"


def _json(content: Any) -> str:
    return json.dumps(_finite(content), indent=1, default=str, allow_nan=False)


def _write_json(analysis: Analysis, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_json_pieces(analysis))


def _finite(value: Any) -> Any:
    """Return plain values with None for what is not a number: JSON has neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_latex(analysis: Analysis) -> str:
    """Return the table of comparisons for a paper, in booktabs style, with Table 3's stars."""
    factor, unit = (100, "points") if analysis.in_points else (1, analysis.study.metric)
    digits = 2 if analysis.in_points else 4
    rows = []
    for cell in analysis.cells:
        c = cell.comparison
        spread = "" if cell.sd is None else f" ± {factor * cell.sd:.{digits}f}"
        interval = ""
        if c is not None and c.confidence_interval is not None:
            low, high = (factor * end for end in c.confidence_interval)
            interval = f" [{low:+.{digits}f}, {high:+.{digits}f}]"
        rows.append(
            {
                "data set": analysis.title(cell.dataset),
                "model": cell.model,
                "arm": cell.arm,
                "seeds": len(cell.scores),
                analysis.study.metric: ""
                if cell.mean is None
                else f"{factor * cell.mean:.{digits}f}{spread}",
                f"difference ({unit})": ""
                if c is None
                else f"{factor * c.mean_difference:+.{digits}f}{interval}",
                "one-sided p": ""
                if c is None or c.p_one_sided is None
                else f"{c.p_one_sided:.4f}{stars(c.p_one_sided)}",
                "Holm p": "" if c is None or c.p_holm is None else f"{c.p_holm:.4f}",
                "wins": "" if c is None else f"{c.wins}/{c.n}",
            }
        )
    # "escape" goes over the cells only; the headings come from the metric's name.
    table = pd.DataFrame(rows)
    table.columns = [str(name).replace("_", r"\_") for name in table.columns]
    return str(table.to_latex(index=False, escape=True))


_WRITERS: dict[str, Callable[[Analysis, Path], Any]] = {
    "csv": lambda analysis, path: runs_table(analysis).to_csv(path, index=False),
    "parquet": lambda analysis, path: runs_table(analysis).to_parquet(path, index=False),
    "json": _write_json,
    "latex": lambda analysis, path: path.write_text(to_latex(analysis), encoding="utf-8"),
}
FORMATS = tuple(_WRITERS)
ENDINGS = {"csv": "csv", "parquet": "parquet", "json": "json", "latex": "tex"}
"""File name ending of each format."""


def export(analysis: Analysis, path: Path, file_format: str) -> Path:
    """Write a study's results to a file, which is either whole or not there.

    Args:
        analysis: What is written.
        path: The file.
        file_format: `csv` and `parquet` hold a row a run, `latex` the table of comparisons, `json`
            everything.

    Raises:
        WarminitError: If the format is unknown or the file cannot be written.
    """
    check_format(file_format)
    with written_whole(path) as place:
        _WRITERS[file_format](analysis, place)
    return path


def check_format(file_format: str) -> None:
    """Raise WarminitError for a format that is not one of `FORMATS`."""
    if file_format not in FORMATS:
        raise unknown("format", file_format, FORMATS)
