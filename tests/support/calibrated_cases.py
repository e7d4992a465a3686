"""images -> weights, as the two papers state it, in NumPy; and the small nets that they start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from warminit.images.patches import sample_patches
from warminit.initializers.network.krahenbuhl import krahenbuhl
from warminit.initializers.network.lsuv import lsuv

Array = NDArray[Any]
ARMS: list[Callable[..., Any]] = [krahenbuhl, lsuv]


class Dead(nn.Module):
    """The second layer sees zeros, or one live channel of two."""

    def __init__(self, live: tuple[float, float]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.late = nn.Conv2d(2, 4, 1, groups=2)
        self.live = torch.tensor(live).view(1, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.late(self.stem(x) * self.live)  # type: ignore[no-any-return]


class Net(nn.Module):
    """Layers are defined in another order than they run in, and one never runs."""

    def __init__(self, *, batch_norm: bool = False, bias: bool = True, channels: int = 1) -> None:
        super().__init__()
        self.head = nn.Linear(5 * 4, 3)
        self.unused = nn.Linear(4, 4)
        self.stem = nn.Conv2d(channels, 6, 3, padding=1, bias=bias)
        self.bn = nn.BatchNorm2d(6) if batch_norm else nn.Identity()
        self.drop = nn.Dropout(0.5)
        self.body = nn.Conv2d(6, 5, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu_(self.bn(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(F.relu_(self.body(x)), 2).flatten(1))  # type: ignore[no-any-return]


def make_images(count: int = 16, channels: int = 1, size: int = 9, seed: int = 0) -> Tensor:
    noise = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(noise, 3, 1, 1) * 3 + noise + 0.5


def outputs_of(model: nn.Module, images: Tensor) -> dict[str, Array]:
    """Each layer's output in eval mode, by hooks of the test's own: (C, everything else)."""
    found: dict[str, Array] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            found[name] = output.double().numpy().swapaxes(0, 1).reshape(output.shape[1], -1)

        return hook

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    handles = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    was_training = model.training
    with torch.no_grad():
        model.eval()(images)
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return found


def convolve(x: Array, weight: Array) -> Array:
    """Slide a window over the images: (N, C, H, W) -> (N, F, H', W')."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    summed: Array = np.einsum("nchwij,fcij->nfhw", windows, weight)
    return summed


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))


def run_small(
    images: Array, fit: Callable[[int, Callable[[Array], Array]], tuple[Array, Array]]
) -> list[Array]:
    """Fit and run `small_net` in NumPy; `fit` gets (layer, weight -> output without bias)."""
    weight, bias = fit(0, lambda w: convolve(images, w))
    hidden = np.maximum(convolve(images, weight) + bias[:, None, None], 0)
    flat = hidden.reshape(len(images), -1)
    last, last_bias = fit(1, lambda w: flat @ w.T)
    return [weight, bias, last, last_bias]


SMALL_SHAPES = [(4, 2, 2, 2), (3, 36)]


def stated_lsuv(images: Array, seed: int) -> list[Array]:
    """Algorithm 1 of Mishkin & Matas on `small_net`, the biases as in the published code."""
    generator = torch.Generator().manual_seed(seed)

    def fit(layer: int, run: Callable[[Array], Array]) -> tuple[Array, Array]:
        shape = SMALL_SHAPES[layer]
        # Wider than tall, both: orthonormal rows from the QR decomposition of a Gaussian, signed.
        normal = torch.empty(shape[0], int(np.prod(shape[1:])), dtype=torch.float64)
        q, r = np.linalg.qr(normal.normal_(generator=generator).numpy().T)
        weight, bias = (q * np.sign(np.diag(r))).T.reshape(shape), np.zeros(shape[0])
        for _ in range(10):
            output = run(weight) + bias[0]
            if abs(output.var() - 1) < 0.1:
                break
            coefficient = 1 / output.std()
            weight = weight * coefficient
            bias = bias - output.mean() * coefficient
        return weight, bias

    return run_small(images, fit)


def stated_krahenbuhl(images: Array, seed: int, beta: float, n_patches: int) -> list[Array]:
    """Algorithm 1 of Krähenbühl et al. on `small_net`, the input layer by PCA."""
    generator = torch.Generator().manual_seed(seed)

    def fit(layer: int, run: Callable[[Array], Array]) -> tuple[Array, Array]:
        weight = torch.randn(SMALL_SHAPES[layer], generator=generator, dtype=torch.float64).numpy()
        if layer == 0:
            patches = sample_patches(torch.from_numpy(images), n_patches, (2, 2), generator).numpy()
            _, _, rows = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
            weight = np.stack([row * np.sign(row[np.abs(row).argmax()]) for row in rows[:4]])
            weight = weight.reshape(SMALL_SHAPES[0])
        output = run(weight)
        axes = (0, 2, 3) if layer == 0 else (0,)
        mean, std = output.mean(axes), output.std(axes)
        return weight / std.reshape(-1, *[1] * (weight.ndim - 1)), beta - mean / std

    return run_small(images, fit)


def stated_kmeans(patches: Array, n_filters: int) -> Array:
    """The published code's k-means basis, with scikit-learn's Lloyd; rows in sorted order."""
    centered = (patches - patches.mean(0)) / (patches - patches.mean(0)).std()
    _, s, rows = np.linalg.svd(centered, full_matrices=False)
    keep = s[:n_filters] ** 2 >= 1e-6
    back = rows[:n_filters][keep] / np.sqrt(s[:n_filters][keep] ** 2 + 1e-3)[:, None]
    whitened = centered @ back.T
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    centroids = KMeans(n_filters, n_init=20, random_state=0, tol=0).fit(whitened).cluster_centers_
    directions = centroids @ back
    directions /= ((patches - patches.mean(0)) @ directions.T).std(0)[:, None]
    ordered: Array = directions[np.lexsort(directions.T)]
    return ordered
