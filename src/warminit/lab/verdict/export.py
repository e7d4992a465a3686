"""Analysis -> files: one row per run as CSV or parquet, a LaTeX table, and everything as JSON."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from warminit.errors import unknown
from warminit.lab.store.plain_json import plain_json
from warminit.lab.store.whole_file import written_whole
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import cell_rows, p_heading, scale_of
from warminit.lab.verdict.rows import run_rows, summary


def runs_table(analysis: Analysis) -> pd.DataFrame:
    """Return `run_rows` as a table; whole numbers stay whole even if some are missing."""
    table = pd.DataFrame(run_rows(analysis))
    whole = [name for name in table.columns if name.startswith("steps_to_")]
    return table.astype(dict.fromkeys(whole, "Int64"))


def to_json(analysis: Analysis) -> str:
    """Return the study, its runs with curves, and its comparisons with every test, as JSON."""
    return "".join(_json_pieces(analysis))


def _json_pieces(analysis: Analysis) -> Iterator[str]:
    """Yield the text of `to_json` run by run: ten thousand runs at once take a gigabyte."""
    comparisons = [
        {"dataset": cell.dataset, "model": cell.model, "scores": cell.scores}
        | cell.comparison.values()
        | {"cross_entropy": cell.cross_entropy and cell.cross_entropy.values()}
        | {"failures": cell.failures and asdict(cell.failures)}
        for cell in analysis.cells
        if cell.comparison is not None
    ]
    content = summary(analysis) | {"runs": [], "comparisons": comparisons}
    before, empty, after = plain_json(content).partition('\n "runs": []')
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
        # No JSON string contains a line break, so every line can be indented.
        yield ("," if number else "") + f"\n{plain_json(values)}".replace("\n", "\n  ")
    yield ("\n " if analysis.runs else "") + f"]{after}\n"


def _write_json(analysis: Analysis, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_json_pieces(analysis))


def to_latex(analysis: Analysis) -> str:
    """Return the table of comparisons for a paper, in booktabs style, with Table 3's stars."""
    unit = scale_of(analysis).unit or analysis.study.metric
    rows = []
    for row in cell_rows(analysis):
        text = row.texts
        rows.append(
            {
                "data set": text.dataset,
                "model": row.model,
                "arm": row.arm,
                "seeds": row.seeds,
                row.metric: f"{text.mean} ± {text.sd}".removesuffix(" ± "),
                f"difference ({unit})": f"{text.difference} [{text.interval}]".removesuffix(" []"),
                "one-sided p": f"{text.p_one_sided}{text.stars}",
                p_heading(analysis): text.p_holm,
                "wins": text.wins,
                "cross-entropy (nats)": text.nats,
            }
        )
        if analysis.study.sequential is not None:
            del rows[-1]["one-sided p"]
    # "escape" covers the cells only; the headings come from the metric's name.
    table = pd.DataFrame(rows)
    if analysis.study.own_loop:  # both are inside the loop
        table = table.drop(columns=["data set", "model"])
    table.columns = [str(name).replace("_", r"\_") for name in table.columns]
    return str(table.to_latex(index=False, escape=True))


def _write_csv(analysis: Analysis, path: Path) -> None:
    runs_table(analysis).to_csv(path, index=False)


def _write_parquet(analysis: Analysis, path: Path) -> None:
    runs_table(analysis).to_parquet(path, index=False)


def _write_latex(analysis: Analysis, path: Path) -> None:
    path.write_text(to_latex(analysis), encoding="utf-8")


_WRITERS: dict[str, Callable[[Analysis, Path], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "json": _write_json,
    "latex": _write_latex,
}
FORMATS = tuple(_WRITERS)
ENDINGS = {"csv": "csv", "parquet": "parquet", "json": "json", "latex": "tex"}
"""File name ending of each format."""


def export(analysis: Analysis, path: Path, file_format: str) -> Path:
    """Write a study's results to a file; an interrupted write leaves no partial file.

    Args:
        analysis: Analysis to write.
        path: Path of the file.
        file_format: `csv` or `parquet` for one row per run, `latex` for the table of comparisons,
            `json` for everything.

    Raises:
        WarminitError: If the format is unknown or the file cannot be written.
    """
    check_format(file_format)
    with written_whole(path) as place:
        _WRITERS[file_format](analysis, place)
    return path


def check_format(file_format: str) -> None:
    """Raise WarminitError if a format is not one of `FORMATS`."""
    if file_format not in FORMATS:
        raise unknown("format", file_format, FORMATS)
