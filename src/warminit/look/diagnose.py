"""model, images -> Diagnosis of the input layer's filters. Nothing is trained or changed."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.check import as_model_input, standardization
from warminit.images.patches import sample_patches
from warminit.images.source import Images
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.look.diagnosis import Diagnosis
from warminit.look.measures import energy_captured, near_duplicates, spread, white_distance
from warminit.models.deep import activations
from warminit.models.effective import effective_weight
from warminit.models.layer import FoundLayer
from warminit.models.ranks import whole
from warminit.models.record import CONVOLUTIONS
from warminit.models.restore import errors_explained
from warminit.models.surroundings import own_arithmetic
from warminit.renamed import takes_old_names

_MOST_PATCHES = 50_000
_MOST_VALUES = 20_000_000
"""Most values of the patch matrix and of the responses (160 MB each); wide layers get fewer
patches."""

_LARGEST = 1e60
"""Sums of squares of products of two such values still fit into float64."""


@takes_old_names("layer")
def diagnose(
    model: nn.Module,
    images: Images,
    *,
    layers: str | nn.Module | None = None,
    mean: Sequence[float] | float | Tensor | None = None,
    std: Sequence[float] | float | Tensor | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Measure the filters of a model's input layer, before any training.

    Model and global random states do not change. The filters are the weights that the layer
    computes with, after parametrizations. All figures are computed in float64 on the CPU, so every
    device gives the same values.

    Args:
        model: Any module with a convolution of 1, 2 or 3 dimensions, or a linear layer over
            flattened patches in the order C, *K.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader. uint8 is divided by 255 and, with `mean` and `std`, standardized.
        layers: Dotted name of the layer, or the module; by default the input layer.
        mean: Per-channel mean for uint8 images; without effect on others.
        std: Per-channel standard deviation for uint8 images.
        seed: Seed of the sample of about 50,000 patches, spread evenly over the images. Images with
            fewer patches are not sampled: every patch counts once.

    Returns:
        The figures, each finite or None; the notes give the reason for None.

    Raises:
        WarminitError: For any invalid input.

    Example:
        >>> import torch
        >>> conv = torch.nn.Conv2d(1, 9, 3, bias=False)
        >>> _ = conv.weight.data.copy_(torch.eye(9).view(9, 1, 3, 3))
        >>> images = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> found = diagnose(conv, images)
        >>> round(found.effective_rank, 3), round(found.condition_number, 3), found.dead_filters
        (9.0, 1.0, ())
    """
    check_seed(seed)
    subject = Subject(model, images, mean=mean, std=std)
    with own_arithmetic():
        return _diagnosis(model, subject, layers, mean, std, seed)


def _diagnosis(
    model: nn.Module,
    subject: Subject,
    layers: str | nn.Module | None,
    mean: Statistics,
    std: Statistics,
    seed: int,
) -> Diagnosis:
    with errors_explained(model):
        target = subject.first(layers)
        batch, statistics = subject.images.detach(), standardization(mean, std, target.in_channels)
        if not target.takes_images:
            batch, statistics = activations(model, target, subject.as_fed(batch)), None
        weight, bank, bias = _bank(target)
    patches, every_position = _patches(batch, statistics, target, seed)
    notes = [subject.note] if subject.note else []

    _, singular, directions = torch.linalg.svd(bank, full_matrices=False)
    precision = min(torch.finfo(kind).eps for kind in (weight.dtype, torch.float32))
    rank = int((singular > max(bank.shape) * precision * singular[0]).sum())
    if rank < len(singular):
        notes.append(f"no condition number: the bank has rank {rank} of {len(singular)}")
    energy = energy_captured(patches, directions[:rank])
    if energy is None:
        notes.append("no energy captured: every patch is flat")
    elif rank == bank.shape[1]:
        notes.append("the filters span all patches, so energy captured is always 1")
    duplicates, opposite = near_duplicates(bank)
    if opposite:
        notes.append(
            f"{opposite} of the near-duplicates are opposite, and a ReLU separates opposite filters"
        )

    responses = patches @ bank.T
    # Rounding leaves a response where in truth there is none, of the order of 1e-16.
    nothing = 1e-12 * bank.norm(dim=1) * patches.norm(dim=1).max()
    deviations = responses.std(0, correction=0)
    variances = torch.where(deviations > nothing, deviations.square(), 0.0)
    varying = variances > 0
    dead = responses.abs().amax(0) <= nothing
    if int(varying.sum()) < 2:
        notes.append("no response spread and no distance from white: both require two live filters")
    never = ~((responses + bias) > 0).any(0)
    if not every_position:
        _drop_positive_(never, batch, statistics, target, bank, bias)
    return Diagnosis(
        layer=target.name,
        found=target.found,
        out_channels=target.out_channels,
        patch_values=bank.shape[1],
        n_patches=len(patches),
        every_position=every_position,
        seed=seed,
        rank=rank,
        effective_rank=effective_rank(singular),
        condition_number=float(singular[0] / singular[-1]) if rank == len(singular) else None,
        duplicate_pairs=duplicates,
        dead_filters=_where(dead),
        constant_filters=_where(~dead & ~varying),
        response_variances=tuple(variances.tolist()),
        response_spread=spread(variances[varying]),
        energy_captured=energy,
        relu_dead_channels=_where(never),
        relu_dead_share=float(never.double().mean()),
        nonpositive_share=float((responses + bias <= 0).double().mean()),
        white_distance=white_distance(responses[:, varying] / deviations[varying]),
        notes=tuple(notes),
    )


