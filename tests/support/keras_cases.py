"""Keras layer or model, images -> torch's filters in its own layout, and Keras' own beside them.

The tests behind test_integrations_apart.py, which runs them in a process of their own.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers

import integration_setup as setup
from arm_guarantees import global_states
from warminit import prewarm_, prewarm_filters, whiten_
from warminit.errors import WarminitError
from warminit.integrations.keras import PreWarm, WarmInit, prewarm, warm_init

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Keras' own, in how it asks torch and jax for arrays.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

IMAGES, LABELS = setup.channels_last(640)
TORCH_IMAGES, _ = setup.coloured(640)
STATISTICS: dict[str, Any] = {"mean": setup.MEAN, "std": setup.STD}


def kernel(layer: Any) -> Any:
    return keras.ops.convert_to_numpy(layer.kernel)


def network(initializer: Callable[[], Any] = lambda: "glorot_uniform") -> Any:
    keras.utils.set_random_seed(7)
    stem = layers.Conv2D(32, 3, 2, activation="relu", kernel_initializer=initializer())
    return keras.Sequential([keras.Input((28, 28, 3)), stem, layers.Flatten(), layers.Dense(10)])


def meant(seed: int = 3) -> Any:
    return setup.kernel_of(prewarm_filters(TORCH_IMAGES[:64], 32, 3, seed=seed, **STATISTICS))


def test_the_filters_are_those_of_torch_and_the_others_those_of_keras() -> None:
    plain, states = kernel(network().layers[0]), global_states()
    model = network(lambda: WarmInit(IMAGES[:64], "prewarm", seed=3, **STATISTICS))
    # What Keras draws is drawn from its own seed, as without WarmInit, and nothing else is drawn.
    assert global_states() == states
    start = kernel(model.layers[0])
    assert start.dtype == np.float32
    np.testing.assert_allclose(start[..., :16], meant(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(start[..., 16:], plain[..., 16:])
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(IMAGES, LABELS, batch_size=32, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 2 * setup.STEPS
    assert history.history["loss"][1] < history.history["loss"][0]


def test_a_kernel_that_is_computed_is_refused_and_left() -> None:
    model = network()
    model.layers[0].enable_lora(2)
    before = [each.numpy() for each in model.weights]
    with pytest.raises(WarminitError, match=r"computed from other weights.*before enable_lora"):
        warm_init(model, IMAGES[:64], "prewarm")
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_a_built_model_gets_the_same() -> None:
    model = network()
    plain = kernel(model.layers[0])
    report = warm_init(model, IMAGES[:64], "prewarm", seed=3, **STATISTICS)
    assert (report.layer, report.filters_set) == (model.layers[0].name, 16)
    np.testing.assert_allclose(kernel(model.layers[0])[..., :16], meant(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(kernel(model.layers[0])[..., 16:], plain[..., 16:])


@pytest.mark.parametrize("options", [{"groups": 2}, {"dilation_rate": 2}, {"padding": "same"}])
def test_groups_and_dilation_are_those_of_the_layer(options: dict[str, Any]) -> None:
    images = np.concatenate([IMAGES[:64], IMAGES[:64, :, :, :1] ** 2], axis=-1)
    layer = layers.Conv2D(16, 3, **options)
    warm_init(
        keras.Sequential([keras.Input((28, 28, 4)), layer]), images, "prewarm", patches_per_image=9
    )
    twin = torch.nn.Conv2d(
        4, 16, 3, groups=options.get("groups", 1), dilation=options.get("dilation_rate", 1)
    )
    report = prewarm_(twin, torch.tensor(images).permute(0, 3, 1, 2), patches_per_image=9)
    rows = 8 if "groups" not in options else [*range(4), *range(8, 12)]
    wanted = setup.kernel_of(twin.weight.detach())
    chosen = list(range(rows)) if isinstance(rows, int) else rows
    assert report.filters_set == len(chosen)
    np.testing.assert_allclose(kernel(layer)[..., chosen], wanted[..., chosen], rtol=0, atol=1e-6)


def test_channels_may_come_first() -> None:
    layer = layers.Conv2D(32, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input((3, 28, 28)), layer])
    warm_init(model, TORCH_IMAGES[:64].numpy(), "prewarm", seed=3, **STATISTICS)
    np.testing.assert_allclose(kernel(layer)[..., :16], meant(), rtol=0, atol=1e-6)


def test_signals_and_volumes() -> None:
    signals = IMAGES[:64].reshape(64, 784, 3)
    layer = layers.Conv1D(8, 9)
    warm_init(
        keras.Sequential([keras.Input((784, 3)), layer]), signals, "prewarm", patches_per_image=9
    )
    wanted = prewarm_filters(torch.tensor(signals).permute(0, 2, 1), 8, (9,), patches_per_image=9)
    np.testing.assert_allclose(
        kernel(layer)[..., :4], wanted.permute(2, 1, 0).numpy(), rtol=0, atol=1e-6
    )
    volumes = IMAGES[:64].reshape(64, 7, 4, 28, 3)
    shape = WarmInit(volumes, "prewarm", patches_per_image=9)((2, 2, 2, 3, 8)).shape
    assert tuple(shape) == (2, 2, 2, 3, 8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    made = WarmInit(IMAGES[:64], "prewarm", seed=3, **STATISTICS)((3, 3, 3, 32), dtype=dtype)
    assert keras.backend.standardize_dtype(made.dtype) == dtype
    wanted = torch.tensor(meant()).to(getattr(torch, dtype)).float().numpy()
    got = keras.ops.convert_to_numpy(keras.ops.cast(made, "float32"))
    np.testing.assert_array_equal(got[..., :16], wanted)


def test_any_arm_of_a_single_layer() -> None:
    made = keras.ops.convert_to_numpy(
        WarmInit(IMAGES[:64], "whitening", patches_per_image=9)((3, 3, 3, 32))
    )
    twin = torch.nn.Conv2d(3, 32, 3)
    report = whiten_(twin, TORCH_IMAGES[:64], patches_per_image=9)
    wanted = setup.kernel_of(twin.weight.detach()[: report.filters_set])
    np.testing.assert_allclose(made[..., : report.filters_set], wanted, rtol=0, atol=1e-6)


def test_saved_and_cloned_models_need_no_images(tmp_path: Path) -> None:
    model = network(lambda: WarmInit(IMAGES[:64], "prewarm", seed=3, **STATISTICS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(kernel(loaded.layers[0]), kernel(model.layers[0]))
    # A clone is drawn anew: the same filters, and others from Keras.
    clone = keras.models.clone_model(model)
    np.testing.assert_array_equal(
        kernel(clone.layers[0])[..., :16], kernel(model.layers[0])[..., :16]
    )
    assert not np.array_equal(kernel(clone.layers[0]), kernel(model.layers[0]))


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(WarminitError) as caught:
        action()
    return str(caught.value)


def test_what_cannot_be_used_is_refused() -> None:
    assert refused(lambda: WarmInit(IMAGES[:8], "prewarm")((3, 3, 2, 32))) == (
        "the kernel (3, 3, 2, 32) does not fit images (8, 28, 28, 3): expected channels last in "
        "images, and last but one in the kernel. Use this initializer for the input layer only, "
        "with images (N, *size, C)."
    )
    assert refused(lambda: WarmInit(IMAGES[:8], "prewarm").get_config()) == (
        "this WarmInit has no filters yet: expected filters to save. Build the layer first."
    )
    used = WarmInit(IMAGES[:8], "prewarm", patches_per_image=9)
    used((3, 3, 3, 8))
    assert refused(lambda: used((5, 5, 3, 8))) == (
        "this WarmInit has filters (3, 3, 3, 4) of another layer: expected (5, 5, 3, 8). Make a "
        "WarmInit for each layer."
    )
    assert refused(lambda: WarmInit(IMAGES[:8], "prewarm")((3, 32))) == (
        "the kernel has 2 dimensions, shape (3, 32): expected 3 to 5: (*K, C, F). Choose a "
        "convolution."
    )


def test_the_layer_must_be_told_where_several_take_the_images() -> None:
    keras.utils.set_random_seed(7)
    inputs = keras.Input((28, 28, 3))
    one, two = layers.Conv2D(8, 3, name="one"), layers.Conv2D(8, 3, name="two")
    model = keras.Model(inputs, layers.Add()([one(inputs), two(inputs)]), name="both")
    before = [kernel(each) for each in (one, two)]
    assert refused(lambda: warm_init(model, IMAGES[:8], "prewarm")) == (
        "layers=None with images (8, 28, 28, 3) leads to 2 convolutions of both: expected exactly "
        "one. There are: one, two. Build the model, and name its input layer with layers=."
    )
    assert "leads to 0 convolutions" in refused(
        lambda: warm_init(model, IMAGES[:8], "prewarm", layers="three")
    )
    assert refused(lambda: warm_init(model, IMAGES[:8] * np.nan, "prewarm", layers="two"))
    np.testing.assert_array_equal(kernel(two), before[1])
    warm_init(model, IMAGES[:8], "prewarm", layers="two", patches_per_image=9)
    np.testing.assert_array_equal(kernel(one), before[0])
    assert not np.array_equal(kernel(two), before[1])


ON_ANOTHER = """
import sys
import numpy as np
import keras
from warminit.integrations.keras import WarmInit, warm_init

