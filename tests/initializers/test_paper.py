"""conditioned_init against Listing 1: the same bits, the same global states, the same refusals."""

import inspect
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from threadpoolctl import threadpool_limits
from torch import nn

import listing1
from listing1_cases import EDGES, Case, Net, any_cases, make_conv, make_images, runnable_cases
from warminit import conditioned_init, prewarm_
from warminit.errors import WarminitError

GENERATED = settings(
    max_examples=220,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SAME_SIZE_INT = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@pytest.fixture(scope="module", autouse=True)
def one_thread_each() -> Iterator[None]:
    """Hundreds of tiny clusterings: with a thread pool each, a busy machine takes ten times."""
    with threadpool_limits(1):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """scikit-learn warns about constant patches; pytest would turn that into a refusal."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def bits(weight: torch.Tensor) -> torch.Tensor:
    """The weight as integers, so that NaN equals NaN and -0.0 differs from 0.0.

    All NaNs become one: torch's conversion to bfloat16 gives two, by the alignment of the data.
    """
    weight = weight.detach().clone().contiguous()
    weight = torch.where(weight.isnan(), torch.full_like(weight, float("nan")), weight)
    return weight.view(SAME_SIZE_INT[weight.element_size()])


def frozen(model: Any) -> list[tuple[str, Any]]:
    """Every parameter of a model as a value that can be compared, lazy ones as their type."""
    modules = model if isinstance(model, nn.Module) else model.conv1
    return [
        (name, type(p) if nn.parameter.is_lazy(p) else bits(p).tolist())
        for name, p in modules.named_parameters()
    ]


def global_states() -> tuple[Any, ...]:
    numpy_state = pickle.dumps(np.random.get_state(legacy=True))
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def disturb_global_states() -> None:
    """Leave every generator mid-stream, with a Gaussian pending, as a training script would."""
    for reseed in (random.seed, np.random.seed, torch.manual_seed):
        reseed(2024)
    random.gauss(0, 1)
    np.random.randn()
    torch.randn(3)


def run(function: Callable[..., Any], case: Case) -> tuple[torch.Tensor, tuple[Any, ...]]:
    """Run on a copy of the model; give back its weight's bits and the global states."""
    model = deepcopy(case.model)
    disturb_global_states()
    with quiet():
        returned = function(model, case.images, **case.arguments)
    assert returned is model
    return bits(model.conv1.weight), global_states()


def listing_with_crop(case: Case) -> tuple[torch.Tensor, tuple[Any, ...]]:
    """Listing 1 or, for patches larger than the kernel, Listing 1 on a larger kernel, cropped."""
    size = case.arguments.get("patch_size", 3)
    weight = case.model.conv1.weight
    kernel = weight.shape[2:]
    if len(kernel) != 2 or not isinstance(size, int) or all(size <= k for k in kernel):
        return run(listing1.conditioned_init, case)
    large = torch.zeros(*weight.shape[:2], size, size, dtype=weight.dtype)
    wide = SimpleNamespace(conv1=SimpleNamespace(weight=large))
    wide_bits, states = run(listing1.conditioned_init, Case(wide, case.images, case.arguments))
    top, left = ((size - k) // 2 for k in kernel)
    if min(top, left) < 0:
        raise ValueError("the patch covers the kernel in one dimension and not in the other")
    cropped = wide_bits[:, :, top : top + kernel[0], left : left + kernel[1]]
    n_written = min(case.arguments.get("n_clusters", 16), weight.shape[0])
    expected = bits(weight)
    expected[:n_written] = cropped[:n_written]
    return expected, states


def check(case: Case) -> bool:
    """Compare one call with the oracle. True where the listing (or its crop) runs."""
    try:
        expected_bits, expected_states = listing_with_crop(case)
    except Exception:  # whatever the listing raises, the library has one exception class
        model = deepcopy(case.model)
        before = frozen(model)
        with quiet(), pytest.raises(WarminitError) as caught:
            conditioned_init(model, case.images, **case.arguments)
        assert len(str(caught.value)) > 20
        assert frozen(model) == before
        return False
    actual_bits, actual_states = run(conditioned_init, case)
    assert actual_bits.shape == expected_bits.shape
    assert torch.equal(actual_bits, expected_bits)
    assert actual_states == expected_states
    return True


@GENERATED
@given(runnable_cases())
def test_where_the_listing_runs_every_bit_is_the_same(case: Case) -> None:
    assert check(case), "the strategy must give calls that the listing accepts"


def test_where_the_listing_refuses_so_does_conditioned_init() -> None:
    ran: list[bool] = []

    @GENERATED
    @given(any_cases())
    def compare(case: Case) -> None:
        ran.append(check(case))

    compare()
    assert sum(ran) > 20, "the strategy must also give calls that the listing accepts"
    assert len(ran) - sum(ran) > 100


@pytest.mark.parametrize("name", EDGES)
def test_unusual_arguments_end_as_the_listing_ends(name: str) -> None:
    check(EDGES[name]())


def test_the_signature_is_the_listing_s() -> None:
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(function).parameters.values()]
        for function in (conditioned_init, listing1.conditioned_init)
    )
    assert ours == theirs


