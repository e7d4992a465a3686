"""options of `warminit compare` on the training of a run."""

from functools import partial
from typing import Annotated

import typer

from warminit.cli.options import completes

_training = partial(typer.Option, rich_help_panel="Training")

Optimizer = Annotated[
    str,
    _training(
        metavar="NAME",
        help="adam, adamw, or sgd (momentum 0.9, Nesterov).",
        autocompletion=completes("adam", "adamw", "sgd"),
    ),
]
LearningRate = Annotated[
    float | None,
    _training(
        "--lr",
        metavar="RATE",
        help="Learning rate of the first step; the cosine schedule ends at a hundredth of it.",
        show_default="the data set's (Table 1)",
    ),
]
Warmup = Annotated[int, _training(min=0, metavar="N", help="Steps of the learning rate's warm-up.")]
WeightDecay = Annotated[float, _training(metavar="X", help="Weight decay of the optimizer.")]
Augmentation = Annotated[
    str,
    _training(
        metavar="NAME",
        help="none, or flip-crop (mirror and shift by up to 4 pixels).",
        autocompletion=completes("none", "flip-crop"),
    ),
]
TuneRates = Annotated[
    str | None,
    _training(
        metavar="RATES",
        help="First choose each arm's learning rate among these, on validation images.",
        show_default="none",
    ),
]
