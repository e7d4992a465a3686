"""model -> attention heads that begin as one-patch shifts, like convolution filters."""

import time

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.attention_changes import changes_of, find_attention
from warminit.initializers.bodies.mimetic import (
    PositionChoice,
    attention_report,
    check_positions,
    mimetic_value,
    of_same_norms,
)
from warminit.initializers.bodies.parameters import (
    Content,
    check_content,
    check_number,
    write_,
)
from warminit.initializers.bodies.positions import find_positions, sinusoidal_positions
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.attention import AttentionLayer, Rows
from warminit.models.ranks import all_or_none
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport

POSITION_SCALE = 0.36
"""Deviation of positions: the authors' code multiplies positions of 0.02 by 18."""

QUERY_KEY_NORM = 7.0
"""Norm of a head's query and key weights in the authors' code."""

_PEAK, _NOISE = 1000.0, 3.0
_SHIFTS = ((0, 0), (-1, 0), (0, 1), (0, -1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""(row, column) of a head's shift, head by head, in the order of the authors' code."""


@own_arithmetic()
def impulse(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    positions: PositionChoice = "keep",
    position_scale: float = POSITION_SCALE,
    norm: float = QUERY_KEY_NORM,
    content: Content = "own",
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Set each attention head to a shift by at most one patch (Zheng et al., 2025).

    "Structured Initialization for Vision Transformers" (arXiv:2505.19985): each head acts like an
    impulse filter of a 3 x 3 convolution, so each patch attends to one neighbour. Let P (patches,
    width) be the layer-normalized positions. Then P W_q^T W_k P^T approximates 1000 times the shift
    plus noise. The factors come from the pseudo-inverse of P, cut to the head's rank, and each is
    scaled to `norm`. Value and projection are set as by `mimetic`. Positions are scaled to
    `position_scale`, so tokens know their position. This follows the authors' code
    (osiriszjq/structured_initialization). Biases stay.

    Args:
        model: A vision transformer with learned positions of its patches.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; one
            image verifies the attention layout and shows the grid of patches.
        seed: Seed of the draws.
        positions: "sinusoidal" sets positions to sines and cosines first; "keep" uses the model's
            positions.
        position_scale: Root mean square of the patches' positions, above 0.
        norm: Norm of each head's query and key weights, above 0.
        content: "own", or "random": the control, Gaussian matrices of the same norms. Both scale
            the positions.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report. A shift is more exact if the head's rank is larger relative to the number of
        patches.

    Raises:
        WarminitError: If attention or learned positions are not found. The model is then
            bit-identical to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    check_content(content)
    check_positions(positions)
    position_scale = check_number("position_scale", position_scale)
    norm = check_number("norm", norm)
    subject = Subject.of(model, images, mean=mean, std=std, operations=True)
    with all_or_none():
        seen = find_attention(subject)
        place = find_positions(subject.survey.model, seen)
        if other := [each.name for each in seen.layers if each.width != place.width]:
            raise WarminitError(
                f"{other[0]} has tokens of another width than {place.name}, {place.width}: "
                "expected one width. Choose another initializer for a model with stages."
            )
    patches = place.of_patches()
    if positions == "sinusoidal":
        patches = sinusoidal_positions(place.grid, place.width)
    size = float(patches.square().mean().sqrt())
    if not 0 < size < float("inf"):
        raise WarminitError(
            f"{place.name} has root mean square {size:.3g}: expected a finite number above 0. "
            "Pass positions='sinusoidal'."
        )
    patches = patches * (position_scale / size)
    generator = torch.Generator().manual_seed(seed)
    new: list[tuple[Rows, Tensor]] = []
    for layer in seen.layers:
        new += _shifts(layer, patches, place.grid, norm, generator)
        new += mimetic_value(layer, (0.4, 0.4), generator)
    changes = changes_of(of_same_norms(new, seed) if content == "random" else new)
    write_([*changes, place.change(patches)])
    parameters = {"positions": positions, "position_scale": position_scale, "norm": norm}
    return attention_report(
        "impulse", seen, new, {**parameters, "content": content}, seed, started, subject.note
    )


def shift_matrix(grid: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """Return the shift matrix (patches, patches), float64: 1 at each patch's neighbour."""
    rows, columns = grid
    matrix = torch.zeros(*grid, *grid, dtype=torch.float64)
    for row in range(max(0, -shift[0]), rows - max(0, shift[0])):
        for column in range(max(0, -shift[1]), columns - max(0, shift[1])):
            matrix[row, column, row + shift[0], column + shift[1]] = 1
    return matrix.reshape(rows * columns, rows * columns)


def _shifts(
    layer: AttentionLayer,
    patches: Tensor,
    grid: tuple[int, int],
    norm: float,
    generator: torch.Generator,
) -> list[tuple[Rows, Tensor]]:
    """Return query and key weights whose heads each attend at a different shift."""
    rank = layer.inner // layer.heads
    normalized = nn.functional.layer_norm(patches, (layer.width,))
    left, values, right = torch.linalg.svd(normalized, full_matrices=False)
    kept = min(rank, int((values > 1e-9 * values[0]).sum()))
    # P^+ of this rank is V S^-1 U^T: what is between V and V^T is small, and its factors are exact.
    inverse = left[:, :kept] / values[:kept]
    queries: list[Tensor] = []
    keys: list[Tensor] = []
    for head in range(layer.heads):
        wanted = shift_matrix(grid, _SHIFTS[head % len(_SHIFTS)])
        noise = torch.empty(wanted.shape, dtype=torch.float64)
        nn.init.trunc_normal_(noise, std=0.6, generator=generator)
        wanted = _PEAK * wanted + _NOISE * noise * (wanted == 0)
        u, s, v = torch.linalg.svd(inverse.T @ wanted @ inverse)
        for parts, factor in ((queries, u * s.sqrt()), (keys, v.T * s.sqrt())):
            made = torch.zeros(rank, layer.width, dtype=torch.float64)
            made[:kept] = (right[:kept].T @ factor).T
            parts.append(made * (norm / made.norm()))
    return [(layer.query, torch.cat(queries)), (layer.key, torch.cat(keys))]
