"""options of several commands, each with one name, one type and one help text."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from warminit.paths import expanded

_place = partial(typer.Option, rich_help_panel="Where and how")
_output = partial(typer.Option, rich_help_panel="Output")

_STUDYS = "the study's"


def completes(*values: str) -> Any:
    """Return a completion function for an option with a few values."""

    def begun(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return begun


def count_or_seeds(given: str | int | list[int]) -> int | list[int]:
    """Return a count, or the seeds where there is a comma.

    Example:
        >>> count_or_seeds("8"), count_or_seeds("1,2,3"), count_or_seeds("42,")
        (8, [1, 2, 3], [42])
    """
    if not isinstance(given, str):
        return given  # a default
    parts = [part.strip() for part in given.split(",") if part.strip()]
    numbers = [int(part) for part in parts if part.isdecimal()]
    several = "," in given
    if not parts or len(numbers) < len(parts) or not (several or numbers[0]):
        raise typer.BadParameter(
            f"{given!r}: expected a count such as 8, or seeds such as 1,2,3. Give one of them."
        )
    return numbers if several else numbers[0]


def _datasets(shown: str | bool = True) -> Any:
    return typer.Option(
        "--datasets",
        "--dataset",
        metavar="NAMES",
        help="Data sets, separated by commas: names, hub ids, folders or files.",
        show_default=shown,
    )


def _models(shown: str | bool = True) -> Any:
    return typer.Option(
        "--models",
        "--model",
        metavar="NAMES",
        help="Networks, separated by commas: names, timm:name, or module:function.",
        show_default=shown,
    )


def _seeds(shown: str | bool = True) -> Any:
    return typer.Option(
        parser=count_or_seeds,
        metavar="N",
        help="Number of seeds, or the seeds as in 1,2,3; the paper has 8.",
        show_default=shown,
    )


def _steps(shown: str | bool = True) -> Any:
    return typer.Option(
        min=1,
        metavar="N",
        help="Optimizer steps of a run; the paper trains 5000.",
        show_default=shown,
    )


def _batch_size(shown: str | bool = True) -> Any:
    return typer.Option(
        min=2, metavar="N", help="Images per step; the paper has 256.", show_default=shown
    )


def _validation(shown: str | bool = True) -> Any:
    return typer.Option(
        min=0,
        metavar="N",
        help="Number of training images to set aside for evaluation instead of the test set.",
        show_default=shown,
    )


def _precision(shown: str | bool = True) -> Any:
    return typer.Option(
        metavar="NAME",
        help="float32, tf32 (on a GPU only), or bfloat16 (autocast).",
        autocompletion=completes("float32", "tf32", "bfloat16"),
        show_default=shown,
    )


def out_file(shown: str) -> Any:
    """Return the option of the one file that a command writes, named as `shown` by default."""
    return typer.Option(parser=expanded, metavar="FILE", help="File to write.", show_default=shown)


# The same options twice: with a default of the command's own, and with that of a study.
Datasets = Annotated[str, _datasets()]
Models = Annotated[str, _models()]
Seeds = Annotated[Any, _seeds("8")]
Steps = Annotated[int, _steps()]
BatchSize = Annotated[int, _batch_size()]
Validation = Annotated[int, _validation()]
StudyDatasets = Annotated[str | None, _datasets(_STUDYS)]
StudyModels = Annotated[str | None, _models(_STUDYS)]
StudySeeds = Annotated[Any, _seeds(_STUDYS)]
StudySteps = Annotated[int | None, _steps(_STUDYS)]
StudyBatchSize = Annotated[int | None, _batch_size(_STUDYS)]
StudyValidation = Annotated[int | None, _validation(_STUDYS)]

Precision = Annotated[str, _precision()]
StudyPrecision = Annotated[str | None, _precision(_STUDYS)]

LossMargin = Annotated[
    float,
    typer.Option(metavar="NATS", help="Margin below which a higher cross-entropy is not worse."),
]

OutChannels = Annotated[
    int, typer.Option(min=2, metavar="F", help="Number of filters of the layer.")
]
KernelSize = Annotated[int, typer.Option(min=1, metavar="K", help="Kernel size of the layer.")]
Seed = Annotated[
    int, typer.Option(min=0, metavar="N", help="Seed of the layer, the images and the arm.")
]
RuleDerived = Annotated[
    bool,
    typer.Option(
        "--rule-derived",
        help="Use n_patches of the rule, not the published one.",
        show_default="off",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print runs, estimated time and disk; run nothing.", show_default="off"
    ),
]
StoredStudy = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="Folder of a study's results, its study.sqlite, or its name in warminit-results.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=expanded,
        metavar="FOLDER",
        help="Folder for the results.",
        show_default="warminit-results/NAME",
    ),
]
DataRoot = Annotated[
    str | None,
    _place(
        envvar="WARMINIT_DATA",
        metavar="FOLDER",
        help="Folder or URL laid out like the Hugging Face hub, which replaces it.",
        show_default="the hub",
    ),
]
Resize = Annotated[
    int | None,
    _place(
        min=1, metavar="N", help="Resize every image to N x N pixels.", show_default="as they are"
    ),
]
Device = Annotated[
    str, _place(metavar="NAME", help="cpu, or cuda where there is one (never run on a GPU so far).")
]
Threads = Annotated[int, _place(min=1, metavar="N", help="CPU threads per run.")]
Workers = Annotated[
    int | None,
    _place(min=1, metavar="N", help="Parallel runs.", show_default="cores / threads; 8 on cuda"),
]
Engine = Annotated[
    str,
    _place(
        metavar="NAME",
        help="local, or ray for a cluster.",
        autocompletion=completes("local", "ray"),
    ),
]
Address = Annotated[
    str | None,
    _place(
        metavar="TEXT",
        help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT.",
        show_default="RAY_ADDRESS, or this machine",
    ),
]
CpusPerRun = Annotated[
    float | None,
    _place(metavar="N", help="CPUs that Ray reserves per run.", show_default="its threads"),
]
GpusPerRun = Annotated[
    float | None,
    _place(metavar="N", help="GPUs per run, or a share of one.", show_default="1 on cuda"),
]
Retries = Annotated[int, _place(min=0, metavar="N", help="Restarts of a lost or hanging run.")]
TimeLimit = Annotated[
    float | None,
    _place(
        metavar="SECONDS", help="Seconds after which a run counts as hanging.", show_default="none"
    ),
]
AllowMixed = Annotated[
    bool,
    _place(
        "--allow-mixed",
        help="Compare runs of different versions of torch, NumPy or scikit-learn.",
        show_default="off",
    ),
]
Track = Annotated[
    str | None,
    _output(
        metavar="NAME",
        autocompletion=completes("tensorboard", "mlflow"),
        help="Also write the runs to tensorboard or mlflow, in the folder of the results.",
        show_default="none",
    ),
]
SaveWeights = Annotated[
    bool,
    _output(
        "--save-weights",
        help="Keep each run's final weights, in weights/ of the folder of the results.",
        show_default="off",
    ),
]
Quiet = Annotated[
    bool,
    _output("--quiet", "-q", help="Show only the final results, no progress.", show_default="off"),
]
AsJson = Annotated[
    bool, _output("--json", help="Print JSON instead of tables.", show_default="off")
]


def names(text: str | None) -> list[str] | None:
    """Split names at commas; None and bare commas give None.

    Example:
        >>> names("mnist, cifar10,")
        ['mnist', 'cifar10']
    """
    found = [name.strip() for name in (text or "").split(",") if name.strip()]
    return found or None
