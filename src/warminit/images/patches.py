"""images (N, C, *size) -> patches (P, C * prod(K)), one mean removed per patch."""

import random
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from warminit.errors import WarminitError

Centering = Literal["patch", "channel", "none"]
_INDEX_VALUES = 1_000_000
_PIECE_VALUES = 2_000_000

ArrayT = TypeVar("ArrayT", Tensor, NDArray[Any])


class HasState(Protocol):
    """Python's Mersenne Twister: a `random.Random`, or the module `random` for the global one."""

    def getstate(self) -> tuple[Any, ...]: ...  # noqa: D102
    def setstate(self, state: tuple[Any, ...]) -> None: ...  # noqa: D102


def sample_patches(
    images: Tensor,
    n_patches: int,
    kernel_size: tuple[int, ...],
    generator: torch.Generator,
    *,
    dilation: tuple[int, ...] = (),
) -> Tensor:
    """Sample patches at uniformly random positions, equally many per image (Section 4.2).

    Args:
        images: Images (N, C, *size) of any number of spatial dimensions, any device and dtype.
        n_patches: Number of patches per image.
        kernel_size: Patch size K, one number per spatial dimension.
        generator: Generator on the CPU, so that every device uses the same positions.
        dilation: Distance between neighboring values of a patch, 1 everywhere by default; the
            dilated patch must fit the image.

    Returns:
        (N * n_patches, C * prod(K)) in the order C, *K. Each row is an unchanged patch of its
        image.
    """
    count, channels, *size = images.shape
    strides = images.stride()
    start = (strides[0] * torch.arange(count))[:, None].repeat(1, n_patches)
    offsets = strides[1] * torch.arange(channels)
    steps = dilation or (1,) * len(size)
    for axis, (extent, kernel, step) in enumerate(zip(size, kernel_size, steps, strict=True)):
        places = extent - step * (kernel - 1)
        drawn = torch.randint(places, (count, n_patches), generator=generator)
        start += strides[axis + 2] * drawn
        offsets = (offsets[:, None] + strides[axis + 2] * step * torch.arange(kernel)).flatten()
    return _read(images, start.flatten(), offsets, kernel_size[-1], strides[-1] * steps[-1])


