"""Study, data sets -> planned runs. Every run gets its derived parameters and its key."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from warminit.errors import WarminitError
from warminit.initializers import Arm, get_arm
from warminit.lab.datasets import ImageDataset
from warminit.lab.environment import NUMERIC_VERSION, device_kind
from warminit.lab.models import build_model
from warminit.lab.optimization import learning_rates
from warminit.lab.study import RunSpec, Study
from warminit.layers import find_layer
from warminit.rules import Hyperparameters, derive_rules

PUBLISHED_PATCHES = {"mnist": 58, "fashion-mnist": 22, "cifar10": 28, "svhn": 16, "cifar100": 16}
"""n_patches of Table 1, by data set."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run with everything that decides its bits.

    Attributes:
        spec: Data set, model, arm, seed and protocol.
        arm_parameters: What the arm is called with: derived from the data, then given.
        key: SHA-256 of all that decides the result; equal keys are the same run.
    """

    spec: RunSpec
    arm_parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


def plan_runs(
    study: Study, datasets: Mapping[str, ImageDataset], *, device: str = "cpu", threads: int = 1
) -> tuple[PlannedRun, ...]:
    """Plan every run of a study.

    The rules are derived once for a data set and model, from the training split, and handed to
    every arm that names `n_patches` (or takes any keyword); parameters of the study come after and
    win. The arms of the study keep the paper's engine unless it says otherwise.

    Args:
        study: What is to be run.
        datasets: By the names of the study, with the validation split carved if it asks for one.
        device: Where the runs take place.
        threads: CPU threads of a run; they decide the order of floating point sums.

    Returns:
        The runs in the study's order, each key once.

    Raises:
        WarminitError: If an arm does not take a parameter that the study gives it.
    """
    rules = {
        (dataset, model): model_rules(datasets[dataset], model)
        for dataset in study.datasets
        for model in study.models
    }
    planned = []
    for spec in study.runs():
        hyper = rules[spec.dataset, spec.model]
        n_patches = hyper.n_patches
        if study.patch_counts == "as-published":
            n_patches = published_patches(spec.dataset)
        derived = {"n_patches": n_patches, "engine": "paper"}
        parameters = arm_parameters(get_arm(spec.arm.name), spec.arm.name, derived, spec)
        key = _key(spec, parameters, datasets[spec.dataset], device, threads)
        planned.append(PlannedRun(spec=spec, arm_parameters=parameters, key=key))
    return tuple(planned)


def model_rules(dataset: ImageDataset, model_name: str) -> Hyperparameters:
    """Derive Pre-Warm's rules for a model's first convolution from a training split."""
    model = build_model(model_name, dataset.in_channels, dataset.image_size, dataset.n_classes)
    conv = find_layer(model).module
    return derive_rules(dataset.train_images, conv.out_channels, conv.kernel_size)


def published_patches(dataset: str) -> int:
    """Return Table 1's n_patches for a data set."""
    if dataset not in PUBLISHED_PATCHES:
        raise WarminitError(
            f"patch_counts='as-published' has no value for data set {dataset!r}; the paper gives "
            f"{', '.join(PUBLISHED_PATCHES)}. Use patch_counts='rule'."
        )
    return PUBLISHED_PATCHES[dataset]


def arm_parameters(
    arm: Arm, name: str, derived: Mapping[str, Any], spec: RunSpec
) -> dict[str, Any]:
    """Return what an arm is called with: the derived values that it takes, then the study's."""
    names, any_keyword = _keywords(arm)
    unknown = [key for key in spec.arm.parameters if key not in names and not any_keyword]
    if unknown:
        raise WarminitError(
            f"arm {name!r} does not take {', '.join(unknown)}; it takes "
            f"{', '.join(sorted(names)) or 'no parameters'}. Correct the study's arms."
        )
    taken = {key: value for key, value in derived.items() if key in names or any_keyword}
    return {**taken, **spec.arm.parameters}


def _keywords(arm: Callable[..., Any]) -> tuple[set[str], bool]:
    """Return the names of an arm's own keywords, and whether it takes any other."""
    parameters = inspect.signature(arm).parameters.values()
    names = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    return names - {"seed"}, open_ended


def _key(
    spec: RunSpec,
    parameters: Mapping[str, Any],
    dataset: ImageDataset,
    device: str,
    threads: int,
) -> str:
    decides = {
        "data": dataset.fingerprint,
        "validation": spec.validation,
        "model": spec.model,
        "arm": spec.arm.name,
        "parameters": dict(parameters),
        "seed": spec.seed,
        "protocol": spec.protocol.model_dump(),
        "learning_rates": learning_rates(spec.protocol, spec.dataset),
        "device": device_kind(device),
        "threads": threads,
        "numeric_version": NUMERIC_VERSION,
    }
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
