"""coates_ng against a plain NumPy statement of Coates & Ng (2012), its numbers, its properties."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arm_guarantees import FIXTURES, global_states, identity, values, versions
from warminit.errors import WarminitError
from warminit.images.patches import sample_patches
from warminit.initializers.stems.coates_ng import (
    coates_ng,
    normalize_contrast,
    spherical_kmeans,
    zca,
)

Array = NDArray[Any]


def make_images(count: int = 12, channels: int = 3, size: int = 12, seed: int = 0) -> Tensor:
    """Smooth images: neighbours agree, so whitening has something to do."""
    noise = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 3, 1, 1) + noise / 4


def stated(
    patches: Array, start: Array, norm_eps: float, zca_eps: float, iterations: int = 10
) -> tuple[Array, Array]:
    """The chapter's algorithm, a patch and a column at a time; (directions, filters) as rows."""
    count, n_values = patches.shape
    x = np.zeros((n_values, count))
    for i, patch in enumerate(patches):
        x[:, i] = (patch - patch.mean()) / np.sqrt(patch.var() + norm_eps)
    center = x.mean(1)
    # The whitening by the singular values of the data; the code takes eigenvectors instead.
    u, s, _ = np.linalg.svd(x - center[:, None], full_matrices=True)
    eigenvalues = np.zeros(n_values)
    eigenvalues[: len(s)] = s**2 / count
    w = u @ np.diag(1 / np.sqrt(eigenvalues + zca_eps)) @ u.T
    x = w @ (x - center[:, None])
    d = np.stack([column / np.linalg.norm(column) for column in start], axis=1)
    for _ in range(iterations):
        codes = np.zeros((d.shape[1], count))
        for i in range(count):
            j = int(np.argmax(np.abs(d.T @ x[:, i])))
            codes[j, i] = d[:, j] @ x[:, i]
        d = x @ codes.T + d
        for j in range(d.shape[1]):
            d[:, j] /= np.linalg.norm(d[:, j])
    brightness = np.eye(n_values) - np.ones((n_values, n_values)) / n_values
    return d.T, (brightness @ w @ d).T


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FIXTURES / "coates_ng.json").read_text("utf-8"))
    return loaded


def test_the_stored_numbers_are_those_of_the_plain_statement(stored: dict[str, Any]) -> None:
    directions, filters = stated(
        np.array(stored["patches"]),
        np.array(stored["start"]),
        stored["norm_eps"],
        stored["zca_eps"],
    )
    np.testing.assert_allclose(directions, stored["directions"], atol=1e-10)
    np.testing.assert_allclose(filters, stored["filters"], atol=1e-10)


