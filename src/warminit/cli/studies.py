"""`warminit compare` and `warminit run`: options or a study file -> runs, tables, verdicts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warminit.cli import deciding, options, training
from warminit.cli.execution import (
    Ending,
    Place,
    close,
    execute,
)
from warminit.cli.forecast import estimated, print_estimate
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json
from warminit.cli.placing import placed
from warminit.errors import DataNotAvailableError

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.study.study import Study

# The names of the files, without reading them: `--help` loads nothing of the laboratory.
SHIPPED = tuple(
    sorted(
        path.stem
        for path in (Path(__file__).parents[1] / "lab" / "study" / "builtin").glob("*.toml")
    )
)
DEMO_ARMS = "torch-default,prewarm,norm-matched-random,whitening-small-head"
DEMO_STEPS = 200
DEMO_BATCH = 64


@placed()
def compare(
    *,
    datasets: options.Datasets = "fashion-mini",
    arms: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Initializers to compare, separated by commas, or all; see `arms`. Together: a+b.",
            show_default=DEMO_ARMS.replace(",", ", "),
        ),
    ] = DEMO_ARMS,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Baseline arm of all comparisons.",
            show_default="the first",
        ),
    ] = None,
    models: options.Models = "simplecnn",
    seeds: options.Seeds = None,
    until_decided: deciding.UntilDecided = False,
    max_seeds: deciding.MaxSeeds = None,
    steps: options.Steps = DEMO_STEPS,
    batch_size: options.BatchSize = DEMO_BATCH,
    precision: options.Precision = "float32",
    validation: options.Validation = 0,
    optimizer: training.Optimizer = "adam",
    lr: training.LearningRate = None,
    warmup: training.Warmup = 0,
    weight_decay: training.WeightDecay = 0.0,
    augmentation: training.Augmentation = "none",
    tune_lr: training.TuneRates = None,
    loss_margin: options.LossMargin = 0.02,
    dry_run: options.DryRun = False,
    place: Place,
    as_json: options.AsJson = False,
) -> None:
    """Train the same network with each initializer, seed by seed, and test the difference.

    Without arguments: 8 seeds, 200 steps at batch 64 on the embedded images, a quick demonstration.
    The paper's protocol is --steps 5000 --batch-size 256. Finished runs are not repeated. With
    --until-decided, seeds run until every comparison is decided, with controlled error rates.
    """
    from warminit.lab.study.study import Study

    chosen = options.names(arms) or []
    if chosen == ["all"]:
        from warminit.initializers import method_names

        chosen = list(method_names())
    study = Study.create(
        "the comparison",
        name="compare",
        datasets=options.names(datasets) or [],
        models=options.names(models) or [],
        arms=chosen,
        baseline=baseline or (chosen[0] if chosen else ""),
        **deciding.seeds_of(seeds, max_seeds, until_decided=until_decided),
        protocol={
            "steps": steps,
            "batch_size": batch_size,
            "precision": precision,
            "optimizer": optimizer,
            "lr_start": lr,
            "lr_end": None if lr is None else lr / 100,
            "warmup": warmup,
            "weight_decay": weight_decay,
            "augmentation": augmentation,
        },
        validation=validation,
        loss_margin=loss_margin,
        tune=None if tune_lr is None else {"lr_start": options.names(tune_lr) or []},
    )
    _run(study, place, dry_run=dry_run, as_json=as_json)


@placed()
def run(
    *,
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            autocompletion=options.completes(*SHIPPED),
            help=f"A study file (.toml), or one of: {', '.join(SHIPPED)}.",
        ),
    ],
    datasets: options.StudyDatasets = None,
    models: options.StudyModels = None,
    seeds: options.StudySeeds = None,
    steps: options.StudySteps = None,
    batch_size: options.StudyBatchSize = None,
    precision: options.StudyPrecision = None,
    validation: options.StudyValidation = None,
    rule_derived: options.RuleDerived = False,
    dry_run: options.DryRun = False,
    place: Place,
    engine: options.Engine = "local",
    address: options.Address = None,
    cpus_per_run: options.CpusPerRun = None,
    gpus_per_run: options.GpusPerRun = None,
    retries: options.Retries = 2,
    time_limit: options.TimeLimit = None,
    save_weights: options.SaveWeights = False,
    as_json: options.AsJson = False,
) -> None:
    """Run a study, data sets x models x arms x seeds, and print its tables and verdicts.

    Missing options come from the study. After an interruption, the same command continues. A
    changed option means other runs, which never mix with the finished runs.
    """
    from warminit.lab.engines.options import EngineOptions
    from warminit.lab.study.builtin import changed_study, load_study

    changed = changed_study(
        load_study(study),
        source=f"study {study!r} with these options",
        datasets=options.names(datasets),
        models=options.names(models),
        seeds=seeds,
        validation=validation,
        patch_counts="rule" if rule_derived else None,
        protocol={"steps": steps, "batch_size": batch_size, "precision": precision},
    )
    chosen = EngineOptions(
        engine,  # type: ignore[arg-type]  # any text; `check` refuses what is no engine
        workers=place.workers,
        retries=retries,
        time_limit=time_limit,
        address=address,
        cpus_per_run=cpus_per_run,
        gpus_per_run=gpus_per_run,
    )
    place = replace(place, engine=chosen, save_weights=save_weights)
    _run(changed, place, dry_run=dry_run, as_json=as_json)


def _run(study: "Study", place: Place, *, dry_run: bool, as_json: bool) -> None:
    console = new_console(as_json=as_json)
    try:
        if dry_run:
            show_estimate(study, place, console, as_json=as_json)
            return
        ending = execute(study, place, console)
    except DataNotAvailableError as error:
        text = f"{error} Or name only the other data sets with --datasets."
        raise DataNotAvailableError(text) from error
    if as_json:
        from warminit.lab.verdict.rows import summary

        print_json(summary(ending.analysis) | ending.files())
    else:
        from warminit.lab.terminal.display import print_analysis

        print_analysis(ending.analysis, console)
        _print_fit(ending, console)
    close(ending, console)


def show_estimate(
    study: "Study",
    place: Place,
    console: "Console",
    *,
    as_json: bool,
    absent: Mapping[str, str] | None = None,
) -> None:
    """Print the estimated cost of a study, as text or JSON, and its missing or partial data.

    `absent` has data sets that were already left out of the study, each with the reason.
    """
    from dataclasses import asdict

    forecast = estimated(study, place, console)
    missing = {**(absent or {}), **forecast.missing}
    if as_json:
        content = {
            "study": study.model_dump(mode="json"),
            "estimate": asdict(forecast.estimate),
            "missing": missing,
            "partial": list(forecast.partial),
        }
        print_json(content | {"folder": str(place.folder(study))})
    else:
        print_estimate(study, place, replace(forecast, missing=missing), console)


def _print_fit(ending: Ending, console: "Console") -> None:
    """Print the fit of c if the study sweeps patch counts on colour images (Section 4.4)."""
    from warminit.lab.paper.patch_fit import find_optima, sweeps_patches

    if not sweeps_patches(ending.analysis):
        return
    from warminit.lab.runs.plan import model_rules
    from warminit.lab.terminal.grid_display import print_patch_fit

    model = ending.analysis.study.models[0]
    norms = {name: model_rules(data, model).patch_norm for name, data in ending.datasets.items()}
    known = {name: norm for name, norm in norms.items() if norm is not None}
    if known:
        print_patch_fit(find_optima(ending.analysis, known), console)
