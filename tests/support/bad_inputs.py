"""a call -> what its error text must hold. The table behind test_bad_input.py.

A row builds (call, model, images) and lists fragments: argument, value, wanted value, next step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from warminit import derive_rules, prewarm_

Row = tuple[Callable[[], Any], tuple[str, ...]]


def make_model(channels: int = 1, filters: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.Flatten(), nn.Linear(filters, 2)
    )


def make_images(*shape: int) -> Tensor:
    """Random bimodal pixels from 0 to 1, so that no pixel rule has a reason to complain."""
    generator = torch.Generator().manual_seed(1)
    bright = torch.rand(shape, generator=generator) < 0.3
    return bright * 0.7 + 0.3 * torch.rand(shape, generator=generator)


GRAY, COLOUR = (8, 1, 12, 12), (8, 3, 12, 12)


def broken(value: float, count: int = 1) -> Tensor:
    images = make_images(*GRAY)
    images.view(-1)[100 : 100 + count] = value
    return images


def fed(channels: int = 3) -> Tensor:
    return (make_images(8, channels, 12, 12) - 0.35) / 0.3


def prewarm(images: Any = None, model: Any = None, **arguments: Any) -> Any:
    """Build a call of `prewarm_` and the model that it must leave alone."""
    return (
        lambda m, x: prewarm_(m, x, **arguments),
        model if model is not None else make_model(),
        make_images(*GRAY) if images is None else images,
    )


def rules(images: Any = None, **arguments: Any) -> Any:
    """Build a call of `derive_rules`; the model only stands by."""
    images = make_images(*GRAY) if images is None else images
    return lambda m, x: derive_rules(x, **arguments), make_model(), images


# What the images are: both functions refuse them alike.
BAD_IMAGES: dict[str, Row] = {
    "three dimensions": (
        lambda: make_images(8, 12, 12),
        ("images", "3 dimensions", "(8, 12, 12)", "(N, C, H, W)", "unsqueeze"),
    ),
    "five dimensions": (
        lambda: make_images(8, 1, 2, 12, 12),
        ("images", "5 dimensions", "(8, 1, 2, 12, 12)", "(N, C, H, W)"),
    ),
    "an empty batch": (
        lambda: torch.zeros(0, 1, 12, 12),
        ("images is empty", "(0, 1, 12, 12)", "at least 1", "Pass"),
    ),
    "NaN": (lambda: broken(float("nan")), ("images", "1 NaN", "1152", "finite", "Check")),
    "infinity": (
        lambda: broken(float("-inf"), 3),
        ("images", "3 NaN or infinite", "1152", "finite", "Check"),
    ),
    "int64": (
        lambda: torch.randint(0, 255, GRAY),
        ("images", "torch.int64", "torch.uint8", "Convert", ".to(torch.uint8)"),
    ),
    "bool": (lambda: make_images(*GRAY) > 0.5, ("images", "torch.bool", "torch.uint8", "Convert")),
    "complex": (
        lambda: make_images(*GRAY).to(torch.complex64),
        ("images", "torch.complex64", "floating point", "Convert"),
    ),
    "a list": (
        lambda: make_images(*GRAY).tolist(),
        ("images", "list", "torch.Tensor"),
    ),
    "sparse": (lambda: make_images(*GRAY).to_sparse(), ("images", "sparse", "to_dense")),
    "a path": (lambda: "images/", ("images is a str", "torch.Tensor", "torch.as_tensor")),
    "constant floats": (
        lambda: torch.full(GRAY, 0.25),
        ("images is constant", "0.25", "at least two", "Pass"),
    ),
    "constant bytes": (
        lambda: torch.full(GRAY, 7, dtype=torch.uint8),
        ("images is constant", "7", "at least two", "Pass"),
    ),
    "meta": (lambda: torch.zeros(GRAY, device="meta"), ("images", "meta", "values", "Pass")),
    "smaller than the kernel": (
        lambda: make_images(8, 1, 2, 12),
        ("3 x 3", "2 x 12", "no larger", "Use larger images"),
    ),
}

BAD_CALLS: dict[str, Row] = {
    # images and layer
    "channels": (
        lambda: prewarm(make_images(*COLOUR)),
        ("images has 3 channels", "(8, 3, 12, 12)", "0 (Conv2d, 1 channels)", "Pass"),
    ),
    "one filter": (
        lambda: prewarm(model=make_model(filters=1)), ("out_channels=1", "at least 2", "wider"),
    ),
    "no convolution": (
        lambda: prewarm(model=nn.Sequential(nn.Flatten(), nn.Linear(144, 2))),
        ("Sequential", "no convolution", "Linear", "Pass"),
    ),
    "no model": (lambda: prewarm(model=make_model), ("model", "function", "nn.Module", "Pass")),
    "a lazy layer": (
        lambda: prewarm(model=nn.Sequential(nn.LazyConv2d(32, 3))),
        ("lazy", "expected a weight with values", "Run one batch"),
    ),
    "a meta layer": (
        lambda: prewarm(model=make_model().to("meta")),
        ("meta", "(32, 1, 3, 3)", "no values", "to_empty"),
    ),
    "a layer that is not there": (
        lambda: prewarm(layers="stem.conv"), ("layers='stem.conv'", "missing", "convolution", "0"),
    ),
    "a layer that is linear": (
        lambda: prewarm(layers="3"), ("layer '3'", "Linear", "expected a Conv1d", "0"),
    ),
    "a layer of another model": (
        lambda: prewarm(layers=nn.Conv2d(1, 32, 3)), ("layers=Conv2d", "not a module of", "0"),
    ),
    "a layer by number": (lambda: prewarm(layers=0), ("layers=0", "Choose 1 to", "name them")),
    "a quantized layer": (
        lambda: prewarm(model=int_model()), ("torch.int8", "floating point", "before"),
    ),
    # counts
    "fewer patches than clusters": (
        lambda: prewarm(make_images(2, 1, 12, 12), patches_per_image=3),
        ("patches_per_image=3 x 2 images gives 6 patches", "n_filters=16", "more images"),
    ),
    "patches_per_image of 0": (
        lambda: prewarm(patches_per_image=0),
        ("patches_per_image=0", "at least 1", "Leave it out"),
    ),
    "n_patches below 0": (lambda: rules(n_patches=-4), ("n_patches=-4", "at least 1")),
    "patches_per_image as a float": (
        lambda: prewarm(patches_per_image=25.0), ("patches_per_image=25.0", "whole number"),
    ),
    "patches_per_image as a word": (
        lambda: prewarm(patches_per_image="many"), ("patches_per_image='many'", "whole"),
    ),
    "n_filters of 0": (lambda: prewarm(n_filters=0), ("n_filters=0", "at least 1")),
    "too few distinct patches": (
        lambda: prewarm(two_patch_images(), patches_per_image=40),
        ("2 distinct patches", "n_filters=16", "varied"),
    ),
    # scale and sizes
    "scale of 0": (lambda: prewarm(scale=0), ("scale=0", "above 0", "0.20")),
    "scale below 0": (lambda: prewarm(scale=-0.2), ("scale=-0.2", "above 0", "leave it out")),
    "scale of NaN": (lambda: prewarm(scale=float("nan")), ("scale=nan", "finite")),
    "scale of infinity": (lambda: prewarm(scale=float("inf")), ("scale=inf", "finite")),
    "scale as a word": (
        lambda: prewarm(scale="large"), ("scale='large'", "finite number", "parity"),
    ),
    "scale as a bool": (lambda: prewarm(scale=True), ("scale=True", "number")),
    "a patch smaller than the kernel": (
        lambda: prewarm(patch_size=2), ("patch_size=2", "(3, 3)", "smaller than the kernel"),
    ),
    "a patch larger than the image": (
        lambda: prewarm(patch_size=13), ("13 x 13", "12 x 12", "smaller patch_size"),
    ),
    "a patch size of 0": (lambda: prewarm(patch_size=0), ("patch_size=0", "at least 1")),
    "a patch size of three": (lambda: prewarm(patch_size=(3, 3, 3)), ("patch_size=(3, 3, 3)", "3")),
    "rules of a kernel of 0": (lambda: rules(kernel_size=0), ("kernel_size=0", "at least 1")),
    "rules of a broken kernel": (lambda: rules(kernel_size=2.5), ("kernel_size=2.5", "whole")),
    # seed and algorithm
    "a seed below 0": (lambda: prewarm(seed=-1), ("seed=-1", "2**32 - 1", "another seed")),
    "a seed too large": (lambda: prewarm(seed=2**32), ("seed=4294967296", "2**32 - 1")),
    "a seed as a float": (lambda: prewarm(seed=1.5), ("seed=1.5", "whole number")),
    "rules with a word for a seed": (
        lambda: rules(make_images(*COLOUR), seed="a"), ("seed='a'", "whole number"),
    ),
    "an unknown algorithm": (
        lambda: prewarm(algorithm="exact"), ("algorithm='exact'", "fast", "paper"),
    ),
    # the two pixel spaces
    "mean without std": (
        lambda: prewarm(mean=[0.35]), ("mean was given", "std is None", "both", "Pass std"),
    ),
    "std without mean": (lambda: rules(std=[0.3]), ("std was given", "mean is None", "Pass mean")),
    "too many means": (
        lambda: rules(fed(1), mean=[0.3] * 3, std=[0.2] * 3), ("mean", "3 values", "1 channels"),
    ),
    "a mean that is a word": (
        lambda: rules(fed(1), mean="gray", std=1.0), ("mean='gray'", "number"),
    ),
    "a std of 0": (
        lambda: rules(fed(), mean=[0.3] * 3, std=[0.2, 0.0, 0.2]),
        ("std", "0.0", "above 0", "statistics"),
    ),
    "a mean of NaN": (lambda: rules(fed(1), mean=float("nan"), std=0.3), ("mean", "nan", "finite")),
    "statistics of other images": (
        lambda: rules(fed(), mean=[5.0] * 3, std=[2.0] * 3),
        ("images * std + mean", "0 to 1", "raw_images"),
    ),
    "raw images that are not raw": (
        lambda: rules(fed(), raw_images=fed()), ("raw_images", "-1.1", "0 to 1", "Divide by 255"),
    ),
    "raw images of other channels": (
        lambda: rules(fed(), raw_images=make_images(*GRAY)), ("raw_images has 1 channels", "3"),
    ),
}  # fmt: skip


def two_patch_images() -> Tensor:
    """Columns of period two: apart from their place, two different patches and no more."""
    images = torch.zeros(GRAY)
    images[:, :, :, ::2] = 1
    return images


def int_model() -> nn.Module:
    model = make_model()
    weight = torch.arange(288, dtype=torch.int8).view(32, 1, 3, 3)
    model[0].weight = nn.Parameter(weight, requires_grad=False)  # type: ignore[index]
    return model


def on_images(function: Callable[..., Any], row: Row) -> Row:
    build, fragments = row
    return lambda: function(build()), fragments


ROWS: dict[str, Row] = {
    **{f"prewarm_: images: {name}": on_images(prewarm, row) for name, row in BAD_IMAGES.items()},
    **{f"derive_rules: images: {name}": on_images(rules, row) for name, row in BAD_IMAGES.items()},
    **BAD_CALLS,
}
