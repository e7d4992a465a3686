"""images, seed -> filters. The arms' papers in plain NumPy; run as a script, it stores the numbers.

Nothing here imports the package or torch. Random draws come from NumPy's Mersenne Twister: torch's
CPU generator is the same one, its float32 uniforms are the low 24 bits of a word, its float64 ones
the low 53 bits of two, and its normals are Box-Muller's in blocks of 16.

The images of the stored cases are as large as the kernel, so every sampled patch is a whole image
and the numbers hold for every way of drawing positions.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIXTURES = Path(__file__).parent / "fixtures"
INPUT_SEED, SEED, SHAPE = 11, 5, (8, 2, 3, 3)
N_FILTERS, SCALE, EPS = 4, 0.25, 0.05


def stored_images() -> Array:
    """32 noisy copies of 4 far prototypes, (32, 2, 3, 3); k-means has one sensible answer."""
    draw = np.random.RandomState(INPUT_SEED)
    prototypes = 3 * draw.randn(4, 18)
    noisy = prototypes[np.arange(32) % 4] + 0.1 * draw.randn(32, 18)
    return noisy.astype(np.float32).astype(np.float64).reshape(32, 2, 3, 3)


def words(seed: int, count: int) -> NDArray[np.uint64]:
    generator: Any = np.random.RandomState(seed)
    raw: NDArray[np.uint64] = generator._bit_generator.random_raw(count)
    return raw


def uniform32(seed: int, count: int) -> Array:
    return (words(seed, count) & np.uint64(2**24 - 1)) / 2**24


def uniform64(seed: int, count: int) -> Array:
    pairs = words(seed, 2 * count)
    return ((pairs[0::2] << np.uint64(32) | pairs[1::2]) & np.uint64(2**53 - 1)) / 2**53


def normal(uniforms: Callable[[int, int], Array], seed: int, count: int) -> Array:
    """Box-Muller on blocks of 16; an odd end is drawn anew as the last 16 (count >= 16)."""

    def block(u: Array) -> Array:
        radius, angle = np.sqrt(-2 * np.log(1 - u[:8])), 2 * np.pi * u[8:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])

    tail = 16 if count % 16 else 0
    u = uniforms(seed, count + tail)
    out = np.zeros(count)
    for start in range(0, count - 15, 16):
        out[start : start + 16] = block(u[start : start + 16])
    if tail:
        out[-16:] = block(u[count:])
    return out


def kaiming_uniform(shape: tuple[int, ...], seed: int, deviation: float) -> Array:
    bound = math.sqrt(3) * deviation
    return (uniform32(seed, math.prod(shape)) * 2 * bound - bound).reshape(shape)


def orthogonal(shape: tuple[int, ...], seed: int) -> Array:
    """Saxe et al.: the Q of a Gaussian matrix, made unique by a positive diagonal of R."""
    gaussian = normal(uniform32, seed, math.prod(shape)).reshape(shape[0], -1)
    tall = gaussian if gaussian.shape[0] >= gaussian.shape[1] else gaussian.T
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return (q if tall is gaussian else q.T).reshape(shape)


def manhattan_weights(channels: int, size: int) -> Array:
    """Equation 2 position by position, channel by channel."""
    values = [
        1 / (1 + abs(row - size // 2) + abs(column - size // 2))
        for _ in range(channels)
        for row in range(size)
        for column in range(size)
    ]
    return np.array(values)


def centroids(patches: Array, centering: str = "patch", channels: int = 2) -> Array:
    """Means of the four known clusters, in which patch i belongs to cluster i modulo 4."""
    split = patches.reshape(len(patches), channels if centering == "channel" else 1, -1)
    centered = split - (0 if centering == "none" else split.mean(2, keepdims=True))
    flat = centered.reshape(patches.shape)
    return np.stack([flat[np.arange(len(flat)) % 4 == label].mean(0) for label in range(4)])


def prewarm(images: Array, centering: str = "patch", spatial: bool = True) -> Array:
    """Section 4.2, steps 1 to 4, for images of the kernel's size; the clusters' order is free."""
    bank = centroids(images.reshape(len(images), -1), centering, images.shape[1])
    if spatial:
        bank = bank * manhattan_weights(images.shape[1], images.shape[2])
    return scaled(bank).reshape(-1, *images.shape[1:])


def whitening(patches: Array, count: int, eps: float) -> tuple[Array, Array]:
    """Leading right singular vectors of the centered patches over sqrt(eigenvalue + eps).

    Returns the directions (at most D - 1) and all eigenvalues of the second moment. By the singular
    values of the patches themselves, not by an eigendecomposition of their moment.
    """
    centered = patches - patches.mean(1, keepdims=True)
    _, singular, rows = np.linalg.svd(centered / math.sqrt(len(patches)), full_matrices=False)
    values = singular**2
    directions = []
    for row, value in list(zip(rows, values, strict=True))[: min(count, len(rows) - 1)]:
        sign = 1 if row[np.argmax(abs(row))] > 0 else -1
        directions.append(sign * row / math.sqrt(value + eps * values.mean()))
    return np.array(directions), values


def gabor(index: int, n: int, shape: tuple[int, int, int]) -> Array:
    """One Gabor function, pixel by pixel: wavelength K, envelope K / 2, zero mean, unit norm."""
    _, height, width = shape
    size, n_edges = max(height, width), math.ceil(n / 2)
    is_edge = index < n_edges
    share = index / n_edges if is_edge else (index - n_edges) / (n - n_edges)
    angle = share * (2 * math.pi if is_edge else math.pi)
    out = np.zeros(shape)
    for i in range(height):
        for j in range(width):
            y, x = i - (height - 1) / 2, j - (width - 1) / 2
            along = x * math.cos(angle) + y * math.sin(angle)
            wave = (math.sin if is_edge else math.cos)(2 * math.pi * along / size)
            out[:, i, j] = wave * math.exp(-(x * x + y * y) / (2 * (size / 2) ** 2))
    out -= out.mean()
    return out / np.linalg.norm(out)


def dct(shape: tuple[int, ...], brightness: bool) -> Array:
    """Every product of cosines, lowest sum of frequency shares first; ties by index."""
    orders = sorted(np.ndindex(*shape), key=lambda k: (sum(f / n for f, n in zip(k, shape)), k))  # noqa: B905
    bank = []
    for order in orders[0 if brightness else 1 :]:
        out = np.ones(shape)
        for place in np.ndindex(*shape):
            for p, f, n in zip(place, order, shape, strict=True):
                norm = math.sqrt((1 if f == 0 else 2) / n)
                out[place] *= norm * math.cos(math.pi * f * (2 * p + 1) / (2 * n))
        bank.append(out)
    return np.array(bank)


def scaled(bank: Array) -> Array:
    result: Array = SCALE * bank / np.std(bank)
    return result


def gaussian_like_prewarm() -> Array:
    wanted = prewarm(stored_images())
    drawn = normal(uniform64, SEED, wanted.size).reshape(wanted.shape)
    result: Array = drawn * np.std(wanted) / np.std(drawn)
    return result


def patches_like_prewarm() -> Array:
    images = stored_images()
    chosen = images[(words(SEED, N_FILTERS) % np.uint64(len(images))).astype(int)]
    norm = float(np.linalg.norm(prewarm(images)) / np.linalg.norm(chosen))
    result: Array = chosen * norm
    return result


FAN_IN, FAN_OUT = math.prod(SHAPE[1:]), SHAPE[0] * math.prod(SHAPE[2:])
STATEMENTS: dict[str, Callable[[], Array]] = {
    "torch-default": lambda: kaiming_uniform(SHAPE, SEED, 1 / math.sqrt(3 * FAN_IN)),
    "he-uniform": lambda: kaiming_uniform(SHAPE, SEED, math.sqrt(2 / FAN_IN)),
    "glorot": lambda: kaiming_uniform(SHAPE, SEED, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "he-normal": lambda: (
        normal(uniform32, SEED, math.prod(SHAPE)).reshape(SHAPE) * math.sqrt(2 / FAN_IN)
    ),
    "orthogonal": lambda: orthogonal(SHAPE, SEED),
    "prewarm": lambda: prewarm(stored_images()),
    "shuffled-prewarm": lambda: np.sort(
        prewarm(stored_images()).reshape(N_FILTERS, -1), axis=1
    ).reshape(N_FILTERS, *SHAPE[1:]),
    "norm-matched-random": gaussian_like_prewarm,
    "random-patches": patches_like_prewarm,
    "whitening": lambda: scaled(
        whitening(stored_images().reshape(32, -1), N_FILTERS, EPS)[0]
    ).reshape(N_FILTERS, *SHAPE[1:]),
    "dct": lambda: scaled(dct(SHAPE[1:], brightness=False)[:N_FILTERS]),
    "gabor": lambda: scaled(np.stack([gabor(i, N_FILTERS, (2, 3, 3)) for i in range(N_FILTERS)])),
}

UNORDERED = ("prewarm", "shuffled-prewarm")
"""The order of k-means clusters is no part of the paper: filters are stored by first value."""

_COUNT = {"patches_per_image": 1, "scale": SCALE}
PARAMETERS: dict[str, dict[str, Any]] = {
    "whitening": {"n_filters": N_FILTERS, "eps": EPS, **_COUNT},
    **{
        arm: {"n_filters": N_FILTERS, **_COUNT}
        for arm in (*UNORDERED, "norm-matched-random", "random-patches", "dct", "gabor")
    },
}


def by_first_value(filters: Array) -> Array:
    ordered: Array = filters[np.argsort(filters.reshape(len(filters), -1)[:, 0])]
    return ordered


def read_fixture(arm: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((FIXTURES / f"{arm}.json").read_text(encoding="utf-8"))
    return stored


def write_fixtures() -> None:
    FIXTURES.mkdir(exist_ok=True)
    for arm, statement in STATEMENTS.items():
        filters = by_first_value(statement()) if arm in UNORDERED else statement()
        stored = {
            "arm": arm,
            "input_seed": INPUT_SEED,
            "seed": SEED,
            "shape": SHAPE,
            "parameters": PARAMETERS.get(arm, {}),
            "expected": np.round(filters.reshape(len(filters), -1), 6).tolist(),
        }
        text = json.dumps(stored).replace("], [", "],\n[").replace('"expected"', '\n"expected"')
        (FIXTURES / f"{arm}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_fixtures()
