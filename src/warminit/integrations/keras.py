"""Keras layer or model, images (N, H, W, C) -> kernel with first filters from the images.

There are two entry points. An initializer is saved and cloned with its layer, and must then work
without the images.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError
from warminit.initializers import DEFAULT_METHOD
from warminit.integrations import needs, old_name
from warminit.integrations.kernels import condition_kernel, conditioned_filters
from warminit.renamed import takes_old_names
from warminit.report import InitReport

with needs("Keras 3", "keras"):
    import keras


@keras.saving.register_keras_serializable(package="warminit")
class WarmInit(keras.initializers.Initializer):
    """Draw the first filters of a kernel from images, and the rest by another initializer.

    Args:
        images: Training images (N, *size, C), scaled as the model is fed, channels last.
        method: Name from `methods()`; only the stem is set.
        base: Initializer of the other filters; Keras' own default.
        seed: Seed of the method's own generator; the seed of Keras has no effect.
        **parameters: Options of the method: `mean` and `std` of standardized images, and others.

    Raises:
        WarminitError: When a layer is built, if the method fails or if the kernel does not fit the
            images.
    """

    def __init__(
        self,
        images: ArrayLike,
        method: str = DEFAULT_METHOD,
        *,
        base: Any = "glorot_uniform",
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        self._images = images
        self._options = {"method": method, "seed": seed, **parameters}
        self._filters: NDArray[np.float32] | None = None
        self.base = keras.initializers.get(base)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return a kernel (*K, C, F) as the backend's tensor."""
        if self._filters is None:
            images = keras.ops.convert_to_numpy(self._images)
            self._filters = conditioned_filters(tuple(shape), images, **self._options)
        if self._filters.shape[:-1] != tuple(shape[:-1]) or self._filters.shape[-1] > shape[-1]:
            raise WarminitError(
                f"this WarmInit has filters {self._filters.shape} of another layer: expected "
                f"{tuple(shape)}. Make a WarmInit for each layer."
            )
        rest = self.base(shape, dtype=dtype)[..., self._filters.shape[-1] :]
        filters = keras.ops.convert_to_tensor(self._filters, dtype=rest.dtype)
        return keras.ops.concatenate([filters, rest], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the filters instead of the images, so a saved model needs no images."""
        if self._filters is None:
            raise WarminitError(
                "this WarmInit has no filters yet: expected filters to save. Build the layer first."
            )
        base = keras.initializers.serialize(self.base)
        return {"filters": self._filters.tolist(), "base": base}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmInit":
        """Return an initializer with the saved filters."""
        made = WarmInit((), base=config["base"])
        made._filters = np.asarray(config["filters"], np.float32)
        return made


@keras.saving.register_keras_serializable(package="warminit")
class PreWarm(WarmInit):
    """Act as `WarmInit` under its name of 0.1, with the default method of 0.1, Pre-Warm."""

    def __init__(self, images: ArrayLike, arm: str = "prewarm", **options: Any) -> None:
        old_name("PreWarm", "WarmInit")
        super().__init__(images, arm, **options)


def prewarm(model: Any, images: ArrayLike, arm: str = "prewarm", **options: Any) -> InitReport:
    """Call `warm_init` by its name of 0.1, with the default method of 0.1."""
    old_name("prewarm", "warm_init")
    return warm_init(model, images, arm, **options)


@takes_old_names("layer")
def warm_init(
    model: Any,
    images: ArrayLike,
    method: str = DEFAULT_METHOD,
    *,
    layers: str | None = None,
    seed: int = 0,
    **parameters: Any,
) -> InitReport:
    """Condition the input layer of a built model, in place.

    Args:
        model: Built `keras.Model`.
        images: Training images, scaled as the model is fed, in the layer's data format.
        method: Name from `methods()`; only the stem is set.
        layers: Name of the layer; by default the only convolution that fits the images' channels.
        seed: Seed of the method's own generator.
        **parameters: Options of the method: `mean` and `std` of standardized images, and others.

    Returns:
        The method's report. The set filters equal those of torch for the same images; the others
        stay.

    Raises:
        WarminitError: For any invalid input; the model is then unchanged.
    """
    array = keras.ops.convert_to_numpy(images)
    found = _find(model, array, layers)
    if not hasattr(found.kernel, "assign"):
        raise WarminitError(
            f"layer {found.name!r}: expected a kernel that can be written, not one computed from "
            "other weights (LoRA, quantization). Condition the layer before enable_lora or "
            "quantize."
        )
    if found.data_format == "channels_first":
        array = np.moveaxis(array, 1, -1)
    kernel, report = condition_kernel(
        keras.ops.convert_to_numpy(keras.ops.cast(found.kernel, "float32")),
        array,
        method,
        groups=found.groups,
        dilation=found.dilation_rate,
        seed=seed,
        **parameters,
    )
    found.kernel.assign(kernel)
    how = "given by name" if layers else "the only convolution that fits the images' channels"
    return replace(report, layer=found.name, found=how)


def _find(model: Any, images: NDArray[Any], name: str | None) -> Any:
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    layers = [each for each in model._flatten_layers() if isinstance(each, kinds) and each.built]  # noqa: SLF001 - Keras has no public way into nested models
    fitting = [
        each
        for each in layers
        if images.ndim == each.rank + 2
        and images.shape[-1 if each.data_format == "channels_last" else 1]
        == each.kernel.shape[-2] * each.groups
    ]
    found = [each for each in layers if each.name == name] if name else fitting
    if len(found) != 1:
        names = ", ".join(each.name for each in found or layers) or "none"
        raise WarminitError(
            f"layers={name!r} with images {images.shape} leads to {len(found)} convolutions of "
            f"{model.name}: expected exactly one. There are: {names}. Build the model, and name "
            "its input layer with layers=."
        )
    return found[0]
