"""model, images -> model started by one candidate of the search: a basis, and how it is written.

Arms of the search for a default (`README.md` in this folder), named in its study files as
`experiments.candidates:start` and `experiments.candidates:small_head`. They are made of the
library's own stages; what won is an arm of the library, and what did not stays here.
"""

from collections.abc import Callable
from typing import Any, Literal, Unpack, get_args

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.patches import center_patches, second_moment
from warminit.images.source import Batch, Images
from warminit.initializers import get_method
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.stems.coates_ng import zca
from warminit.initializers.stems.conditioning import condition_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import Scaling, scale_bank, shape_filters, weight_centroids
from warminit.initializers.stems.keywords import StemOptions
from warminit.initializers.stems.structure import dct_directions
from warminit.initializers.stems.whitening import RELATIVE_EPS, whitening_directions
from warminit.report import InitReport

Basis = Literal["whitening", "zca", "kmeans", "whitened-kmeans", "covariance", "dct", "mixed"]


def start(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    basis: Basis = "whitening",
    pairs: bool = False,
    brightness: bool = False,
    eps: float = RELATIVE_EPS,
    spatial: bool = False,
    scaling: Scaling = "global",
    trainable: bool = True,
    **options: Unpack[StemOptions],
) -> InitReport:
    """Write directions of any basis; with no parameters, what `whiten_` writes.

    Args:
        model: Any module with a convolution.
        images: One training batch, as the model is fed.
        seed: Of the patches' positions, of k-means and of random directions.
        basis: "zca": the rows of the ZCA matrix, those of the kernel's center first. "kmeans":
            centroids of centered patches. "whitened-kmeans": centroids of whitened patches, times
            the whitening. "covariance": Gaussian filters with the patches' covariance. "dct": no
            data. "mixed": the first half whitening, the rest centroids of the same norm.
        pairs: Half as many directions, each followed at the end by its negative.
        brightness: The constant filter takes the last place.
        eps: As for `whiten_`.
        spatial: Multiply by Pre-Warm's spatial weights.
        scaling: As for `whiten_`.
        trainable: As for `whiten_`.
        **options: As for `prewarm_`; `n_filters` is the number of filters.

    Returns:
        The report.
    """
    if basis not in get_args(Basis):
        raise WarminitError(f"basis={basis!r}; one of {', '.join(get_args(Basis))} is needed.")

    def filters(batch: Batch, hyper: Hyperparameters, kernel: tuple[int, ...], seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        patches = batch.patches(hyper.n_patches, hyper.patch_size, generator)
        wanted = hyper.n_clusters - brightness
        centered = center_patches(patches)
        shape = (batch.channels, *hyper.patch_size)
        bank = _BASES[basis](centered, wanted // 2 if pairs else wanted, shape, eps, generator)
        if pairs:
            bank = torch.cat([bank, -bank])
        if brightness:
            constant = torch.ones_like(bank[:1])
            bank = torch.cat([bank, constant * bank.norm(dim=1).mean() / constant.norm()])
        if spatial:
            bank = weight_centroids(bank, hyper.patch_size)
        bank = scale_bank(bank, hyper.scale, patches=patches, scaling=scaling)
        return shape_filters(bank, hyper.patch_size, kernel)

    return condition_(
        model, images, filters, method="candidate", seed=seed, trainable=trainable, **options
    )


def small_head(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    arm: str = "whitening",
    head: float = 0.0,
    patches_per_image: int | None = None,
) -> InitReport:
    """Apply an arm, then multiply the last linear layer's weight and bias by `head`."""
    given = {} if arm == "torch-default" else {"patches_per_image": patches_per_image}
    report = get_method(arm)(model, images, seed=seed, **given)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(head)
    return report


def few_images(model: nn.Module, images: Tensor, *, seed: int, n_images: int) -> InitReport:
    """Apply `whitening-small-head` to the first images alone; it takes 8,192 patches in all."""
    return get_method("whitening-small-head")(model, images[:n_images], seed=seed)


def _whitening(patches: Tensor, n: int, _shape: Any, eps: float, _draw: Any) -> Tensor:
    return whitening_directions(patches, n, eps=eps)


def _zca(patches: Tensor, n: int, shape: tuple[int, ...], eps: float, _draw: Any) -> Tensor:
    wide = patches.double()
    rows = zca(wide, eps * float(second_moment(patches).diagonal().mean()))
    # Rows in the order of their place's distance from the center, channels side by side.
    center = (shape[1] // 2, shape[2] // 2)
    row, column = torch.meshgrid(torch.arange(shape[1]), torch.arange(shape[2]), indexing="ij")
    distance = ((row - center[0]).square() + (column - center[1]).square()).flatten()
    order = distance.repeat(shape[0]).argsort(stable=True)
    return center_patches(rows)[order][:n]


def _kmeans(patches: Tensor, n: int, _shape: Any, _eps: float, draw: torch.Generator) -> Tensor:
    return kmeans(patches, n, draw).double()


def _whitened_kmeans(
    patches: Tensor, n: int, _shape: Any, eps: float, draw: torch.Generator
) -> Tensor:
    matrix = zca(patches.double(), eps * float(second_moment(patches).diagonal().mean()))
    return kmeans(patches.double() @ matrix, n, draw) @ matrix


def _covariance(patches: Tensor, n: int, _shape: Any, _eps: float, draw: torch.Generator) -> Tensor:
    values, vectors = torch.linalg.eigh(second_moment(patches))
    root = vectors * values.clamp(min=0).sqrt()
    normal = torch.randn(n, len(values), generator=draw, dtype=torch.float64)
    filters: Tensor = normal @ root.T
    return filters


def _dct(patches: Tensor, n: int, shape: tuple[int, ...], _eps: float, _draw: Any) -> Tensor:
    return dct_directions(n, shape).to(patches.device)


def _mixed(patches: Tensor, n: int, shape: Any, eps: float, draw: torch.Generator) -> Tensor:
    directions = _whitening(patches, n - n // 2, shape, eps, draw)
    centroids = _kmeans(patches, n // 2, shape, eps, draw)
    norms = directions.norm(dim=1).mean() / centroids.norm(dim=1).mean()
    return torch.cat([directions, centroids * norms])


_Make = Callable[[Tensor, int, tuple[int, ...], float, torch.Generator], Tensor]
_BASES: dict[str, _Make] = {
    "whitening": _whitening,
    "zca": _zca,
    "kmeans": _kmeans,
    "whitened-kmeans": _whitened_kmeans,
    "covariance": _covariance,
    "dct": _dct,
    "mixed": _mixed,
}
