"""the command `warminit`: arguments -> laboratory -> terminal and files."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warminit.errors import WarminitError

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.study import Study

app = typer.Typer(
    name="warminit",
    help="Start a vision network from its own data, and measure honestly whether that helps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Dataset = Annotated[str, typer.Option(help="Data set: a name, a hub id, a folder or a file.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(envvar="WARMINIT_DATA", help="Folder laid out like the Hugging Face hub."),
]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of one run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")]


@app.command()
def compare(
    *,
    dataset: Dataset = "fashion-mini",
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = (
        "torch-default,prewarm,norm-matched-random"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds; 8 are the paper's.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of a run.")] = 200,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 64,
    out: Out = Path("warminit-results/compare"),
    data_root: DataRoot = None,
    device: Device = "cpu",
    threads: Threads = 1,
) -> None:
    """Train the same network from each start, seed by seed, and say whether it matters.

    With no arguments: 8 seeds, 200 steps at batch 64 on the embedded images, a quick demonstration.
    The paper's protocol is --steps 5000 --batch-size 256. What has finished is not run again.
    """
    from warminit.lab.study import Study

    names = [name.strip() for name in arms.split(",") if name.strip()]
    study = Study.create(
        "the comparison",
        name="compare",
        datasets=[dataset],
        arms=names,
        baseline=names[0] if names else "",
        seeds=seeds,
        protocol={"steps": steps, "batch_size": batch_size},
    )
    _run(study, out, data_root=data_root, device=device, threads=threads)


@app.command()
def rules(
    *,
    dataset: Dataset = "fashion-mini",
    out_channels: Annotated[int, typer.Option(min=2, help="F, filters of the layer.")] = 32,
    kernel_size: Annotated[int, typer.Option(min=1, help="K, kernel size of the layer.")] = 3,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Derive Pre-Warm's hyperparameters from a data set's training split, as Table 1 does."""
    from warminit.lab.datasets import load_dataset
    from warminit.rules import derive_rules

    data = load_dataset(dataset, data_root=data_root)
    hyper = derive_rules(data.train_images, out_channels, kernel_size)
    values: dict[str, Any] = {
        "n_clusters": hyper.n_clusters,
        "n_patches": hyper.n_patches,
        "patch_size": kernel_size,
        "scale": hyper.scale,
        "otsu_threshold": hyper.otsu_threshold,
        "foreground_density": hyper.foreground_density,
        "patch_norm": hyper.patch_norm,
    }
    if as_json:
        typer.echo(json.dumps({**values, "dataset": data.name, "partial": data.partial}))
        return
    from rich.table import Table

    table = Table(title=f"{data.name}{' (partial)' if data.partial else ''}", title_justify="left")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column("where it comes from")
    for name, value in values.items():
        text = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
        table.add_row(name, text, hyper.provenance.get(name, ""))
    _console().print(table)


def _run(study: "Study", out: Path, *, data_root: Path | None, device: str, threads: int) -> None:
    """Run a study, show it and leave its tables, also where it is interrupted."""
    from warminit.lab.analysis import analyse
    from warminit.lab.display import live_progress, print_analysis
    from warminit.lab.driver import finished_runs, run_study
    from warminit.lab.engines.job import DataSource
    from warminit.lab.export import export

    console = _console()
    protocol = study.protocol
    console.print(
        f"{', '.join(study.datasets)}: {len(study.arms)} arms x {len(study.seeds)} seeds, "
        f"{protocol.steps} steps at batch {protocol.batch_size}"
        + ("" if protocol.steps >= 5000 else " (the paper: 5,000 at 256)"),
        highlight=False,
    )
    source = DataSource(
        data_root=None if data_root is None else str(data_root), device=device, threads=threads
    )
    interrupted = False
    try:
        with live_progress(console) as listener:
            runs = run_study(study, out, source, listener=listener)
    except KeyboardInterrupt:
        interrupted = True
        runs = finished_runs(study, out, source)
    analysis = analyse(study, runs)
    print_analysis(analysis, console)
    for file_format in ("csv", "json"):
        export(analysis, out / f"results.{file_format}", file_format)
    console.print(f"Results: {out / 'results.csv'} and {out / 'results.json'}", highlight=False)
    if interrupted:
        console.print("Interrupted: the same command goes on from here.")
        raise typer.Exit(130)
    if any(run.error is not None for run in runs):
        raise typer.Exit(1)


def _console() -> "Console":
    from rich.console import Console

    return Console()


def main() -> None:
    """Run the command; every expected error is one line on standard error and exit code 2."""
    try:
        app()
    except WarminitError as error:
        typer.echo(f"warminit: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
