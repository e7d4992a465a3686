"""`warminit across`: folders of studies -> one table and one figure over all their settings."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import options
from warminit.cli.exporting import study_folder
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json
from warminit.paths import expanded

if TYPE_CHECKING:
    from warminit.lab.verdict.analysis import Analysis


def across(
    *,
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="Folders of studies' results, of kept results (study.toml, runs.csv), or names.",
        ),
    ],
    figure: Annotated[
        Path | None,
        typer.Option(
            parser=expanded,
            metavar="FILE",
            help="Write the performance profile: .svg, .png or .pdf.",
            show_default="none",
        ),
    ] = None,
    allow_mixed: options.AllowMixed = False,
    as_json: options.AsJson = False,
) -> None:
    """Combine many settings: data sets, networks and protocols.

    Each data set and network of each study is a setting. For each arm: the interquartile mean of
    its gains, how often it beats the baseline, and in how many settings it is significantly better
    or worse.
    """
    from warminit.lab.terminal.across_display import print_across
    from warminit.lab.verdict.settings import across_settings

    found = across_settings([_read(study, allow_mixed=allow_mixed) for study in studies])
    if figure is not None:
        from warminit.lab.figures.profile import profile
        from warminit.lab.figures.render import save

        save(profile(found), figure)
    if as_json:
        print_json(asdict(found) | {"figure": None if figure is None else str(figure)})
        return
    console = new_console()
    print_across(found, console)
    if figure is not None:
        console.print(f"Figure: {figure}", highlight=False, markup=False, soft_wrap=True)


def _read(text: str, *, allow_mixed: bool) -> "Analysis":
    from warminit.lab.verdict.analysis import read_analysis
    from warminit.lab.verdict.kept import FILES, read_kept

    folder = expanded(text)
    if all((folder / name).is_file() for name in FILES):
        return read_kept(folder)
    return read_analysis(study_folder(text), allow_mixed=allow_mixed)
