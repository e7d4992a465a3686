"""`warminit export`: a study's folder -> its results in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import options
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json
from warminit.errors import did_you_mean, unexpected
from warminit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.verdict.analysis import Analysis


def export(
    *,
    study: options.StoredStudy,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=options.completes("csv", "parquet", "json", "latex"),
            help="csv or parquet: a row per run; latex: the table of comparisons; json: "
            "everything.",
        ),
    ] = "csv",
    out: Annotated[Path | None, options.out_file("results.* in the study's folder")] = None,
    allow_mixed: options.AllowMixed = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the results of a study to a file; the study may be unfinished."""
    from warminit.lab.verdict.analysis import read_analysis
    from warminit.lab.verdict.export import ENDINGS, check_format
    from warminit.lab.verdict.export import export as write

    check_format(file_format)
    folder = study_folder(study)
    analysis = read_analysis(folder, allow_mixed=allow_mixed)
    path = write(analysis, expanded(out or folder / f"results.{ENDINGS[file_format]}"), file_format)
    if as_json:
        print_json({"file": str(path), "format": file_format, "runs": len(analysis.runs)})
        return
    print_written(path, analysis, new_console())


def print_written(path: Path, analysis: "Analysis", console: "Console") -> None:
    """Print the file that was written of an analysis, and of how many runs."""
    missing = f", {analysis.missing} missing" if analysis.missing else ""
    failed = f", {len(analysis.failed)} of them failed" if analysis.failed else ""
    text = f"{path}: {len(analysis.runs)} runs{failed}{missing}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def study_folder(text: str) -> Path:
    """Find a study's folder by its path, its store, or its name.

    Raises:
        WarminitError: If there is none; the text suggests the nearest.
    """
    from warminit.lab.store.stored_study import STORE_NAME

    usual = Path("warminit-results")
    for folder in (expanded(text), usual / text):
        if (folder / STORE_NAME).is_file():
            return folder
        if folder.name == STORE_NAME and folder.is_file():
            return folder.parent
    known = [path.parent.name for path in sorted(usual.glob(f"*/{STORE_NAME}"))]
    there = f"{usual} has {', '.join(known)}" if known else f"{usual} has none"
    raise unexpected(
        "study",
        text,
        f"a folder with {STORE_NAME}, which `warminit run` and `warminit compare` write; {there}",
        did_you_mean(text, known),
    )
