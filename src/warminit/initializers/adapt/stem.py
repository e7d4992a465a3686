"""model, a number of channels or images -> a trained first layer for those channels, in place."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_count, check_keywords
from warminit.errors import WarminitError, unexpected, unknown
from warminit.images.check import check_images, standardization
from warminit.images.source import Images, read_images
from warminit.initializers.adapt.moments import IMAGENET_MEAN, IMAGENET_STD, fit_map
from warminit.initializers.adapt.rules import (
    BANDS,
    Bands,
    Others,
    check_bands,
    copy_channels,
    mean_channels,
    repeat_channels,
)
from warminit.initializers.stems.subject import Statistics
from warminit.models.exchange import exchange_
from warminit.models.input_layers import Stem, find_stem
from warminit.models.ranks import all_or_none
from warminit.models.restore import errors_explained
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import unwrap
from warminit.report import InitReport

AdaptMethod = Literal["repeat", "mean", "copy", "least-squares"]


class LeastSquaresOptions(TypedDict, total=False):
    """What `adapt_stem_` takes for `least-squares` alone.

    Attributes:
        old_images: (N', C, *size), images as the model was trained on, or batches of them. By
            default the published color statistics of ImageNet, for three channels, standardized as
            timm's metadata say.
        paired: Whether `old_images` show pixel by pixel what `images` show; A is then the
            regression of the old pixels on the new ones.
    """

    old_images: Images | None
    paired: bool


def adapt_stem_(
    model: nn.Module,
    images: Images | None = None,
    *,
    in_channels: int | None = None,
    method: AdaptMethod = "repeat",
    bands: Bands | None = None,
    others: Others = "mean",
    layers: str | nn.Module | None = None,
    batches: int | None = None,
    mean: Statistics = None,
    std: Statistics = None,
    **options: Unpack[LeastSquaresOptions],
) -> InitReport:
    """Adapt a trained model to images of another number of channels, and keep what it has learned.

    The first convolution or patch embedding gets a weight for `in_channels` channels. A weight of a
    new shape is a new Parameter, so make the optimizer afterwards. The default, `repeat`, needs no
    images and gives the same bits as `timm.create_model(in_chans=...)`.

    Args:
        model: Any module whose first layer is a convolution of one group; not wrapped by DDP.
        images: New images (N, C', *size), scaled as the model will be fed, or batches of them.
            `least-squares` requires them; the other methods only read C' from them.
        in_channels: Number of new channels C', 1 or more; by default read from the images.
        method: Rule for the new filters. `repeat`: the old channels in turn, times C / C'; for one
            channel their sum. `mean`: the mean of the old channels, times C / C'. `copy`: the
            channels in `bands` keep their filters. `least-squares`: the filters W become W A, where
            A maps new pixels to old ones (docs/least-squares.md). Then A x + c has the mean and
            covariance of the old pixels, and c goes into the bias, or into the BatchNorm that
            follows.
        bands: Old channels with their index in the new images. An old channel is an index, or
            "red", "green" or "blue" of three. Used by `copy`, and by `least-squares` as the map to
            stay near.
        others: Rule for the channels that are not in `bands`: "mean", "repeat" or "zero".
        layers: Dotted name of the layer, or the module; by default every layer that receives the
            images.
        batches: Number of batches to read from a loader, 8 by default.
        mean: Per-channel mean of the new channels. It standardizes uint8 images and goes into
            timm's `pretrained_cfg`, which by default gets the old values by the same rule.
        std: Per-channel standard deviation of the new channels, used like `mean`.
        **options: `old_images` and `paired`, see `LeastSquaresOptions`.

    Returns:
        The report. Only the input layers and the records of their channel count change: attributes,
        timm's `pretrained_cfg`, Transformers' `config.num_channels`. `least-squares` also changes a
        bias or a running mean. Dtype, device, memory format and `requires_grad` stay.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> report = adapt_stem_(model, in_channels=5)
        >>> model[0].in_channels, model(torch.zeros(1, 5, 8, 8)).shape
        (5, torch.Size([1, 8, 6, 6]))
    """
    started = time.perf_counter()
    with all_or_none():
        check_keywords("adapt_stem_", options, LeastSquaresOptions)
        _check_arguments(model, images, method, bands, others)
        old_images, paired = options.get("old_images"), options.get("paired", False)
        if method != "least-squares" and (paired or old_images is not None):
            step = 'Pass method="least-squares", or leave old_images and paired out.'
            raise unexpected("method", method, "least-squares, which looks at old_images", step)
        new, note = (None, None) if images is None else read_images(images, batches)
        old, old_note = (None, None) if old_images is None else read_images(old_images, batches)
    with own_arithmetic(), errors_explained(model):
        with all_or_none():
            stem = find_stem(model, layers, () if new is None else tuple(new.shape[2:]))
            dims, before = stem.layers[0].spatial_dims, stem.in_channels
            channels = _channels(new, in_channels, dims)
            statistics = standardization(mean, std, channels)
            if old is not None:
                check_images(old, spatial_dims=dims, channels=before, name="old_images")
            named = None if bands is None else check_bands(bands, before, channels)
        rule = partial(_by_rule, channels=channels, method=method, bands=named, others=others)
        prior = rule(torch.eye(before, dtype=torch.float64))
        parameters: dict[str, Any] = {"method": method, "in_channels": channels}
        parameters |= {"old_channels": before} | ({"bands": dict(bands)} if bands else {})
        old_weights = [layer.module.weight.detach() for layer in stem.layers]
        constants: list[Tensor | None] = [None] * len(old_weights)
        shares, notes = prior, [note, old_note]
        if method == "least-squares":
            known = _standardization(stem)
            fitted = fit_map(new, statistics, old, known, prior, paired=paired)
            parameters["fit"] = fitted.fit
            weights = [fitted.filters(each) for each in old_weights]
            constants = [fitted.constants(each) for each in old_weights]
            shares = torch.ones_like(prior)
            if fitted.kept < before:
                notes.append(f"the new channels carry {fitted.kept} of the {before} old dimensions")
            if statistics is None and hasattr(stem.survey.model, "pretrained_cfg"):
                notes.append("pretrained_cfg has the average of the old mean and std: pass yours")
        else:
            weights = [rule(each) for each in old_weights]
        with all_or_none():
            describe = partial(_described, shares=shares, statistics=statistics)
            notes += exchange_(stem, weights, constants, describe)
        count = sum(layer.out_channels for layer in stem.layers)
        return InitReport(
            method="adapt-stem",
            layer=", ".join(layer.name for layer in stem.layers),
            found=stem.layers[0].found,
            filters_set=count,
            out_channels=count,
            parameters=parameters,
            provenance={"in_channels": "the images'" if in_channels is None else "given"},
            seed=0,
            seconds=time.perf_counter() - started,
            notes=tuple(each for each in notes if each),
        )


def _check_arguments(
    model: nn.Module,
    images: Images | None,
    method: str,
    bands: Bands | None,
    others: str,
) -> None:
    """Raise for arguments that exclude or lack each other, before any image is read."""
    if method not in get_args(AdaptMethod):
        raise unknown("method", method, get_args(AdaptMethod))
    if others not in get_args(Others):
        raise unknown("others", others, get_args(Others))
    if isinstance(images, int):
        raise unexpected("images", images, "images (N, C, H, W)", f"Pass in_channels={images}.")
    if bands is None and method == "copy":
        raise unexpected("bands", bands, "old channels with their indices in the new images", BANDS)
    if bands is not None and method in {"repeat", "mean"}:
        raise unexpected("bands", bands, f"None with method={method!r}", 'Pass method="copy".')
    unwrap(model)
    if any(isinstance(each, nn.parallel.DistributedDataParallel) for each in model.modules()):
        raise WarminitError(
            "model is wrapped by DistributedDataParallel, which holds the old weight: expected an "
            "unwrapped model. Adapt the model before you wrap it."
        )


def _channels(images: Tensor | None, in_channels: int | None, dims: int) -> int:
    """Return the number of new channels, read from the images if there are any."""
    if in_channels is not None:
        in_channels = check_count("in_channels", in_channels)
    if images is not None:
        return int(check_images(images, spatial_dims=dims, channels=in_channels).shape[1])
    if in_channels is None:
        step = "Pass for example in_channels=4, or images as the model will be fed."
        raise unexpected("in_channels", None, "the number of new channels", step)
    return in_channels


def _by_rule(
    filters: Tensor, channels: int, method: str, bands: Mapping[int, int] | None, others: str
) -> Tensor:
    """Return filters (F, C, *K) for the new channels by a rule that needs no data."""
    if bands is not None:
        return copy_channels(filters, channels, bands, others)
    return (mean_channels if method == "mean" else repeat_channels)(filters, channels)


def _standardization(stem: Stem) -> tuple[Tensor, Tensor] | None:
    """Return (mean, std) of the old channels: timm's metadata, ImageNet's of three, or None."""
    config: Any = getattr(stem.survey.model, "pretrained_cfg", None) or {}
    found = config.get("mean"), config.get("std")
    if all(isinstance(each, list | tuple) and len(each) == stem.in_channels for each in found):
        return standardization(*found, stem.in_channels)
    known = stem.in_channels == len(IMAGENET_MEAN)
    return standardization(IMAGENET_MEAN, IMAGENET_STD, stem.in_channels) if known else None


def _described(
    config: Mapping[str, Any], shares: Tensor, statistics: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    """Return what changes in timm's `pretrained_cfg`.

    Args:
        config: The metadata.
        shares: Share (C, C') of each old channel in a new one; columns need not sum to 1.
        statistics: (mean, std) of the new channels, or None.
    """
    changed: dict[str, Any] = {
        name: (shares.shape[1], *size[1:])
        for name, size in config.items()
        if name.endswith("input_size") and isinstance(size, list | tuple)
    }
    for place, name in enumerate(("mean", "std")):
        value = config.get(name)
        if statistics is not None:
            # Seven digits are all that float32 holds: 0.485 stays 0.485.
            changed[name] = tuple(float(f"{each:.7g}") for each in statistics[place].tolist())
        elif isinstance(value, list | tuple):
            even = shares if len(value) == len(shares) else shares.new_ones(len(value), 1)
            even = torch.where(even.sum(0) == 0, 1.0, even).expand(-1, shares.shape[1])
            changed[name] = tuple((shares.new_tensor(value) @ (even / even.sum(0))).tolist())
    return changed
