"""model, images -> input layer with the count and norm of Pre-Warm's filters, and other content."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Unpack, get_args

import numpy as np
import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.source import Batch, Images
from warminit.initializers.prewarm.method import kmeans_filters
from warminit.initializers.stems.conditioning import MakeFilters, condition_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.keywords import Algorithm, StemOptions
from warminit.report import InitReport

Matching = Literal["global", "per-filter"]
Content = Callable[[Tensor, Batch, torch.Generator], Tensor]
"""(Pre-Warm's filters, batch, generator) -> filters of the same shape and any norm."""
Norm = Callable[[Tensor], Tensor]
"""Filters -> matched size: one number for the bank, or one for each filter."""


def norm_matched_random(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    algorithm: Algorithm = "fast",
    matching: Matching = "global",
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set Gaussian filters with the count and standard deviation of Pre-Warm's filters.

    This is the control for scale. Conditioned filters are larger than the rest of the bank, so a
    gain over `torch-default` may come from their scale alone. A gain over this arm comes from their
    content.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: Training images (N, C, H, W), scaled as the model is fed.
        seed: Seed of Pre-Warm, and of the Gaussian draw.
        algorithm: Algorithm of the Pre-Warm that is matched.
        matching: "global" matches the standard deviation of the bank, "per-filter" the norm of each
            filter.
        **options: Options of `prewarm_`, including `layers` and `batches`.

    Returns:
        The report. The standard deviation (or the norms) of the set filters equal Pre-Warm's at
        this seed.
    """
    return condition_(
        model,
        images,
        _matched(_gaussian, algorithm, _norm(matching, _deviation)),
        method="norm-matched-random",
        seed=seed,
        parameters={"algorithm": algorithm, "matching": matching},
        **options,
    )


def shuffled_prewarm(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    algorithm: Algorithm = "fast",
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set Pre-Warm's filters with the values of each one permuted.

    This is the control for structure: values and norms stay, positions do not.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: Training images (N, C, H, W), scaled as the model is fed.
        seed: Seed of Pre-Warm, and of the permutations, one for each filter.
        algorithm: Algorithm of the Pre-Warm that is shuffled.
        **options: Options of `prewarm_`, including `layers` and `batches`.

    Returns:
        The report. Each set filter holds the values of a Pre-Warm filter at this seed.
    """
    return condition_(
        model,
        images,
        _matched(_shuffled, algorithm, _unchanged),
        method="shuffled-prewarm",
        seed=seed,
        parameters={"algorithm": algorithm},
        **options,
    )


def random_patches(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    algorithm: Algorithm = "fast",
    matching: Matching = "global",
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set raw patches of the images, neither centered nor clustered (Lehmann & Ebner, 2021).

    This is the control for clustering: unselected data with Pre-Warm's count and norm.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: Training images (N, C, H, W), scaled as the model is fed.
        seed: Seed of Pre-Warm, and of the choice of patches.
        algorithm: Algorithm of the Pre-Warm whose norm is matched.
        matching: "global" matches the norm of the bank, "per-filter" that of each filter.
        **options: Options of `prewarm_`, including `layers` and `batches`.

    Returns:
        The report. Each set filter is a multiple of a patch in one of the images.
    """
    return condition_(
        model,
        images,
        _matched(_raw_patches, algorithm, _norm(matching, _bank_norm)),
        method="random-patches",
        seed=seed,
        parameters={"algorithm": algorithm, "matching": matching},
        **options,
    )


def _matched(content: Content, algorithm: Algorithm, norm: Norm) -> MakeFilters:
    """Compute Pre-Warm's filters, replace their content and match their norm."""

    def make(
        batch: Batch, hyper: Hyperparameters, kernel_size: tuple[int, ...], seed: int
    ) -> Tensor:
        wanted = kmeans_filters(batch, hyper, kernel_size, seed, algorithm=algorithm).cpu().double()
        generator = torch.Generator().manual_seed(seed)
        filters = content(wanted, batch, generator).double()
        return (filters * (norm(wanted) / norm(filters))).float().to(batch.device)

    return make


def _gaussian(wanted: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
    return torch.randn(wanted.shape, generator=generator, dtype=torch.float64)


def _shuffled(wanted: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
    rows = wanted.flatten(1)
    orders = [torch.randperm(rows.shape[1], generator=generator) for _ in rows]
    return rows.gather(1, torch.stack(orders)).view_as(wanted)


def _raw_patches(wanted: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(len(batch.images), (len(wanted),), generator=generator)
    images = batch.images[chosen.to(batch.device)]
    one_each = replace(batch, images=images).patches(1, tuple(wanted.shape[2:]), generator)
    return one_each[: len(wanted)].cpu().view_as(wanted)


def _deviation(filters: Tensor) -> Tensor:
    return torch.tensor(np.std(filters.numpy()))


def _bank_norm(filters: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(filters)
    return norm


def _filter_norms(filters: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(filters.flatten(1), dim=1)
    norms = norms.clamp(min=torch.finfo(torch.float64).tiny)
    return norms.view(-1, *[1] * (filters.ndim - 1))


def _unchanged(filters: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.float64)


def _norm(matching: str, whole_bank: Norm) -> Norm:
    if matching not in get_args(Matching):
        raise WarminitError(
            f"matching={matching!r}: expected one of {', '.join(get_args(Matching))}."
        )
    return whole_bank if matching == "global" else _filter_norms
