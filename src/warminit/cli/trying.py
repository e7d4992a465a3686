"""`warminit try`: your network, your images -> one short sequential study and one sentence."""

from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import options
from warminit.cli.deciding import MaxSeeds
from warminit.cli.execution import Place, close, execute
from warminit.cli.forecast import estimated
from warminit.cli.output import console as new_console
from warminit.cli.output import duration, print_json
from warminit.cli.placing import placed
from warminit.paths import expanded

if TYPE_CHECKING:
    from warminit.lab.study.study import Study
    from warminit.lab.verdict.analysis import Analysis

BASELINE = "torch-default"
STEPS, BATCH = 200, 64
MARGIN = 0.5
"""Points of accuracy: smaller gains would not justify the effort."""

ANSWERS = {
    "helps": "Yes",
    "harms": "No",
    "equivalent": "No",
    "undecided": "This study cannot tell",
    "not tested": "This study cannot tell",
}


@placed("allow_mixed", "track")
def try_(
    *,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Your network as module:function, or a name."),
    ],
    images: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Your images: a folder, a file, a hub id or a name.",
            show_default="required",
        ),
    ],
    initializer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Initializer to try; see `arms`.",
            show_default="the default of init_",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(metavar="POINTS", help="Difference below which accuracies count as equal."),
    ] = MARGIN,
    max_seeds: MaxSeeds = None,
    steps: options.Steps = STEPS,
    batch_size: options.BatchSize = BATCH,
    place: Place,
    as_json: options.AsJson = False,
) -> None:
    """Test whether an initializer helps your network on your images, and estimate the cost first.

    The network trains with torch's default and with the initializer, seed by seed, until the
    difference is clear or clearly below the margin. `module:function` is called with in_channels,
    image_size and n_classes. Use `warminit.lab.compare` for your own loop.
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
    console = new_console(as_json=as_json)
    forecast = estimated(study, place, console)
    found = forecast.estimate
    cost = (
        f"Cost: at most {found.to_do:,} runs of {steps:,} steps, at most "
        f"{duration(found.seconds)} on this machine; fewer if the answer is clear sooner."
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
    """State the study's answer in one sentence."""
    comparisons = analysis.comparisons
    if not comparisons:
        return "No answer: no seed has finished in both arms."
    verdict = comparisons[0].verdict
    return f"{ANSWERS[comparisons[0].outcome]}, after {study.protocol.steps:,} steps: {verdict}"
