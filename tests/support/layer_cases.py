"""a seed -> a layer configuration: what a convolution can be, drawn at random. Shared by tests."""

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
DTYPES = (torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16)
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Configuration:
    """One convolution, and the images that go into it."""

    dims: int
    options: dict[str, Any]
    dtype: torch.dtype
    fed: torch.dtype
    layout: torch.memory_format
    size: tuple[int, ...]
    count: int
    arm: str
    bare: bool

    def build(self) -> nn.Module:
        torch.manual_seed(7)
        conv: nn.Module = CONVOLUTIONS[self.dims - 1](**self.options)
        conv = conv.to(dtype=self.dtype, memory_format=self.layout)  # type: ignore[call-overload]
        if self.bare:
            return conv
        return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(3, 2))

    def images(self) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        shape = (self.count, self.options["in_channels"], *self.size)
        images = torch.rand(shape, generator=generator)
        if self.fed == torch.uint8:
            return (images * 255).byte().contiguous(memory_format=self.layout)
        return images.to(self.fed).contiguous(memory_format=self.layout)


def draw(seed: int) -> Configuration:
    """Draw a configuration whose images its kernel fits into; all draws are from one generator."""
    rng = random.Random(seed)
    dims = rng.choice((1, 2, 2, 2, 3))
    groups, per_group = rng.choice((1, 1, 1, 2, 3, 13)), rng.randint(1, 13)
    channels = groups * per_group if groups * per_group <= 13 else groups
    kernel = tuple(rng.randint(1, (9, 5, 3)[dims - 1]) for _ in range(dims))
    if channels == groups and all(each == 1 for each in kernel):
        kernel = (2,) * dims  # one value a patch is refused; a test of its own shows that
    dilation = tuple(rng.randint(1, 2) for _ in range(dims))
    covered = [step * (each - 1) + 1 for step, each in zip(dilation, kernel, strict=True)]
    size = tuple(each + rng.randint(1, 4) for each in covered)
    padding: Any = rng.choice(("valid", 0, 1))
    stride = tuple(rng.randint(1, 3) for _ in range(dims))
    if rng.random() < 0.2:
        padding, stride = "same", (1,) * dims
    mode = rng.choice(("zeros", "zeros", "reflect", "replicate", "circular"))
    return Configuration(
        dims=dims,
        options={
            "in_channels": channels,
            "out_channels": groups * rng.randint(2 if groups == 1 else 1, 6),
            "kernel_size": kernel,
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
            "padding": padding,
            "padding_mode": mode,
            "bias": rng.random() < 0.5,
        },
        dtype=rng.choice(DTYPES),
        fed=rng.choice((torch.float32, torch.float32, torch.uint8, torch.float64, torch.bfloat16)),
        layout=LAYOUTS.get(dims, torch.contiguous_format)
        if rng.random() < 0.4
        else torch.contiguous_format,
        size=size,
        count=rng.randint(4, 8),
        arm=rng.choice(("prewarm", "whitening", "norm-matched-random", "random-patches")),
        bare=rng.random() < 0.3,
    )
