"""data set, run -> filters of the first layer before and after initialization, recomputed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from warminit.initializers import get_method
from warminit.lab.data.load import ImageDataset
from warminit.lab.networks.build import build_model
from warminit.lab.runs.batches import first_batch, place_split
from warminit.lab.store.store import StoredRun
from warminit.look.plot import filter_weight
from warminit.models.find import find_layer
from warminit.models.randomness import random_state_kept, seed_everything


@dataclass(frozen=True, slots=True)
class Start:
    """Hold the initial state of a run.

    Attributes:
        before: Filters of the first layer before the arm, (F, C, *K).
        after: Filters of the first layer after the arm, (F, C, *K).
        changed: Indices of the filters that the arm changed.
        images: Batch of the arm, (N, C, H, W), standardized.
        pixels: Batch of the arm, (N, C, H, W), from 0 to 1.
    """

    before: Tensor
    after: Tensor
    changed: tuple[int, ...]
    images: Tensor
    pixels: Tensor


def start_of(dataset: ImageDataset, run: StoredRun) -> Start:
    """Build a run's model and apply its arm as `train` does, on the CPU, without training.

    If the run was on a CPU too, the weights have the bits of its initial weights. The caller's
    random state is restored.

    Raises:
        WarminitError: If the arm or the model is not available.
    """
    spec, place = run.spec, torch.device("cpu")
    arm = get_method(spec.arm.name)
    with random_state_kept(place):
        seed_everything(spec.seed, place)
        model = build_model(spec.model, dataset.in_channels, dataset.image_size, dataset.n_classes)
        split = place_split(dataset, "train", place)
        images = first_batch(split, spec.protocol.batch_size, spec.seed)
        layer = find_layer(model, images=images)
        before = filter_weight(layer).clone()
        seed_everything(spec.seed, place)
        arm(model, images.clone(), seed=spec.seed, **run.arm_parameters)
        after = filter_weight(layer).clone()
    changed = (before != after).flatten(1).any(1).nonzero().flatten().tolist()
    pixels = (images * split.std + split.mean).clamp(0, 1)
    return Start(before, after, tuple(changed), images, pixels)
