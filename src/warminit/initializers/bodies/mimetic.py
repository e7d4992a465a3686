"""model -> attention like that of trained vision transformers."""

import math
import time
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.attention_changes import (
    SeenAttention,
    changes_of,
    find_attention,
)
from warminit.initializers.bodies.parameters import (
    Content,
    check_content,
    check_number,
    random_like,
    write_,
)
from warminit.initializers.bodies.positions import find_positions, sinusoidal_positions
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.attention import AttentionLayer, Rows
from warminit.models.ranks import all_or_none
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport

PositionChoice = Literal["keep", "sinusoidal"]


@own_arithmetic()
def mimetic(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    query_key: tuple[float, float] = (0.7, 0.7),
    value: tuple[float, float] = (0.4, 0.4),
    positions: PositionChoice = "keep",
    content: Content = "own",
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Set attention to mimic trained vision transformers (Trockman & Kolter, 2023).

    "Mimetic Initialization of Self-Attention Layers" (arXiv:2305.09828), Section 3. In each head,
    W_q^T W_k is the best approximation of a Z + b I at the head's rank. W_proj W_v is a' Z' - b' I.
    The entries of Z and Z' are Gaussian of variance 1 / width. A singular value decomposition gives
    the factors, each with the square roots of the singular values. So a token attends to similar
    tokens, and the layer subtracts a part of the token. Biases stay.

    Args:
        model: A vision transformer; `find_attention` lists the layouts.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; one
            image verifies the attention layout.
        seed: Seed of the draws.
        query_key: Pair (a, b), each from 0 up; (0.7, 0.7) as published by default.
        value: Pair (a', b'), each from 0 up; (0.4, 0.4) as published by default.
        positions: "sinusoidal" sets learned positions to sines and cosines of row and column, as in
            the paper's best results; "keep" leaves them.
        content: "own", or "random": the control, Gaussian matrices of the same norms.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report; its notes name attention of another layout.

    Raises:
        WarminitError: If no attention layer is found, or no positions are. The model is then
            bit-identical to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    check_content(content)
    _check_pair("query_key", query_key)
    _check_pair("value", value)
    check_positions(positions)
    subject = Subject.of(model, images, mean=mean, std=std, operations=True)
    with all_or_none():
        seen = find_attention(subject)
        place = find_positions(subject.survey.model, seen) if positions == "sinusoidal" else None
    generator = torch.Generator().manual_seed(seed)
    new: list[tuple[Rows, Tensor]] = []
    for layer in seen.layers:
        new += mimetic_query_key(layer, query_key, generator)
        new += mimetic_value(layer, value, generator)
    changes = changes_of(of_same_norms(new, seed) if content == "random" else new)
    if place is not None:
        changes.append(place.change(sinusoidal_positions(place.grid, place.width)))
    write_(changes)
    parameters = {"query_key": query_key, "value": value, "positions": positions}
    return attention_report(
        "mimetic", seen, new, {**parameters, "content": content}, seed, started, subject.note
    )


def mimetic_query_key(
    layer: AttentionLayer, weights: tuple[float, float], generator: torch.Generator
) -> list[tuple[Rows, Tensor]]:
    """Return query and key weights whose product is near a multiple of the identity."""
    rank = layer.inner // layer.heads
    queries, keys = [], []
    for _ in range(layer.heads):
        left, right = factors(_near_identity(layer.width, weights, generator), rank)
        queries.append(left.T)
        keys.append(right)
    return [(layer.query, torch.cat(queries)), (layer.key, torch.cat(keys))]


def mimetic_value(
    layer: AttentionLayer, weights: tuple[float, float], generator: torch.Generator
) -> list[tuple[Rows, Tensor]]:
    """Return value and projection weights whose product is near minus the identity."""
    noise, diagonal = weights
    product = _near_identity(layer.width, (noise, -diagonal), generator)
    left, right = factors(product, layer.inner)
    return [(layer.value, right), (layer.projection, left)]


def factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factor the best low-rank approximation of a matrix (n, n): (n, rank) times (rank, n).

    Both factors have the square roots of the singular values. At a head's small rank only the
    largest values count; M^T M gives them as exactly in less than half of the time.
    """
    if 2 * rank <= len(matrix):
        squares, vectors = torch.linalg.eigh(matrix.T @ matrix)
        root, vectors = squares[-rank:].flip(0) ** 0.25, vectors[:, -rank:].flip(1)
        return matrix @ vectors / root, (vectors * root).T
    left, values, right = torch.linalg.svd(matrix)
    root = values[:rank].sqrt()
    made = left[:, :rank] * root, root[:, None] * right[:rank]
    missing = rank - len(values)
    if missing <= 0:
        return made
    # More values than a token has: the rest is zero.
    pad = nn.functional.pad
    return pad(made[0], (0, missing)), pad(made[1], (0, 0, 0, missing))


def _check_pair(name: str, value: tuple[float, float]) -> None:
    """Raise unless both numbers of a pair are at least 0 and one is above 0."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise WarminitError(
            f"{name}={value!r}: expected two numbers, for the noise and for the diagonal. Leave "
            "it out for the published values."
        )
    for each in value:
        check_number(name, each, above=False)
    check_number(name, max(value))


def of_same_norms(new: list[tuple[Rows, Tensor]], seed: int) -> list[tuple[Rows, Tensor]]:
    """Draw Gaussian matrices with the norms of others: the control."""
    generator = torch.Generator().manual_seed(seed)
    return [(rows, random_like(values, generator)) for rows, values in new]


def check_positions(positions: str) -> None:
    """Raise unless a choice of positions has a known name."""
    if positions not in get_args(PositionChoice):
        raise WarminitError(
            f"positions={positions!r}: expected 'keep' or 'sinusoidal'. Leave it out to keep them."
        )


def attention_report(
    method: str,
    seen: SeenAttention,
    new: list[tuple[Rows, Tensor]],
    parameters: dict[str, object],
    seed: int,
    started: float,
    read: str | None,
) -> InitReport:
    """Build the report of a method that sets attention."""
    count = sum(rows.count for rows, _ in new)
    notes = [] if read is None else [read]
    if seen.left_alone:
        notes.append(f"not set, unknown layout: {', '.join(seen.left_alone)}")
    return InitReport(
        method=method,
        layer=", ".join(dict.fromkeys(rows.name for rows, _ in new)),
        found="every attention layer, its layout verified by one image",
        filters_set=count,
        out_channels=count,
        parameters=parameters,
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=tuple(notes),
    )


def _near_identity(width: int, weights: tuple[float, float], generator: torch.Generator) -> Tensor:
    noise, diagonal = weights
    drawn = torch.randn(width, width, generator=generator) / math.sqrt(width)
    return noise * drawn + diagonal * torch.eye(width)