def effective_rank(singular_values: Tensor) -> float | None:
    """Compute the effective rank of singular values (Roy & Vetterli, 2007).

    Args:
        singular_values: Singular values (n,), at least 0.

    Returns:
        The exponential of the entropy of the values divided by their sum, 1 to n. It is n if all
        are equal, 1 if only one is above 0, and None if all are 0.

    Example:
        >>> effective_rank(torch.tensor([2.0, 0.0, 0.0]))
        1.0
    """
    if not bool((singular_values > 0).any()):
        return None
    shares = singular_values.double() / singular_values.double().sum()
    return float(torch.special.entr(shares).sum().exp())


def _bank(layer: FoundLayer) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weight, filters (F, C * prod(K)) over all input channels, and biases (F,)."""
    conv = layer.module
    plain = type(conv) in (*CONVOLUTIONS, nn.Linear) and not is_parametrized(conv)
    weight = whole(conv.weight.detach()) if plain else effective_weight(conv)
    if weight is None:
        raise WarminitError(
            f"{layer.name} is a {type(conv).__name__} without a convolution in its forward: "
            "expected one, to know its filters. Name another layer with layers=."
        )
    filters = layer.as_filters(weight.cpu().double())
    bias = filters.new_zeros(len(filters))
    if conv.bias is not None:
        bias = whole(conv.bias.detach()).cpu().double()
    _check_values(f"{layer.name}.weight", filters)
    _check_values(f"{layer.name}.bias", bias)
    # A grouped filter sees the channels of its group; on all others it is zero.
    width = filters.shape[1]
    bank = filters.new_zeros(len(filters), layer.in_channels, *layer.kernel_size)
    for group, (rows, own) in enumerate(
        zip(bank.chunk(layer.groups), filters.chunk(layer.groups), strict=True)
    ):
        rows[:, group * width : (group + 1) * width] = own
    return weight, bank.flatten(1), bias


def _patches(
    images: Tensor, statistics: tuple[Tensor, Tensor] | None, layer: FoundLayer, seed: int
) -> tuple[Tensor, bool]:
    """Return patches (P, C * prod(K)), float64 on the CPU, and whether these are all patches."""
    channels, size = images.shape[1], images.shape[2:]
    extents = [
        dilation * (kernel - 1) + 1
        for dilation, kernel in zip(layer.dilation, layer.kernel_size, strict=True)
    ]
    places = [side - extent + 1 for side, extent in zip(size, extents, strict=True)]
    if min(places) < 1:
        raise WarminitError(
            f"images of {_times(size)} are smaller than the {_times(extents)} that one filter "
            "covers: expected images at least as large as a filter. Pass images of the model's "
            "input size."
        )
    most = _MOST_VALUES // max(channels * math.prod(layer.kernel_size), layer.out_channels)
    most = max(1, min(_MOST_PATCHES, most))
    every_position = len(images) * math.prod(places) <= most
    if every_position:
        windows = images.cpu()
        for axis, (extent, dilation) in enumerate(zip(extents, layer.dilation, strict=True)):
            windows = windows.unfold(axis + 2, extent, 1)[..., ::dilation]
        taken = windows.movedim(1, 1 + len(size)).reshape(len(images) * math.prod(places), -1)
    else:
        generator = torch.Generator().manual_seed(seed)
        if len(images) > most:
            kept = torch.randperm(len(images), generator=generator)[:most]
            images = images[kept.to(images.device)]
        taken = sample_patches(
            images,
            most // len(images),
            layer.kernel_size,
            generator,
            dilation=layer.dilation,
        )
    patches = _as_fed(taken.view(len(taken), channels, -1), statistics).flatten(1)
    _check_values("sampled images", patches)
    return patches, every_position


def _as_fed(images: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
    return as_model_input(images, statistics).cpu().double()


def _drop_positive_(
    never: Tensor,
    images: Tensor,
    statistics: tuple[Tensor, Tensor] | None,
    layer: FoundLayer,
    bank: Tensor,
    bias: Tensor,
) -> None:
    """Remove each channel that is above 0 at any position: a sample may have missed it."""
    filters = bank.view(len(bank), -1, *layer.kernel_size)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[layer.spatial_dims - 1]
    values = len(bank) * math.prod(images.shape[2:])
    for chunk in images.split(max(1, _MOST_VALUES // values)):
        left = never.nonzero().flatten()
        if not len(left):
            return
        fed = _as_fed(chunk, statistics)
        outputs = convolve(fed, filters[left], bias[left], dilation=layer.dilation)
        never[left] = ~(outputs > 0).transpose(0, 1).flatten(1).any(1)


def _check_values(name: str, values: Tensor) -> None:
    bad = int((~(values.isfinite() & (values.abs() <= _LARGEST))).sum())
    if bad:
        raise WarminitError(
            f"{name} has {bad} values out of {values.numel()} that are NaN, infinite or above "
            f"{_LARGEST:g}: expected smaller finite ones. Check the normalization, or initialize "
            "the model first."
        )


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def _where(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())