def _read(images: Tensor, start: Tensor, offsets: Tensor, width: int, step: int) -> Tensor:
    """Read patches (P, D) at start (P,) + offsets (D,), in rows of `width` values `step` apart."""
    # Read through the images' own strides: no layout (channels_last, a group's channels) is copied.
    ends = zip(images.shape, images.stride(), strict=True)
    reach = 1 + sum((n - 1) * stride for n, stride in ends)
    # Where a row of a patch lies in one run it is taken at once: a run begins at every value.
    run = width if step == 1 else 1
    runs = images.as_strided((reach - run + 1, run), (1, 1))
    patches = images.new_empty(len(start), len(offsets))
    start, offsets = start.to(images.device), offsets[::run].to(images.device)
    # A piece a time: the index of all patches could be as large as they are.
    piece = max(1, _INDEX_VALUES // len(offsets))
    for part, target in zip(start.split(piece), patches.split(piece), strict=True):
        index = (part[:, None] + offsets).flatten()
        torch.index_select(runs, 0, index, out=target.view(-1, run))
    return patches


def second_moment(patches: Tensor) -> Tensor:
    """Compute the mean outer product of the patches, summed in float64 piece by piece.

    Args:
        patches: Patches (P, D).

    Returns:
        (D, D) float64, symmetric and positive semi-definite up to rounding.
    """
    size = patches.shape[1]
    moment = torch.zeros(size, size, dtype=torch.float64, device=patches.device)
    for part in patches.split(max(1, _PIECE_VALUES // size)):
        wide = part.double()
        moment.addmm_(wide.T, wide)
    return moment / len(patches)


def center_patches(
    patches: ArrayT, centering: Centering = "patch", channels: int | None = None
) -> ArrayT:
    """Remove the mean of each patch, over all channels at once (Equation 1).

    Args:
        patches: Patches (P, C * prod(K)). NumPy arrays stay NumPy: their summation order is part of
            Listing 1's bits.
        centering: "patch" as in the paper; "channel" removes a mean for each channel of a patch;
            "none" removes nothing.
        channels: Number of channels C, required for "channel".

    Returns:
        The same shape. With "patch" and "channel" the rows sum to zero, up to rounding.
    """
    if centering not in get_args(Centering):
        raise WarminitError(
            f"centering={centering!r}: expected one of {', '.join(get_args(Centering))}."
        )
    if centering == "none":
        return patches
    groups = channels or 1 if centering == "channel" else 1
    if isinstance(patches, Tensor):
        split = patches.view(len(patches) * groups, -1)
        return (split - split.mean(dim=1, keepdim=True)).view_as(patches)
    rows: NDArray[Any] = patches.reshape(len(patches) * groups, -1)
    centered: NDArray[Any] = rows - rows.mean(axis=1, keepdims=True)
    return centered.reshape(patches.shape)


def listing_patches(
    images: NDArray[Any], n_patches: int, patch_size: tuple[int, ...], rng: HasState
) -> NDArray[Any]:
    """Sample the patches of Listing 1's loop, without looping over patches.

    Args:
        images: Images (N, C, H, W).
        n_patches: Number of patches per image.
        patch_size: Height and width of a patch, at most H and W.
        rng: Source of `randint`; advanced exactly as the loop advances it.

    Returns:
        (N * n_patches, C * prod(patch_size)), the loop's patches in the loop's order.
    """
    count, channels, height, width = images.shape
    tall, wide = patch_size
    rows, cols = draw_positions(rng, count * n_patches, height - tall + 1, width - wide + 1)
    # `require` copies what torch would warn of: an array that is read-only or not contiguous.
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    channel, row, col = np.ogrid[:channels, :tall, :wide]
    offsets = ((channel * height + row) * width + col).ravel()
    image = np.repeat(np.arange(count), n_patches)
    start = image * (channels * height * width) + rows * width + cols
    return _read(pixels, torch.from_numpy(start), torch.from_numpy(offsets), wide, 1).numpy()


def draw_positions(
    rng: HasState, count: int, n_rows: int, n_cols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw as `count` alternating calls of `randint(0, n_rows - 1)` and `randint(0, n_cols - 1)`.

    For a number below n, CPython takes the top `n.bit_length()` bits of a 32-bit Mersenne Twister
    word. It draws again while they are not below n.

    Returns:
        Rows in [0, n_rows) and columns in [0, n_cols). `rng` ends in the state after the calls.
    """
    version, words, gauss = rng.getstate()
    start: Any = {
        "bit_generator": "MT19937",
        "state": {"key": np.array(words[:-1], dtype=np.uint32), "pos": words[-1]},
    }
    twister = np.random.MT19937()
    # A range of n takes n of 2 ** bit_length words; the rest leaves room for bad luck.
    n_words = 64 + int(1.05 * count * sum(2 ** n.bit_length() / n for n in (n_rows, n_cols)))
    while True:
        twister.state = start
        raw = twister.random_raw(n_words)
        row, col = (raw >> np.uint64(32 - n.bit_length()) for n in (n_rows, n_cols))
        takes_row, takes_col = row < n_rows, col < n_cols
        # Two equal ranges take the same words, and so each second of them.
        takes = takes_row if n_rows == n_cols else _takes(takes_row, takes_col)
        taken = np.flatnonzero(takes)
        if taken.size >= 2 * count:
            break
        n_words *= 2
    taken = taken[: 2 * count]
    used = int(taken[-1]) + 1 if count else 0
    twister.state = start
    if used:
        twister.random_raw(used, output=False)
    end = twister.state["state"]
    rng.setstate((version, (*end["key"].tolist(), int(end["pos"])), gauss))
    return row[taken[0::2]].astype(np.int64), col[taken[1::2]].astype(np.int64)


def _takes(takes_row: NDArray[np.bool_], takes_col: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which words are accepted if rows and columns take turns.

    A word is compared with one of two ranges, depending on all words before it. So each word maps
    the state "row or column next". A word that both ranges accept swaps the state. A word that both
    reject keeps the state. A word that only one range accepts makes the other range next, in any
    state. So the state at a word follows from the last word of the third kind, swapped once for
    each later word of the first kind.
    """
    decides = np.flatnonzero(takes_row != takes_col)
    swaps = np.cumsum(takes_row & takes_col)
    # At each word: the last word before it that decided the state, if any (-1: the beginning).
    last = np.full(len(swaps), -1)
    last[decides] = decides
    last = np.concatenate(([-1], np.maximum.accumulate(last)[:-1]))
    swaps_before = np.concatenate(([0], swaps[:-1]))
    col_next = (last >= 0) & takes_row[last]
    swapped = (swaps_before - np.where(last >= 0, swaps[last], 0)) % 2 == 1
    taken: NDArray[np.bool_] = np.where(col_next ^ swapped, takes_col, takes_row)
    return taken


def listing_generator(seed: int) -> random.Random:
    """Return a private Mersenne Twister in the state that `random.seed(seed)` gives the global."""
    return random.Random(seed)