def test_a_larger_patch_is_cropped_to_its_center() -> None:
    # Worked by hand: one cluster is the mean patch, which two one-position images give exactly.
    ramp = torch.arange(25.0).view(1, 1, 5, 5)
    model = Net(make_conv(1, 2, (3, 3), torch.float32, False))
    kept = bits(model.conv1.weight)[1:]
    conditioned_init(model, torch.cat([ramp, ramp]), 1, 1, scale=0.5, patch_size=5)
    distance = np.abs(np.arange(5) - 2)
    wanted = (np.arange(25.0) - 12).reshape(5, 5) / (1 + distance[:, None] + distance)
    wanted *= 0.5 / wanted.std()
    np.testing.assert_allclose(
        model.conv1.weight[0, 0].detach(), wanted[1:4, 1:4], rtol=1e-6, atol=1e-7
    )
    assert torch.equal(bits(model.conv1.weight)[1:], kept)


NAMES = {"n_clusters": "n_filters", "n_patches": "patches_per_image"}
"""Keywords of Listing 1 that `prewarm_` calls otherwise."""


def ours(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return Listing 1's arguments under the names of `prewarm_`."""
    return {NAMES.get(name, name): value for name, value in arguments.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_the_algorithm_paper_writes_the_same_bits_and_leaves_the_generators(
    dtype: torch.dtype,
) -> None:
    images = make_images("normal", "channels_last", (6, 3, 12, 15), dtype, 5)
    for seed in (0, 7, 2025):
        arguments: dict[str, Any] = {"n_clusters": 5, "n_patches": 9, "scale": 0.25}
        arguments["seed"] = seed
        expected, _ = run(
            listing1.conditioned_init,
            Case(Net(make_conv(3, 12, (3, 3), torch.float32, False)), images, arguments),
        )
        model = Net(make_conv(3, 12, (3, 3), torch.float32, False))
        disturb_global_states()
        before = global_states()
        prewarm_(model, images, algorithm="paper", **ours(arguments))
        assert global_states() == before
        assert torch.equal(bits(model.conv1.weight), expected)


@pytest.mark.parametrize(
    ("dtype", "filters", "arguments"),
    [
        (torch.float32, 12, {}),  # all derived
        (torch.float16, 12, {"n_clusters": 5}),
        (torch.bfloat16, 4, {"n_clusters": 9, "n_patches": 7}),  # fewer filters than clusters
        (torch.float32, 12, {"patch_size": 5, "scale": 0.1}),  # the center crop
        (torch.float64, 12, {"patch_size": 4, "n_patches": 11}),
    ],
)
def test_the_algorithm_paper_is_conditioned_init(
    dtype: torch.dtype, filters: int, arguments: dict[str, Any]
) -> None:
    images = make_images("uniform", "strided", (8, 3, 12, 15), torch.float32, 5)
    model, theirs = (Net(make_conv(3, filters, (3, 3), dtype, True)) for _ in range(2))
    weight = model.conv1.weight
    found = prewarm_(model, images, algorithm="paper", seed=3, **ours(arguments)).parameters
    assert model.conv1.weight is weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    said = {name: found[NAMES.get(name, name)] for name in ("n_clusters", "n_patches", "scale")}
    size = arguments.get("patch_size", 3)
    conditioned_init(theirs, images, **said, patch_size=size, seed=3)
    assert torch.equal(bits(weight), bits(theirs.conv1.weight))
