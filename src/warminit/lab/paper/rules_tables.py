"""the paper's data sets -> Tables 1 and 2: every rule evaluated, beside the paper's figures."""

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from warminit.initializers.prewarm.method import prewarm_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.keywords import Algorithm
from warminit.lab.data.load import ImageDataset
from warminit.lab.networks.build import build_model
from warminit.lab.networks.simple import SimpleCNN
from warminit.lab.paper.published import INIT_SECONDS, erratum
from warminit.lab.paper.reproduce import Candidate, Figure
from warminit.lab.runs.batches import first_batch, place_split
from warminit.lab.runs.environment import environment
from warminit.lab.runs.plan import model_rules
from warminit.lab.study.key_checks import published_patches
from warminit.lab.study.protocol import Protocol, learning_rates
from warminit.lab.study.table1 import BATCH_SIZE, TABLE_1

MODEL = "simplecnn"
TIMED_SEED = 42
REPEATS = 5
"""Number of timed initializations, after one untimed; their median is reported."""


@dataclass(frozen=True, slots=True)
class RuleEvaluation:
    """Hold Table 2's rules for one data set, and the time of the initialization.

    Attributes:
        dataset: Name of the data set.
        partial: Whether its counts differ from the published ones.
        hyperparameters: Results of the rules for the first layer of the paper's network.
        seconds: Median time of the initialization of one batch of 256, by engine.
    """

    dataset: str
    partial: bool
    hyperparameters: Hyperparameters
    seconds: Mapping[Algorithm, float]

    @property
    def within_claim(self) -> bool:
        """Whether the paper's engine takes less than the 0.1 s that the paper claims."""
        return self.seconds["paper"] < INIT_SECONDS


def table_1(candidates: Iterable[Candidate]) -> list[Figure]:
    """Return every figure of Table 1 and of Sections 3.4 and 4.4, for each data set.

    Args:
        candidates: Candidates from `find_candidates`.

    Returns:
        The figures, data set by data set. `paper` is None throughout a partial data set, `here`
        throughout one that is not available.
    """
    return [figure for candidate in candidates for figure in _configuration(candidate)]


def _configuration(candidate: Candidate) -> list[Figure]:
    row = TABLE_1[candidate.name]
    here = {} if candidate.dataset is None else _measured(candidate.name, candidate.dataset)
    gray = row.in_channels == 1
    quantities = [
        ("in_channels", "C_in", row.in_channels, "d", ""),
        ("image_size", "image, pixels a side", row.image_size, "d", ""),
        ("fc_dim", "FC dim", row.fc_dim, "d", "the model's own fc1"),
        ("lr_start", "learning rate, first", row.lr_start, ".0e", "as the runs use it"),
        ("lr_end", "learning rate, last", row.lr_end, ".0e", "as the runs use it"),
        ("otsu_threshold", "Otsu threshold", row.otsu_threshold, ".4f", "256 bins, training split"),
        ("foreground_density", "foreground density d", row.foreground_density, ".4f", ""),
        ("patch_norm", "mean patch norm", row.patch_norm, ".3f", "of a random sample"),
        (
            "n_patches_rule",
            f"n_patches by {'Eq. 5' if gray else 'Eq. 6'}",
            row.n_patches_rule,
            "d",
            "",
        ),
        ("n_patches", "n_patches as published", row.n_patches, "d", "as the runs use it"),
        ("scale", "scale", row.scale, ".2f", ""),
    ]
    skipped = ("patch_norm",) if gray else ("otsu_threshold", "foreground_density")
    return [
        Figure(
            dataset=candidate.name,
            quantity=label,
            paper=None if candidate.standing == "partial" else paper,
            here=here.get(name),
            form=form,
            erratum=erratum("table1", candidate.name, name),
            note=note if name in here else "",
        )
        for name, label, paper, form, note in quantities
        if name not in skipped and not (paper is None and name not in here)
    ]


def _measured(name: str, dataset: ImageDataset) -> dict[str, Any]:
    model = cast(
        SimpleCNN,
        build_model(MODEL, dataset.in_channels, dataset.image_size, dataset.n_classes),
    )
    hyper = model_rules(dataset, MODEL)
    lr_start, lr_end = learning_rates(Protocol(), name)
    return {
        "in_channels": dataset.in_channels,
        "image_size": dataset.image_size[0],
        "fc_dim": model.fc1.in_features,
        "lr_start": lr_start,
        "lr_end": lr_end,
        "otsu_threshold": hyper.otsu_threshold,
        "foreground_density": hyper.foreground_density,
        "patch_norm": hyper.patch_norm,
        "n_patches_rule": hyper.n_patches,
        "n_patches": published_patches(name),
        "scale": hyper.scale,
    }


def table_2(
    candidates: Iterable[Candidate], *, device: str = "cpu", threads: int = 1
) -> list[RuleEvaluation]:
    """Evaluate Table 2's rules for every available data set, and time the initialization.

    Args:
        candidates: Candidates from `find_candidates`; those not available are left out.
        device: Device of the timed initialization.
        threads: CPU threads of the timed initialization.
    """
    return [
        RuleEvaluation(
            dataset=candidate.name,
            partial=candidate.dataset.partial,
            hyperparameters=model_rules(candidate.dataset, MODEL),
            seconds=init_seconds(candidate.name, candidate.dataset, device, threads),
        )
        for candidate in candidates
        if candidate.dataset is not None
    ]


def init_seconds(
    name: str, dataset: ImageDataset, device: str, threads: int
) -> dict[Algorithm, float]:
    """Time Pre-Warm on one standardized batch of 256 images, by engine.

    Returns:
        Seconds, the median of five after one that is not counted (it imports scikit-learn).
    """
    place = torch.device(device)
    batch = min(BATCH_SIZE, len(dataset.train_images))
    images = first_batch(place_split(dataset, "train", place), batch, TIMED_SEED)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engines: tuple[Algorithm, ...] = ("paper", "fast")
        return {engine: _median_seconds(name, dataset, images, engine, place) for engine in engines}
    finally:
        torch.set_num_threads(before)


def _median_seconds(
    name: str, dataset: ImageDataset, images: torch.Tensor, engine: Algorithm, place: torch.device
) -> float:
    model: nn.Module = build_model(
        MODEL, dataset.in_channels, dataset.image_size, dataset.n_classes
    ).to(place)
    fresh = model.get_parameter("conv1.weight").detach().clone()
    times = []
    for _ in range(REPEATS + 1):
        with torch.no_grad():
            model.get_parameter("conv1.weight").copy_(fresh)
        _wait(place)
        started = time.perf_counter()
        prewarm_(
            model,
            images,
            patches_per_image=published_patches(name),
            algorithm=engine,
            seed=TIMED_SEED,
        )
        _wait(place)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def processor(device: str, threads: int) -> str:
    """Return the name of the processor that times the initialization."""
    known = environment(device)
    if device.startswith("cuda"):
        return known["device"]
    return f"{known['processor']}, {threads} thread{'' if threads == 1 else 's'}"
