"""`warminit report`: a study's folder -> its page, rewritten and optionally opened."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import options
from warminit.cli.exporting import print_written, study_folder
from warminit.cli.loading import loaded
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json
from warminit.errors import WarminitError
from warminit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.data.load import ImageDataset
    from warminit.lab.study.study import Study


def report(
    *,
    study: options.StoredStudy,
    show: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.", show_default="off")
    ] = False,
    out: Annotated[Path | None, options.out_file("report.html in the study's folder")] = None,
    data_root: options.DataRoot = None,
    resize: options.Resize = None,
    allow_mixed: options.AllowMixed = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Rewrite a study's report page, one file that opens offline. The study may be unfinished.

    Available data sets (embedded, or under --data-root) add images, filters and pixels.
    """
    from warminit.lab.report import FILE_NAME, write_report
    from warminit.lab.store.stored_study import read_study
    from warminit.lab.verdict.analysis import analyse

    folder = study_folder(study)
    found = read_study(folder)
    console = new_console(as_json=as_json)
    datasets = _at_hand(found.study, data_root, resize, console, quiet=quiet)
    evaluated = {name: len(dataset.test_images) for name, dataset in datasets.items()}
    analysis = analyse(
        found.study,
        found.runs,
        allow_mixed=allow_mixed,
        partial=found.partial,
        evaluated=evaluated,
    )
    path = write_report(analysis, out or folder / FILE_NAME, datasets=datasets)
    if as_json:
        print_json({"file": str(path), "runs": len(analysis.runs), "missing": analysis.missing})
    else:
        print_written(path, analysis, console)
    if show and not webbrowser.open(path.absolute().as_uri()):
        raise WarminitError(f"no browser was found. Open {path.absolute()} yourself.")


def _at_hand(
    study: "Study", data_root: str | None, resize: int | None, console: "Console", *, quiet: bool
) -> "dict[str, ImageDataset]":
    """Load the study's data sets that need no network, since a page should not download data."""
    from warminit.lab.data.sources import EMBEDDED

    found = {}
    for name in study.datasets:
        local = name in EMBEDDED or data_root is not None or expanded(name).exists()
        if not local:
            continue
        try:
            dataset = loaded(name, data_root, resize, console, quiet=quiet)
            validated = dataset.with_validation(study.validation) if study.validation else dataset
        except WarminitError:
            continue
        found[name] = validated
    return found
