"""Study, data sets -> planned runs with derived parameters and keys."""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from warminit.initializers import Initializer, get_method, keywords, taken_by
from warminit.initializers.stems.design_rules import Hyperparameters, derive_rules
from warminit.lab.data.load import ImageDataset
from warminit.lab.networks.build import build_model
from warminit.lab.runs.arithmetic import check_precision
from warminit.lab.runs.batches import check_batch_size
from warminit.lab.runs.environment import NUMERIC_VERSION, device_kind
from warminit.lab.study.key_checks import check_parameters, published_patches
from warminit.lab.study.protocol import affordable_interval, learning_rates
from warminit.lab.study.spec import ArmSpec, RunSpec
from warminit.lab.study.study import Study
from warminit.models.find import first_layer
from warminit.renamed import parameters_in_keys


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """Hold a run with everything that determines its bits.

    Attributes:
        spec: Data set, model, arm, seed and protocol.
        arm_parameters: Parameters of the arm: derived from the data, then given.
        key: SHA-256 of everything that determines the result; equal keys mean the same run.
        work: Approximate floating point operations of the run; the longest runs start first. 0 if
            all are alike.
    """

    spec: RunSpec
    arm_parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    work: float = field(default=0.0, compare=False)


def plan_runs(
    study: Study, datasets: Mapping[str, ImageDataset], *, device: str = "cpu", threads: int = 1
) -> tuple[PlannedRun, ...]:
    """Plan every run of a study.

    The rules are derived once per data set and model, from the training split. Every arm that
    accepts `patches_per_image` (or any keyword) gets them; parameters of the study have priority.
    Arms use the paper's k-means unless the study says otherwise. With `patch_counts = "own"` every
    arm is called as `init_` calls it.

    Args:
        study: Study to plan.
        datasets: Data sets by the study's names, with the validation split if the study has one.
        device: Device of the runs.
        threads: CPU threads per run; they determine the order of floating point sums.

    Returns:
        The runs in the study's order, each key once.

    Raises:
        WarminitError: If an arm does not accept a parameter, if a data set does not fill one batch,
            or if the device or its precision is not available.
    """
    check_precision(study.protocol.precision, device)
    for dataset in datasets.values():
        check_batch_size(len(dataset.train_images), study.protocol.batch_size, dataset.name)
    pairs = [(dataset, model) for dataset in study.datasets for model in study.models]
    rules = {pair: _derived(study, datasets[pair[0]], *pair) for pair in pairs}
    work: dict[tuple[str, str], float] = {}
    if len(pairs) > 1:  # one alone has nothing to be ordered by
        work = {pair: _work(study, datasets[pair[0]], pair[1]) for pair in pairs}
    planned = []
    for asked in study.runs():
        n_evaluated = len(datasets[asked.dataset].test_images)
        spec = _evaluated(asked, n_evaluated, fine=bool(study.thresholds))
        derived = rules[spec.dataset, spec.model]
        parameters = arm_parameters(get_method(spec.arm.name), derived, spec.arm)
        key = _key(spec, parameters, datasets[spec.dataset], device, threads)
        planned.append(
            PlannedRun(spec, parameters, key, work=work.get((spec.dataset, spec.model), 0.0))
        )
    return tuple(planned)


def _derived(study: Study, dataset: ImageDataset, name: str, model: str) -> dict[str, Any]:
    """Return the parameters that the study derives for its arms on a data set and model."""
    if study.patch_counts == "own":
        return {}
    if study.patch_counts == "as-published":
        n_patches = published_patches(name)
    else:
        n_patches = model_rules(dataset, model).n_patches
    return {"patches_per_image": n_patches, "algorithm": "paper"}


def _evaluated(spec: RunSpec, n_evaluated: int, *, fine: bool) -> RunSpec:
    """Write the default interval of a run into its protocol, and thus into its key."""
    interval = affordable_interval(spec.protocol, n_evaluated, fine=fine)
    if interval is None:
        return spec
    protocol = spec.protocol.model_copy(update={"eval_interval": interval})
    return spec.model_copy(update={"protocol": protocol})


def model_rules(dataset: ImageDataset, model_name: str) -> Hyperparameters:
    """Derive Pre-Warm's rules for a model's first convolution from a training split."""
    layer = first_layer(_throwaway(dataset, model_name), images=dataset.train_images[:1])
    return derive_rules(dataset.train_images, layer.out_channels, layer.kernel_size)


def _throwaway(dataset: ImageDataset, model_name: str) -> torch.nn.Module:
    """Build a model for inspection, without an effect on the caller's generator."""
    with torch.random.fork_rng(devices=[]):
        return build_model(model_name, dataset.in_channels, dataset.image_size, dataset.n_classes)


def _work(study: Study, dataset: ImageDataset, model_name: str) -> float:
    model = _throwaway(dataset, model_name).eval()
    image = torch.zeros(1, dataset.in_channels, *dataset.image_size)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), FlopCounterMode(display=False) as ops:
        model(image)
    protocol = study.protocol
    # A training step is a forward pass and a backward pass of twice its size.
    images = 3 * protocol.steps * protocol.batch_size
    images += len(protocol.evaluation_steps) * len(dataset.test_images)
    return float(ops.get_total_flops()) * images


def arm_parameters(arm: Initializer, derived: Mapping[str, Any], spec: ArmSpec) -> dict[str, Any]:
    """Return the parameters of an arm: the derived values that it accepts, then the study's."""
    check_parameters(arm, spec)
    return {**taken_by(arm, derived), **spec.parameters}


def takes(arm: Callable[..., Any], parameter: str) -> bool:
    """Tell whether an arm accepts a keyword."""
    names, any_keyword = keywords(arm)
    return any_keyword or parameter in names


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
        "parameters": parameters_in_keys(spec.arm.name, parameters),
        "seed": spec.seed,
        # Without a warm-up the key is that of the results from before there was one.
        "protocol": spec.protocol.model_dump(exclude=None if spec.protocol.warmup else {"warmup"}),
        "learning_rates": learning_rates(spec.protocol, spec.dataset),
        "device": device_kind(device),
        "threads": threads,
        "numeric_version": NUMERIC_VERSION,
    }
    for name in (spec.model, *spec.arm.names):
        if ":" in name:
            decides[f"source of {name}"] = own_source(name)
    return digest(decides)


def own_source(name: str) -> str:
    """Return the source of the user's module in `module:function`, or "".

    It is part of the key, so results of earlier code are not reused. For the user's main script,
    only the function counts.
    """
    module_name, _, function_name = name.partition(":")
    module = importlib.import_module(module_name)
    try:
        return inspect.getsource(
            getattr(module, function_name) if module_name == "__main__" else module
        )
    except (OSError, TypeError):
        return ""


def digest(decides: Mapping[str, Any]) -> str:
    """Return SHA-256 (hexadecimal) of plain values; the order of keys does not matter."""
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
