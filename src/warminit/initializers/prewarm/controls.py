"""model, images -> input layer with Pre-Warm's count and norm, and other content."""

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
"""(Pre-Warm's filters, batch, generator) -> filters of the same shape and of any norm."""
Norm = Callable[[Tensor], Tensor]
"""Filters -> what is matched: one number for the bank, or one for each filter."""


def norm_matched_random(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    algorithm: Algorithm = "fast",
    matching: Matching = "global",
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set as many filters as Pre-Warm does, Gaussian, with its bank's standard deviation.

    The control for scale: conditioned filters are larger than the rest of the bank, so a gain over
    `torch-default` may come from their scale alone. A gain over this arm comes from their content.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        seed: Of Pre-Warm, and of the Gaussian draw.
        algorithm: Of the Pre-Warm that is matched.
        matching: "global" matches the bank's standard deviation, "per-filter" each filter's norm.
        **options: As for `prewarm_`, `layers` and `batches` included.

    Returns:
        The report; the set filters' standard deviation (or norms) equal Pre-Warm's at this seed.
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

    The control for structure: every value and every norm stays, and no position does.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        seed: Of Pre-Warm, and of the permutations, one for each filter.
        algorithm: Of the Pre-Warm that is shuffled.
        **options: As for `prewarm_`, `layers` and `batches` included.

    Returns:
        The report; each set filter holds the values of Pre-Warm's at this seed.
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

    The control for clustering: data, at Pre-Warm's count and norm, with no choice among them.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        seed: Of Pre-Warm, and of the choice of patches.
        algorithm: Of the Pre-Warm whose norm is matched.
        matching: "global" matches the norm of the bank, "per-filter" that of each filter.
        **options: As for `prewarm_`, `layers` and `batches` included.

    Returns:
        The report; each set filter is a multiple of a patch that stands in one of the images.
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
    """Make Pre-Warm's filters, put other content in their place and give it their norm."""

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
            f"matching={matching!r}; one of {', '.join(get_args(Matching))} is needed."
        )
    return whole_bank if matching == "global" else _filter_norms
