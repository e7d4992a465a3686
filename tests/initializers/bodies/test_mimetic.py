"""Attention of every layout: the products that the paper states, and what layers make of them."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import bits
from body_cases import Attention, Transformer, images
from warminit.errors import WarminitError
from warminit.initializers.bodies.mimetic import factors, mimetic
from warminit.initializers.bodies.positions import sinusoidal_positions
from warminit.lab.networks.simple import SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEADS = 12, 3


def transformer(layout: str) -> Any:
    attention: nn.Module
    if layout == "multihead":
        attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    else:
        attention = Attention(WIDTH, HEADS, layout)
    return Transformer(attention, WIDTH)


def weights(attention: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, key, value and projection, by each layout's own definition."""
    projection = attention.out_proj.weight
    if isinstance(attention, nn.MultiheadAttention):
        return (*attention.in_proj_weight.chunk(3), projection)
    if attention.layout == "fused":
        return (*attention.qkv.weight.chunk(3), projection)
    return attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight, projection


@pytest.mark.parametrize("layout", ["multihead", "fused", "split"])
def test_the_products_are_near_the_identity(layout: str) -> None:
    """Without noise: b I cut to the head's rank, and minus b' I."""
    model = transformer(layout)
    before = {name: bits(each) for name, each in model.named_parameters()}
    mimetic(model, images(), seed=0, query_key=(0, 0.7), value=(0, 0.4))
    q, k, v, projection = (each.detach() for each in weights(model.attention))
    torch.testing.assert_close(projection @ v, -0.4 * torch.eye(WIDTH))
    rank = WIDTH // HEADS
    for q_head, k_head in zip(q.split(rank), k.split(rank), strict=True):
        product = q_head.T @ k_head
        # 0.7 times a projection on a space of this rank.
        torch.testing.assert_close(product @ product, 0.7 * product)
        assert float(product.trace()) == pytest.approx(0.7 * rank, rel=1e-5)
    changed = {n for n, each in model.named_parameters() if bits(each) != before[n]}
    assert {name.split(".")[0] for name in changed} == {"attention"}
    assert not any("bias" in name for name in changed)


def test_the_products_have_the_published_noise() -> None:
    """W_proj W_v + b' I is a' Z', and a head's product the best approximation of a Z + b I."""
    model = Transformer(nn.MultiheadAttention(256, 1, batch_first=True), 256)
    mimetic(model, images(), seed=0)
    q, k, v, projection = (each.detach().double() for each in weights(model.attention))
    for product, scale, diagonal in ((q.T @ k, 0.7, 0.7), (projection @ v, 0.4, -0.4)):
        noise = product - diagonal * torch.eye(256)
        # 65,536 values: their deviation is known to 0.3 %, their mean to 1 / 256 of it.
        assert float(noise.std()) == pytest.approx(scale / 16, rel=0.015)
        assert abs(float(noise.mean())) < 5 * scale / 16 / 256


def test_the_factors_are_the_best_of_their_rank() -> None:
    """Eckart and Young: the error is the norm of the singular values that are left out."""
    matrix = torch.randn(9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, right = factors(matrix, 4)
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    error = float((matrix - left @ right).norm())
    assert error == pytest.approx(np.linalg.norm(values[4:]))
    assert float((left.norm() - right.norm()).abs()) < 1e-9
    left, right = factors(matrix, 11)
    torch.testing.assert_close(left @ right, matrix)


def test_a_token_attends_to_itself_and_the_control_does_not() -> None:
    shares: dict[str, Any] = {}
    contents: tuple[Literal["own"], Literal["random"]] = ("own", "random")
    for content in contents:
        model = SmallViT(3, (16, 16), 5)
        mimetic(model, images(2, 3, 16, 16), seed=0, content=content)
        block: Any = model.blocks[0]
        x = nn.functional.layer_norm(images(1, 16, 96), (96,))
        q, k, _ = (block.qkv.weight @ x[0].T).detach().chunk(3)
        logits = q.unflatten(0, (3, 32)).mT @ k.unflatten(0, (3, 32)) / 32**0.5
        own = logits.softmax(2).diagonal(dim1=1, dim2=2)
        shares[content] = float(own.mean())
        held = (*block.qkv.weight.detach().chunk(3), block.proj.weight.detach())
        norms = [float(each.norm()) for each in held]
        shares[f"norms of {content}"] = norms
    assert shares["norms of own"] == pytest.approx(shares["norms of random"], rel=1e-4)
    assert shares["own"] > 0.5
    assert shares["random"] < 0.2


def test_rows_in_another_order_are_left_alone() -> None:
    model = transformer("by head")
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"no attention layer whose layout .*alone: attention"):
        mimetic(model, images(), seed=0)
    assert [bits(each) for each in model.parameters()] == before

    both = Transformer(nn.Sequential(Attention(WIDTH, 3, "by head"), Attention(WIDTH, 3, "fused")))
    report = mimetic(both, images(), seed=0)
    assert report.layer == "attention.1.qkv.weight, attention.1.out_proj.weight"
    assert report.notes == ("not set, unknown layout: attention.0",)


def test_a_model_without_attention() -> None:
    with pytest.raises(WarminitError, match=r"Conv2d has no attention layer .*expected query"):
        mimetic(nn.Conv2d(3, 4, 3), images(), seed=0)


@pytest.mark.parametrize("prefix", [0, 1])
def test_sinusoidal_positions_stand_behind_the_class_token(prefix: int) -> None:
    model = transformer("split")
    model.pos_embed = nn.Parameter(torch.ones(1, 4 + prefix, WIDTH))
    if prefix:
        model.forward = lambda x: model.head(
            model.attention(model.patches(x).flatten(2).mT).mean(1)
        )
    report = mimetic(model, images(), seed=0, positions="sinusoidal")
    assert torch.equal(model.pos_embed[:, :prefix], torch.ones(1, prefix, WIDTH))
    torch.testing.assert_close(
        model.pos_embed[0, prefix:].detach(), sinusoidal_positions((2, 2), WIDTH).float()
    )
    assert report.parameters["positions"] == "sinusoidal"


def test_the_sines_and_cosines() -> None:
    found = sinusoidal_positions((3, 5), 8)
    for row in range(3):
        for column in range(5):
            wanted = [
                wave(place * frequency)
                for place in (column, row)
                for wave in (np.sin, np.cos)
                for frequency in (1, 1e-4)
            ]
            np.testing.assert_allclose(found[5 * row + column].numpy(), wanted, atol=1e-12)
    with pytest.raises(WarminitError, match=r"width=6: expected a multiple of 4"):
        sinusoidal_positions((2, 2), 6)


def test_a_model_without_learned_positions() -> None:
    model = transformer("split")
    model.place = model.pos_embed
    del model.pos_embed
    model.forward = lambda x: model.head(model.attention(model.patches(x).flatten(2).mT).mean(1))
    with pytest.raises(
        WarminitError, match=r"learned positions of 4 patches, 12 values each: none"
    ):
        mimetic(model, images(), seed=0, positions="sinusoidal")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"query_key": 0.7}, r"query_key=0.7: expected two numbers"),
        ({"value": (0.4, -0.4)}, r"value=-0.4: expected a finite number of at least 0"),
        ({"value": (0, 0)}, r"value=0: expected a finite number above 0"),
        ({"positions": "sine"}, r"positions='sine': expected 'keep' or 'sinusoidal'"),
        ({"content": "other"}, r"content='other': expected 'own' or 'random'"),
    ],
)
def test_unusable_options(options: Any, text: str) -> None:
    with pytest.raises(WarminitError, match=text):
        mimetic(transformer("split"), images(), seed=0, **options)
