"""hypothesis -> calls of conditioned_init: models, batches and arguments, most of them unusual."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn


class Net(nn.Module):
    """A network whose first layer has the name that Listing 1 writes to."""

    conv1: Any

    def __init__(self, conv1: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1


@dataclass
class Case:
    """One call: what the model looks like, and the arguments."""

    model: Any
    images: Any
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        images = (self.images.shape, self.images.stride(), self.images.dtype)
        return f"{self.model} {self.model.conv1.weight.dtype} {images} {self.arguments}"


KINDS = ("normal", "uniform", "constant", "sparse", "levels")
LAYOUTS = ("contiguous", "channels_last", "transposed", "strided", "expanded", "flipped")


def make_images(
    kind: str, layout: str, shape: tuple[int, int, int, int], dtype: torch.dtype, seed: int
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    x = torch.randn(n, c, 2 * h, 2 * w, generator=generator, dtype=torch.float64)
    if kind == "uniform":
        x = (x * 0.2 + 0.5).clamp(0, 1)
    elif kind == "constant":
        x = torch.full_like(x, 0.37)
    elif kind == "sparse":
        x = (x > 1.5).double()
    elif kind == "levels":
        x = (x * 2).round() / 255
    x = x.to(dtype)
    if layout == "strided":
        return x[:, :, ::2, 1::2]
    x = x[:, :, :h, :w].contiguous()
    if layout == "channels_last":
        return x.to(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    if layout == "expanded":
        return x[:1].expand(n, c, h, w)
    return x.flip(-1) if layout == "flipped" else x


def make_conv(
    c: int, f: int, kernel: tuple[int, int], dtype: torch.dtype, channels_last: bool
) -> nn.Module:
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return nn.Conv2d(c, f, kernel).to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload,no-any-return]


WEIGHT_DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64])
IMAGE_DTYPES = st.sampled_from([torch.float32, torch.float32, torch.float64, torch.float16])
SCALES = st.one_of(
    st.sampled_from([0.2, 0.25, 1.0, 0.0, -0.3, 1e-30, 1e30, float("nan"), float("inf"), 2]),
    st.floats(0.01, 1.0),
)
SEEDS = st.one_of(st.integers(0, 50), st.integers(0, 2**32 - 1))


@st.composite
def runnable_cases(draw: st.DrawFn) -> Case:
    """Calls on which Listing 1 runs, or on which the crop stands in for it."""
    size = draw(st.integers(1, 7))
    n, c = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    h, w = size + draw(st.integers(0, 9)), size + draw(st.integers(0, 9))
    n_patches = draw(st.integers(1, 30))
    n_clusters = draw(st.integers(1, min(12, n * n_patches)))
    in_channels = draw(st.integers(1, 4)) if c == 1 else c
    if size == 1:
        kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    elif draw(st.booleans()):
        kernel = (size, size)
    else:
        kernel = draw(st.tuples(st.integers(1, size), st.integers(1, size)))
    layout = draw(st.sampled_from(LAYOUTS))
    kind, dtype = draw(st.sampled_from(KINDS)), draw(IMAGE_DTYPES)
    return Case(
        model=Net(
            make_conv(
                in_channels, draw(st.integers(1, 14)), kernel, draw(WEIGHT_DTYPES),
                draw(st.booleans()),
            )
        ),
        images=make_images(kind, layout, (n, c, h, w), dtype, draw(st.integers(0, 99))),
        arguments={
            "n_clusters": n_clusters, "n_patches": n_patches, "scale": draw(SCALES),
            "patch_size": size, "seed": draw(SEEDS),
        },
    )  # fmt: skip


@st.composite
def any_cases(draw: st.DrawFn) -> Case:
    """Calls of which many are refused; the listing, not the strategy, says which."""

    def mostly(good: st.SearchStrategy[Any], *bad: Any) -> Any:
        return draw(good if draw(st.integers(0, 6)) else st.sampled_from(bad))

    n, c = mostly(st.integers(1, 4), 0), mostly(st.integers(1, 2), 0)
    h, w = draw(st.integers(3, 9)), draw(st.integers(3, 9))
    images = make_images("normal", "contiguous", (n, c, h, w), torch.float32, 3)
    if images.numel() and draw(st.integers(0, 2)) == 0:  # it counts only where a patch holds it
        images.flatten()[draw(st.integers(0, images.numel() - 1))] = float("nan")
    integers = [torch.uint8, torch.int64, torch.bool, torch.bfloat16]
    dtype = mostly(st.sampled_from([torch.float32, torch.float64]), *integers)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return Case(
        model=Net(make_conv(draw(st.integers(1, 2)), 6, kernel, torch.float32, False)),
        images=images.nan_to_num(0).to(dtype) if dtype in integers else images.to(dtype),
        arguments={
            "n_clusters": mostly(st.integers(1, 9), 0, -1),
            "n_patches": mostly(st.integers(2, 8), 0, -1),
            "patch_size": mostly(st.integers(1, 5), 0, -1, 8, 10),
            "seed": mostly(st.integers(0, 9), -1, 2**32),
        },
    )


EDGES: dict[str, Callable[[], Case]] = {
    "the defaults": lambda: edge(images=(4, 1, 28, 28)),
    "the paper's colour call": lambda: edge((8, 3, 32, 32), conv=(3, 32), n_patches=28, scale=0.25),
    "a seed that is a bool": lambda: edge(seed=True),
    "a patch size that is a bool": lambda: edge(conv=(1, 8), patch_size=True, n_clusters=2),
    "NumPy integers": lambda: edge(n_patches=np.int64(9), n_clusters=np.int64(5)),
    "a NumPy scale": lambda: edge(scale=np.float32(0.2)),
    "a NumPy seed, which random.seed refuses": lambda: edge(seed=np.int64(3)),
    "no seed": lambda: edge(seed=None),
    "the largest seed": lambda: edge(seed=2**32 - 1),
    "a seed too large for NumPy": lambda: edge(seed=2**32),
    "a patch size that is a float": lambda: edge(patch_size=3.0),
    "a count that is a float": lambda: edge(n_patches=9.0),
    "a scale that is a word": lambda: edge(scale="large"),
    "an array in place of a tensor": lambda: edge(images=np.zeros((4, 1, 9, 9), np.float32)),
    "images that track gradients": lambda: edge(images=torch.zeros(4, 1, 9, 9).requires_grad_()),
    "complex images": lambda: edge(images=torch.zeros(4, 1, 9, 9, dtype=torch.complex64)),
    "uint8 images": lambda: edge(images=torch.arange(324).view(4, 1, 9, 9).to(torch.uint8)),
    "three dimensions": lambda: edge(images=(4, 9, 9)),
    "no conv1": lambda: edge(model=nn.Sequential(nn.Conv2d(1, 4, 3))),
    "a lazy conv1": lambda: edge(model=Net(nn.LazyConv2d(4, 3))),
    "a linear conv1": lambda: edge(model=Net(nn.Linear(9, 4))),
    "a conv1 of three dimensions": lambda: edge(model=Net(nn.Conv3d(1, 24, 3))),
    "a conv1 of three dimensions that broadcasts": lambda: edge(
        model=Net(nn.Conv3d(2, 24, (5, 3, 3))), n_clusters=2
    ),
    "a frozen conv1": lambda: edge(model=Net(nn.Conv2d(1, 24, 3).requires_grad_(False))),
    "a grouped conv1": lambda: edge((4, 2, 9, 9), model=Net(nn.Conv2d(8, 24, 3, groups=4))),
    "a transposed conv1": lambda: edge(model=Net(nn.ConvTranspose2d(24, 1, 3))),
    "a model that is no module": lambda: edge(model=SimpleNamespace(conv1=nn.Conv2d(1, 24, 3))),
    "a weight-normed conv1": lambda: edge(
        model=Net(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 24, 3)))
    ),
}


def edge(
    images: Any = (4, 1, 9, 9), *, conv: tuple[int, int] = (1, 24), model: Any = None, **kw: Any
) -> Case:
    if isinstance(images, tuple):
        images = torch.randn(images, generator=torch.Generator().manual_seed(1))
    return Case(model or Net(make_conv(*conv, (3, 3), torch.float32, False)), images, kw)
