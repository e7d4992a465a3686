"""What the tests of diagnose share: layers, images, and outputs by torch's own convolution."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.look.diagnosis import Diagnosis

IMAGES = torch.randn(6, 3, 11, 9, generator=torch.Generator().manual_seed(3)) * 0.8 + 0.3


def make_conv(channels: int = 3, filters: int = 8, kernel: int = 3, **options: Any) -> nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Conv2d(channels, filters, kernel, **options)


def with_bank(rows: list[list[float]] | Tensor, *shape: int, bias: float | None = None) -> Any:
    """Build a convolution that holds these filters."""
    bank = torch.as_tensor(rows, dtype=torch.float32)
    conv = make_conv(shape[0], len(bank), shape[1], bias=bias is not None)
    conv.weight.data.copy_(bank.view(-1, shape[0], shape[1], shape[1]))
    if conv.bias is not None and bias is not None:
        conv.bias.data.fill_(bias)
    return conv


def outputs_of(conv: Any, images: Tensor) -> Any:
    """Outputs of every position inside the images, (positions, F), by torch's convolution."""
    convolve = (F.conv1d, F.conv2d, F.conv3d)[images.ndim - 3]
    bias = None if conv.bias is None else conv.bias.detach().double()
    out = convolve(
        images.double(),
        conv.weight.detach().double(),
        bias,
        dilation=conv.dilation,
        groups=conv.groups,
    )
    return out.transpose(0, 1).flatten(1).T.numpy()


def assert_answers(found: Diagnosis, outputs: Any) -> None:
    """Hold all figures that follow from the outputs; both sides are float64 sums of 27 products."""
    variances = np.var(outputs, axis=0)
    np.testing.assert_allclose(found.response_variances, variances, rtol=1e-9)
    assert found.response_spread == pytest.approx(scipy.stats.variation(variances), rel=1e-9)
    correlation = np.corrcoef(outputs, rowvar=False)
    off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
    assert found.white_distance == pytest.approx(np.sqrt(np.mean(off_diagonal**2)), rel=1e-9)
    assert found.nonpositive_share == pytest.approx(np.mean(outputs <= 0), abs=1e-12)
    never = np.flatnonzero(outputs.max(axis=0) <= 0)
    assert found.relu_dead_channels == tuple(never)
    assert found.relu_dead_share == len(never) / outputs.shape[1]


def snapshot(model: nn.Module) -> bytes:
    tensors = [
        (name, id(t), t._version, t.tolist())
        for name, t in model.state_dict(keep_vars=True).items()
    ]
    states = (random.getstate(), np.random.get_state(), torch.get_rng_state().tolist())
    return pickle.dumps((tensors, [m.training for m in model.modules()], states))


def degenerate() -> dict[str, tuple[nn.Conv2d, Tensor]]:
    gray = IMAGES[:, :1]
    flat = torch.zeros(2, 1, 6, 6)
    flat[1] = 1.0  # two flat images
    huge = make_conv().double()
    huge.weight.data *= 1e58
    tiny = make_conv().double()
    tiny.weight.data *= 1e-200
    return {
        "all filters zero": (with_bank(torch.zeros(3, 9), 1, 3), gray),
        "all filters zero, biased": (with_bank(torch.zeros(3, 9), 1, 3, bias=1.0), gray),
        "one filter": (make_conv(1, 1), gray),
        "one value a patch": (make_conv(1, 4, 1), gray),
        "flat patches": (make_conv(1), flat),
        "one patch": (make_conv(), IMAGES[:1, :, :3, :3]),
        "all filters equal": (with_bank(torch.ones(5, 27), 3, 3), IMAGES),
        "huge weights": (huge, IMAGES.double() * 1e58),
        "tiny weights": (tiny, IMAGES.double()),
        "subnormal weights": (with_bank(torch.full((3, 9), 1e-44), 1, 3), gray),
    }


def broken_conv(value: float, name: str = "weight") -> nn.Conv2d:
    conv = make_conv()
    getattr(conv, name).data.view(-1)[:2] = value
    return conv
