"""Flax layer or parameters, images -> torch's filters in its own layout, and Flax' own beside.

The tests behind test_integrations_apart.py, which runs them in a process of their own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen, nnx

import integration_setup as setup
from arm_guarantees import global_states
from warminit import prewarm_, prewarm_filters
from warminit.errors import WarminitError
from warminit.integrations.flax import prewarm, prewarm_init, warm_init, warm_kernel_init

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES, LABELS = setup.channels_last(640)
TORCH_IMAGES, _ = setup.coloured(640)
STATISTICS: dict[str, Any] = {"mean": setup.MEAN, "std": setup.STD}


def meant(seed: int = 3) -> Any:
    return setup.kernel_of(prewarm_filters(TORCH_IMAGES[:64], 32, 3, seed=seed, **STATISTICS))


class Nnx(nnx.Module):
    def __init__(self, **options: Any) -> None:
        rngs = nnx.Rngs(5)
        self.stem = nnx.Conv(3, 32, (3, 3), strides=2, rngs=rngs, **options)
        self.head = nnx.Linear(14 * 14 * 32, 10, rngs=rngs)

    def __call__(self, images: Any) -> Any:
        return self.head(nnx.relu(self.stem(images)).reshape(len(images), -1))

    @property
    def kernel(self) -> Any:
        return np.asarray(self.stem.kernel[...])


class Linen(linen.Module):
    stem_init: Any = None

    @linen.compact
    def __call__(self, images: Any) -> Any:
        given = {} if self.stem_init is None else {"kernel_init": self.stem_init}
        hidden = linen.relu(linen.Conv(32, (3, 3), 2, name="stem", **given)(images))
        return linen.Dense(10, name="head")(hidden.reshape(len(images), -1))


def loss_of(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def check(start: Any, plain: Any) -> None:
    assert start.dtype == np.float32
    np.testing.assert_allclose(start[..., :16], meant(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(start[..., 16:], plain[..., 16:])


def test_nnx_starts_with_the_filters_of_torch_and_trains() -> None:
    plain, states = Nnx(), global_states()
    model = Nnx(kernel_init=warm_kernel_init(IMAGES[:64], "prewarm", seed=3, **STATISTICS))
    assert global_states() == states
    check(model.kernel, plain.kernel)
    # The other layer's weights are drawn from the same keys as without.
    np.testing.assert_array_equal(model.head.kernel[...], plain.head.kernel[...])
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, images: Any, labels: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda each: loss_of(each(images), labels))(model)
        optimizer.update(model, gradients)
        return loss

    batches = zip(np.split(IMAGES, 20), np.split(LABELS, 20), strict=True)
    losses = [float(step(model, optimizer, *batch)) for batch in batches]
    assert len(losses) == setup.STEPS
    assert sum(losses[-5:]) < sum(losses[:5])


def test_linen_starts_with_the_filters_of_torch_and_trains() -> None:
    plain = Linen().init(jax.random.key(5), IMAGES[:1])
    model = Linen(warm_kernel_init(IMAGES[:64], "prewarm", seed=3, **STATISTICS))
    params = jax.jit(model.init)(jax.random.key(5), IMAGES[:1])
    check(np.asarray(params["params"]["stem"]["kernel"]), plain["params"]["stem"]["kernel"])
    optimizer = optax.adam(1e-3)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(
            lambda each: loss_of(model.apply(each, images), labels)
        )(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for images, labels in zip(np.split(IMAGES, 20), np.split(LABELS, 20), strict=True):
        params, state, loss = step(params, state, images, labels)
        losses.append(float(loss))
    assert len(losses) == setup.STEPS
    assert sum(losses[-5:]) < sum(losses[:5])


def test_the_key_draws_the_others_only() -> None:
    init = warm_kernel_init(IMAGES[:64], "prewarm", seed=3, **STATISTICS)
    one, two = (np.asarray(init(jax.random.key(n), (3, 3, 3, 32), jnp.float32)) for n in (0, 1))
    np.testing.assert_array_equal(one[..., :16], two[..., :16])
    assert not np.array_equal(one[..., 16:], two[..., 16:])
    other = warm_kernel_init(IMAGES[:64], "prewarm", seed=4, **STATISTICS)(
        jax.random.key(0), (3, 3, 3, 32)
    )
    np.testing.assert_array_equal(other[..., 16:], one[..., 16:])
    np.testing.assert_allclose(other[..., :16], meant(4), rtol=0, atol=1e-6)


def test_a_tree_of_linen_gets_the_same() -> None:
    params = Linen().init(jax.random.key(5), IMAGES[:1])
    before = jax.tree.map(np.asarray, params)
    new, report = warm_init(params, IMAGES[:64], "prewarm", seed=3, **STATISTICS)
    assert (report.layer, report.filters_set) == ("params.stem", 16)
    check(np.asarray(new["params"]["stem"]["kernel"]), before["params"]["stem"]["kernel"])
    # The tree that was given stays, and so does every other leaf.
    assert jax.tree.all(jax.tree.map(np.array_equal, params, before))
    same = jax.tree.map(np.array_equal, new, before)
    assert same == {
        "params": {
            "stem": {"kernel": False, "bias": True},
            "head": {"kernel": True, "bias": True},
        }
    }


def test_a_state_of_nnx_gets_the_same() -> None:
    model = Nnx()
    plain = model.kernel
    state, report = warm_init(
        nnx.state(model, nnx.Param), IMAGES[:64], "prewarm", seed=3, **STATISTICS
    )
    np.testing.assert_array_equal(model.kernel, plain)
    nnx.update(model, state)
    assert report.layer == "stem"
    check(model.kernel, plain)


@pytest.mark.parametrize(("groups", "dilation"), [(2, 1), (1, 2)])
def test_groups_are_told_by_the_kernel_and_dilation_by_the_caller(
    groups: int, dilation: int
) -> None:
    images = np.concatenate([IMAGES[:64], IMAGES[:64, :, :, :1] ** 2], axis=-1)
    stem = linen.Conv(16, (3, 3), kernel_dilation=dilation, feature_group_count=groups)
    params = {"stem": stem.init(jax.random.key(0), images[:1])["params"]}
    new, report = warm_init(
        params, images, "prewarm", layers="stem", dilation=dilation, patches_per_image=9
    )
    twin = torch.nn.Conv2d(4, 16, 3, groups=groups, dilation=dilation)
    prewarm_(twin, torch.tensor(images).permute(0, 3, 1, 2), patches_per_image=9)
    rows = [*range(4), *range(8, 12)] if groups == 2 else [*range(8)]
    wanted = setup.kernel_of(twin.weight.detach())[..., rows]
    np.testing.assert_allclose(new["stem"]["kernel"][..., rows], wanted, rtol=0, atol=1e-6)
    assert report.filters_set == 8


def test_half_precision_is_rounded_once() -> None:
    init = warm_kernel_init(IMAGES[:64], "prewarm", seed=3, **STATISTICS)
    made = init(jax.random.key(0), (3, 3, 3, 32), jnp.bfloat16)
    wanted = torch.tensor(meant()).bfloat16().float().numpy()
    np.testing.assert_array_equal(made[..., :16].astype(jnp.float32), wanted)
    new, _ = warm_init({"kernel": made}, IMAGES[:64], "prewarm", seed=3, **STATISTICS)
    assert new["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(new["kernel"][..., 16:], made[..., 16:])


def test_what_cannot_be_used_is_refused() -> None:
    kernel = jax.nn.initializers.lecun_normal()(jax.random.key(0), (3, 3, 3, 8))
    tree = {"one": {"kernel": kernel}, "two": {"kernel": kernel}}
    with pytest.raises(WarminitError) as caught:
        warm_init(tree, IMAGES[:8], "prewarm")
    assert str(caught.value) == (
        "layers=None with images (8, 28, 28, 3) leads to 2 kernels: expected exactly one. There "
        "are: one.kernel (3, 3, 3, 8), two.kernel (3, 3, 3, 8). Pass images (N, *size, C), or name "
        "the layer with layers=."
    )
    with pytest.raises(WarminitError, match="leads to 0 kernels"):
        warm_init(tree, IMAGES[:8], "prewarm", layers="wo")
    new, report = warm_init(tree, IMAGES[:8], "prewarm", layers="two", patches_per_image=9)
    assert report.layer == "two"
    np.testing.assert_array_equal(new["one"]["kernel"], kernel)
    with pytest.raises(WarminitError, match="does not fit images"):
        warm_kernel_init(IMAGES[:8], "prewarm")(jax.random.key(0), (3, 3, 1, 8))
    with pytest.raises(WarminitError, match="expected an array"):
        warm_kernel_init([["a"]], "prewarm")(jax.random.key(0), (3, 3, 1, 8))


def test_the_default_is_that_of_init_and_the_old_names_keep_their_own() -> None:
    params = Linen().init(jax.random.key(5), IMAGES[:1])
    assert warm_init(params, IMAGES[:64])[1].method == "whitening-small-head"
    with pytest.warns(DeprecationWarning, match="prewarm is called warm_init") as caught:
        new, report = prewarm(params, IMAGES[:64], seed=3, **STATISTICS)
    assert report.method == "prewarm"
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="prewarm_init is called warm_kernel_init"):
        init = prewarm_init(IMAGES[:64], seed=3, **STATISTICS)
    made = init(jax.random.key(0), (3, 3, 3, 32))
    np.testing.assert_array_equal(new["params"]["stem"]["kernel"][..., :16], made[..., :16])
    made = warm_kernel_init(IMAGES[:64], seed=3)(jax.random.key(0), (3, 3, 3, 32))
    new, _ = warm_init(params, IMAGES[:64], seed=3)
    np.testing.assert_array_equal(new["params"]["stem"]["kernel"][..., :16], made[..., :16])