def test_the_stages_give_the_stored_numbers(stored: dict[str, Any]) -> None:
    patches = torch.tensor(stored["patches"], dtype=torch.float64)
    normalized = normalize_contrast(patches, stored["norm_eps"])
    whitening = zca(normalized, stored["zca_eps"])
    start = torch.tensor(stored["start"], dtype=torch.float64)
    directions = spherical_kmeans((normalized - normalized.mean(0)) @ whitening, start)
    np.testing.assert_allclose(directions.numpy(), stored["directions"], atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm_eps", [0.0025, 0.5])
def test_the_arm_is_the_plain_statement_at_prewarm_s_scale(channels: int, norm_eps: float) -> None:
    images = make_images(channels=channels) * 3 + 1
    conv = nn.Conv2d(channels, 10, 3)
    report = coates_ng(conv, images, seed=7, patches_per_image=20, scale=0.2, norm_eps=norm_eps)
    generator = torch.Generator().manual_seed(7)
    patches = sample_patches(images, 20, (3, 3), generator).double().numpy()
    start = torch.randn(5, 9 * channels, generator=generator, dtype=torch.float64).numpy()
    variance = np.mean([patches[:, 9 * c : 9 * c + 9].var() for c in range(channels)])
    _, filters = stated(patches, start, norm_eps * variance, 0.1)
    wanted = filters / filters.std() * 0.2
    # Weights are float32 of values of at most about 1.
    np.testing.assert_allclose(conv.weight[:5].detach().flatten(1).numpy(), wanted, atol=1e-6)
    assert (report.method, report.filters_set, report.out_channels) == ("coates-ng", 5, 10)
    assert report.parameters["norm_eps"] == norm_eps
    assert report.parameters["patches_per_image"] == 20


def test_filters_do_not_respond_to_brightness_and_are_learned_without_it() -> None:
    images = make_images()
    weights = []
    for fed in (images, images * 40 + 100, images + torch.arange(12.0).view(-1, 1, 1, 1)):
        conv = nn.Conv2d(3, 16, 3, dtype=torch.float64)
        coates_ng(conv, fed.double(), seed=1, patches_per_image=30)
        assert conv.weight[:8].sum((1, 2, 3)).abs().max().item() < 1e-6  # of float32 filters
        weights.append(conv.weight[:8].detach())
    # The contrast's share is relative, so units do not matter; a brightness of each image would
    # only enter by the images' variance, of which norm_eps is a small share.
    torch.testing.assert_close(weights[1], weights[0], atol=1e-6, rtol=0)
    cosine = nn.functional.cosine_similarity(weights[2].flatten(1), weights[0].flatten(1))
    assert float(cosine.median()) > 0.9


def test_a_direction_of_few_patches_does_not_respond_to_brightness_either() -> None:
    # The updates wear the brightness of the first directions away, but not where patches are few.
    conv = nn.Conv2d(3, 24, 3)
    report = coates_ng(conv, make_images(), seed=1, patches_per_image=1)
    assert report.filters_set == 12
    assert conv.weight[:12].sum((1, 2, 3)).abs().max().item() < 1e-6


def test_zca_is_symmetric_and_whitens() -> None:
    patches = sample_patches(make_images(), 50, (3, 3), torch.Generator().manual_seed(0)).double()
    covariance = np.cov(patches.numpy().T, bias=True)
    eigenvalues = np.linalg.eigvalsh(covariance)
    for eps in (1e-9, 0.1):
        whitening = zca(patches, eps).numpy()
        np.testing.assert_allclose(whitening, whitening.T, atol=1e-9)
        after = np.linalg.eigvalsh(whitening @ covariance @ whitening)
        np.testing.assert_allclose(np.sort(after), eigenvalues / (eigenvalues + eps), atol=1e-6)


def test_spherical_kmeans_finds_planted_directions() -> None:
    rng = np.random.default_rng(0)
    planted = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4]
    owner = rng.integers(4, size=400)
    # Of either sign and any length: a direction is a line, its code the signed projection.
    points = planted[owner] * rng.normal(size=(400, 1)) + rng.normal(size=(400, 6)) * 0.01
    start = planted + rng.normal(size=planted.shape) * 0.3
    found = spherical_kmeans(torch.from_numpy(points), torch.from_numpy(start)).numpy()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.abs(np.sum(found * planted, axis=1)), 1, atol=1e-3)


def test_a_direction_that_no_patch_prefers_stays() -> None:
    points = torch.tensor([[2.0, 0, 0], [-1, 0, 0]], dtype=torch.float64)
    start = torch.tensor([[3.0, 0, 0], [0, 0, 5]], dtype=torch.float64)
    found = spherical_kmeans(points, start)
    assert found.tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_written_in_place_and_nothing_else(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3))
    model = model.to(dtype)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own, untyped
    kept, before, states = identity(model), values(model), global_states()
    tail = model[0].weight[4:].detach().clone()
    coates_ng(model, make_images(), seed=0, patches_per_image=20)
    assert identity(model) == kept
    assert global_states() == states
    after = values(model)
    assert [name for name in before if before[name] != after[name]] == ["0.weight"]
    assert torch.equal(model[0].weight[4:], tail)
    again = nn.Conv2d(3, 8, 3).to(dtype)
    coates_ng(again, make_images(), seed=0, patches_per_image=20)
    assert torch.equal(again.weight[:4], model[0].weight[:4])
    coates_ng(again, make_images(), seed=1, patches_per_image=20)
    assert not torch.equal(again.weight[:4], model[0].weight[:4])


@pytest.mark.parametrize(
    ("model", "options", "fragments"),
    [
        (nn.Conv2d(3, 8, 3), {"norm_eps": 0}, ("norm_eps=0", "above 0", "Leave it out")),
        (nn.Conv2d(3, 8, 3), {"zca_eps": -0.1}, ("zca_eps=-0.1", "above 0", "Leave it out")),
        (nn.Conv2d(3, 8, 3), {"zca_eps": "x"}, ("zca_eps='x'", "a finite number")),
        (nn.Conv2d(3, 8, 3), {"patches_per_image": 0}, ("patches_per_image=0", "at least 1")),
        (nn.Conv2d(1, 8, 1), {}, ("1 value", "expected at least 2", "layers=")),
    ],
)
def test_bad_input_writes_nothing(
    model: nn.Conv2d, options: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    kept, before, written, states = identity(model), values(model), versions(model), global_states()
    images = make_images(channels=model.in_channels)
    with pytest.raises(WarminitError) as caught:
        coates_ng(model, images, seed=0, **{"patches_per_image": 20, **options})
    text = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in text] == []
    assert re.fullmatch(r"[^\n]{30,400}\.", text)
    assert (identity(model), values(model), versions(model)) == (kept, before, written)
    assert global_states() == states
