"""options of `warminit compare` on the training of a run."""

from typing import Annotated

import typer

from warminit.cli.options import completes

_TRAINING = "Training"

Optimizer = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="adam, adamw, or sgd (momentum 0.9, Nesterov).",
        autocompletion=completes("adam", "adamw", "sgd"),
        rich_help_panel=_TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="RATE",
        help="Learning rate of the first step; the cosine schedule ends at a hundredth of it.",
        show_default="the data set's (Table 1)",
        rich_help_panel=_TRAINING,
    ),
]
Warmup = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Steps of the learning rate's warm-up.",
        rich_help_panel=_TRAINING,
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option(metavar="X", help="Weight decay of the optimizer.", rich_help_panel=_TRAINING),
]
Augmentation = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="none, or flip-crop (mirror and shift by up to 4 pixels).",
        autocompletion=completes("none", "flip-crop"),
        rich_help_panel=_TRAINING,
    ),
]
TuneRates = Annotated[
    str | None,
    typer.Option(
        metavar="RATES",
        help="First choose each arm's learning rate among these, on validation images.",
        show_default="none",
        rich_help_panel=_TRAINING,
    ),
]
