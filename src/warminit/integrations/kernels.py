"""kernel (*K, C / groups, F), images (N, *size, C) -> kernel conditioned by a torch layer.

Keras and Flax have channels last, in images and in kernels; torch has them first. Both adapters
share this module.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.initializers import init_
from warminit.initializers.network.variance_rules import torch_default
from warminit.report import InitReport

HEAD_IS_LEFT = (
    "the head is unchanged: this adapter sets only the input layer. Multiply the last layer's "
    "kernel by 0.1 yourself, unless a normalization feeds it."
)

_CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


def condition_kernel(
    kernel: NDArray[Any],
    images: ArrayLike,
    method: str,
    *,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
    seed: int = 0,
    **parameters: Any,
) -> tuple[NDArray[np.float32], InitReport]:
    """Return a conditioned copy of a kernel, and the method's report.

    Args:
        kernel: Kernel (*K, C / groups, F), one to three spatial dimensions.
        images: Images (N, *size, C), scaled as the model is fed.
        method: Name from `methods()`; only the stem is set.
        groups: Groups of the layer.
        dilation: Dilation of the layer.
        seed: Seed of the method's own generator.
        **parameters: Options of the method.

    Returns:
        (*K, C / groups, F) float32, and the report. The set filters equal those of a torch layer
        for the same images; the others stay.

    Raises:
        WarminitError: For any invalid input.
    """
    batch = _images_in_torch(images)
    twin = _twin(kernel.shape, groups, dilation)
    with torch.no_grad():
        filters = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)), dtype=np.float32)
        twin.weight.copy_(torch.from_numpy(filters))
    report = init_(twin, batch, method, seed=seed, **parameters)
    if "head_scale" in report.parameters:  # its last note is torch's advice on the twin's head
        report = replace(report, notes=(*report.notes[:-1], HEAD_IS_LEFT))
    result: NDArray[np.float32] = np.moveaxis(twin.weight.detach().numpy(), (0, 1), (-1, -2))
    return result, report


def conditioned_filters(
    shape: tuple[int, ...], images: ArrayLike, method: str, *, seed: int = 0, **parameters: Any
) -> NDArray[np.float32]:
    """Return the filters that a method sets in a fresh kernel of this shape: (*K, C, n), n <= F."""
    channels = np.shape(images)[-1:]
    if tuple(shape[-2:-1]) != channels:
        raise WarminitError(
            f"the kernel {tuple(shape)} does not fit images {np.shape(images)}: expected channels "
            "last in images, and last but one in the kernel. Use this initializer for the input "
            "layer only, with images (N, *size, C)."
        )
    twin = _twin(tuple(shape), 1, 1)
    torch_default(twin, twin.weight, seed=0)  # what is not set must be fresh, and is not returned
    kernel = np.moveaxis(twin.weight.detach().numpy(), (0, 1), (-1, -2))
    result, report = condition_kernel(kernel, images, method, seed=seed, **parameters)
    return result[..., : report.filters_set]


def _images_in_torch(images: ArrayLike) -> Tensor:
    """Return images (N, *size, C) as a view (N, C, *size); the values are checked later."""
    try:
        return torch.from_numpy(np.asarray(images)).movedim(-1, 1)
    except (TypeError, ValueError, IndexError) as error:
        raise WarminitError(
            f"images is a {type(images).__name__}: expected an array (N, *size, C) of numbers "
            f"({error}). Pass one training batch as an array, channels last."
        ) from error


def _twin(shape: tuple[int, ...], groups: int, dilation: int | tuple[int, ...]) -> Any:
    if len(shape) not in _CONVOLUTIONS:
        raise WarminitError(
            f"the kernel has {len(shape)} dimensions, shape {shape}: expected 3 to 5: (*K, C, F). "
            "Choose a convolution."
        )
    *kernel, channels, out_channels = shape
    # Without values there is nothing to draw, so no random state moves.
    return nn.utils.skip_init(
        _CONVOLUTIONS[len(shape)],
        channels * groups,
        out_channels,
        tuple(kernel),
        groups=groups,
        dilation=dilation,
        bias=False,
    )
