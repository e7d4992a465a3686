"""SimpleCNN -> the same function, faster on a CPU; other models do not change.

Three identities, exact in real arithmetic, save useless computations of torch:

- BatchNorm removes the mean, and a convolution's bias with it. In training the bias only affects
the running mean, and its gradient is zero, so it is not added.
- A layer on a whole image is a convolution of the image's size. torch computes float32 products by
MKL, which on some processors has half the rate of its convolutions (measured).
- In evaluation BatchNorm is one more factor of the weights, and pooling needs no positions.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.lab.networks.simple import SimpleCNN

Forward = Callable[[Tensor], Tensor]
"""Standardized images (N, C, H, W) -> logits (N, n_classes)."""


def training_forward(model: nn.Module) -> Forward:
    """Return the fastest way to compute a model's logits in training mode.

    Args:
        model: Any model. Only an unchanged `SimpleCNN` with BatchNorm on the CPU is accelerated;
            for others the result is the model.

    Returns:
        A callable with the model's parameters and buffers. Logits, gradients and running statistics
        equal those of `model(images)` up to the order of sums.

    Example:
        >>> model = SimpleCNN(1, (28, 28), 10)
        >>> training_forward(model)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    layers = _fusible_layers(model)
    if layers is None:
        return model

    def forward(images: Tensor) -> Tensor:
        x = _trained_block(images, layers.conv1, layers.bn1)
        x = _trained_block(x, layers.conv2, layers.bn2)
        # The biases' gradient is zero, not absent: an optimizer passes over what has none.
        nothing = 0 * sum(conv.get_parameter("bias").sum() for conv in (layers.conv1, layers.conv2))
        return _head(x, layers.fc1, layers.fc2) + nothing

    return forward


def evaluation_forward(model: nn.Module) -> Forward:
    """Return the fastest way to compute a model's logits in evaluation mode, without gradients.

    Args:
        model: Any model, as for `training_forward`.

    Returns:
        A callable for the model's present weights, since this call folds BatchNorm into them.
    """
    layers = _fusible_layers(model)
    if layers is None:
        return model
    first, second = _folded(layers.conv1, layers.bn1), _folded(layers.conv2, layers.bn2)

    def forward(images: Tensor) -> Tensor:
        x = _pooled(F.conv2d(images, *first, padding=layers.conv1.padding)).relu_()
        x = _pooled(F.conv2d(x, *second, padding=1)).relu_()
        return _head(x, layers.fc1, layers.fc2)

    return forward


class _Layers(NamedTuple):
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    conv2: nn.Conv2d
    bn2: nn.BatchNorm2d
    fc1: nn.Linear
    fc2: nn.Linear


def _fusible_layers(model: nn.Module) -> _Layers | None:
    """Return the layers of an unchanged `SimpleCNN` on the CPU."""
    if type(model) is not SimpleCNN or not isinstance(model.bn1, nn.BatchNorm2d):
        return None
    with torch.device("meta"):  # no memory, and nothing is drawn from a generator
        image_size = (4, model.fc1.in_features // 16)
        sizes = model.conv1.in_channels, image_size, model.fc2.out_features
        new = SimpleCNN(*sizes, kernel_size=model.conv1.kernel_size[0])
    hooked = any(
        # torch has no public way to ask for hooks.
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks  # noqa: SLF001
        for module in model.modules()
    )
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if hooked or not on_cpu or str(model) != str(new):
        return None
    return _Layers(*model.children())  # type: ignore[arg-type]  # they are those of `new`


def _trained_block(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Convolve without the bias, normalize by the batch, pool by 2 and rectify."""
    momentum = norm.momentum or 0.0
    running_mean, bias = norm.get_buffer("running_mean"), conv.get_parameter("bias")
    mean = running_mean.clone()  # autograd keeps the one that BatchNorm wrote
    x = F.batch_norm(
        F.conv2d(x, conv.weight, padding=conv.padding),
        *(mean, norm.running_var, norm.weight, norm.bias),
        training=True,
        momentum=momentum,
        eps=norm.eps,
    )
    with torch.no_grad():
        norm.get_buffer("num_batches_tracked").add_(1)
        running_mean.copy_(mean.add(bias, alpha=momentum))
    return F.max_pool2d(x, 2).relu_()


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that equals both in evaluation mode."""
    gain = norm.weight * (norm.get_buffer("running_var") + norm.eps).rsqrt()
    bias = conv.get_parameter("bias") - norm.get_buffer("running_mean")
    return conv.weight * gain[:, None, None, None], norm.bias + gain * bias


def _pooled(x: Tensor) -> Tensor:
    """Return the maximum of every 2 x 2 window; an odd last row or column is left out."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    columns = torch.maximum(x[:, :, :height, :width:2], x[:, :, :height, 1:width:2])
    return torch.maximum(columns[:, :, ::2], columns[:, :, 1::2])


def _head(x: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> Tensor:
    if x.dtype == torch.float32:
        hidden = F.conv2d(x, fc1.weight.unflatten(1, x.shape[1:]), fc1.bias).flatten(1)
    else:  # products in bfloat16 are as fast as convolutions
        hidden = F.linear(x.flatten(1), fc1.weight, fc1.bias)
    return F.linear(hidden.relu_(), fc2.weight, fc2.bias)