assert keras.backend.backend() == sys.argv[3]
images = np.load(sys.argv[1])
layer = keras.layers.Conv2D(32, 3)
model = keras.Sequential([keras.Input((28, 28, 3)), layer])
warm_init(model, images, "prewarm", seed=3, patches_per_image=20)
made = WarmInit(images, "prewarm", seed=3, patches_per_image=20)((3, 3, 3, 32))
fresh = keras.ops.convert_to_numpy(made)
np.save(sys.argv[2], [keras.ops.convert_to_numpy(layer.kernel), fresh])
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_on_another_backend(backend: str, tmp_path: Path) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # A process of its own: Keras takes one backend, when it is imported.
    np.save(tmp_path / "images.npy", IMAGES[:64])
    files = [str(tmp_path / "images.npy"), str(tmp_path / "kernels.npy")]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", ON_ANOTHER, *files, backend],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = setup.kernel_of(
        prewarm_filters(TORCH_IMAGES[:64], 32, 3, seed=3, patches_per_image=20)
    )
    for made in np.load(tmp_path / "kernels.npy"):
        np.testing.assert_allclose(made[..., :16], wanted, rtol=0, atol=1e-6)


def test_the_default_is_that_of_init_and_the_old_names_keep_their_own() -> None:
    model = network()
    report = warm_init(model, IMAGES[:64], seed=3)
    assert (report.method, report.filters_set) == ("whitening-small-head", 16)
    assert report.notes[-1].startswith(
        "the head is unchanged: this adapter sets only the input layer"
    )
    np.testing.assert_array_equal(
        kernel(model.layers[0])[..., :16], WarmInit(IMAGES[:64], seed=3)((3, 3, 3, 32))[..., :16]
    )
    old = network()
    with pytest.warns(DeprecationWarning, match="prewarm is called warm_init") as caught:
        assert prewarm(old, IMAGES[:64], seed=3, **STATISTICS).method == "prewarm"
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="PreWarm is called WarmInit"):
        made = PreWarm(IMAGES[:64], seed=3, **STATISTICS)((3, 3, 3, 32))
    np.testing.assert_array_equal(kernel(old.layers[0])[..., :16], made[..., :16])
