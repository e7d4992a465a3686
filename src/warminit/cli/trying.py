"""`warminit try`: your network, your images -> one short sequential study and one sentence."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import options
from warminit.cli.command_line import again
from warminit.cli.deciding import MaxSeeds
from warminit.cli.execution import Place, close, estimated, execute
from warminit.cli.output import console as new_console
from warminit.cli.output import duration, print_json
from warminit.paths import expanded

if TYPE_CHECKING:
    from warminit.lab.study.study import Study
    from warminit.lab.verdict.analysis import Analysis

BASELINE = "torch-default"
STEPS, BATCH = 200, 64
MARGIN = 0.5
"""Points of accuracy: who asks whether to bother does not mean less."""

ANSWERS = {
    "helps": "Yes",
    "harms": "No",
    "equivalent": "No",
    "undecided": "This study cannot tell",
    "not tested": "This study cannot tell",
}


def try_(
    context: typer.Context,
    *,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="module:function of your network, or a name."),
    ],
    images: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Your images: a folder, a file, a hub id or a name.",
            show_default="none: give it",
        ),
    ],
    initializer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What to try; see `arms`.", show_default="that of init_"),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(metavar="POINTS", help="Differences below this do not matter to you."),
    ] = MARGIN,
    max_seeds: MaxSeeds = None,
    steps: options.Steps = STEPS,
    batch_size: options.BatchSize = BATCH,
    out: options.Out = None,
    data_root: options.DataRoot = None,
    resize: options.Resize = None,
    device: options.Device = "cpu",
    threads: options.Threads = 1,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Say whether an initializer is worth it for your network and images, and what that costs.

    Trains the network from torch's default and from the initializer, seed by seed, until the
    difference is clear or is clearly below the margin. `module:function` is called with
    in_channels, image_size and n_classes. `warminit.lab.compare` does it in your own loop.
    """
    from warminit.initializers import DEFAULT_METHOD
    from warminit.lab.study.study import Study

    here = expanded(images)
    study = Study.create(
        "the trial",
        name="try",
        datasets=[str(here) if here.exists() else images],
        models=[model],
        arms=[BASELINE, initializer or DEFAULT_METHOD],
        baseline=BASELINE,
        margin=margin / 100,
        sequential={} if max_seeds is None else {"max_seeds": max_seeds},
        protocol={"steps": steps, "batch_size": batch_size},
        patch_counts="own",
    )
    place = Place(
        out=out or Path("warminit-results") / "try",
        data_root=data_root,
        resize=resize,
        device=device,
        threads=threads,
        workers=workers,
        quiet=quiet,
        command=again(context),
    )
    console = new_console(as_json=as_json)
    forecast = estimated(study, place, console)
    found = forecast.estimate
    cost = (
        f"Cost: at most {found.to_do:,} runs of {steps:,} steps, at most "
        f"{duration(found.seconds)} on this machine; fewer where the answer is clear sooner."
    )
    console.print(cost, highlight=False, markup=False)
    ending = execute(study, place, console)
    said = answer(study, ending.analysis)
    if as_json:
        from warminit.lab.verdict.rows import summary

        print_json({"answer": said} | summary(ending.analysis) | ending.files())
    else:
        console.print(said, highlight=False, markup=False)
    close(ending, console)


def answer(study: "Study", analysis: "Analysis") -> str:
    """Return the study's answer in one sentence."""
    comparisons = analysis.comparisons
    if not comparisons:
        return "No answer: no seed has finished in both arms."
    verdict = comparisons[0].verdict
    return f"{ANSWERS[comparisons[0].outcome]}, after {study.protocol.steps:,} steps: {verdict}"
