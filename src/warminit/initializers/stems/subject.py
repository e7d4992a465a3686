"""model, images -> both read and checked once per call, with one survey of the model."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.check import (
    DTYPES,
    as_model_input,
    check_images,
    is_dense,
    standardization,
)
from warminit.images.source import Images, read_images
from warminit.models.deep import chosen_layers
from warminit.models.find import find_layer
from warminit.models.layer import FoundLayer
from warminit.models.ranks import agreed, all_or_none, world_size
from warminit.models.survey import Survey

Statistics = Sequence[float] | float | Tensor | None

Layers = str | nn.Module | int | Sequence[str | nn.Module] | None
"""Layer by name or as a module, a list of layers, the first n that run, or None for the input
layer."""


class Subject:
    """Hold the model and the images of one call.

    Args:
        model: Any module.
        images: Images (N, C, *size), scaled as the model is fed, or batches of them; they are read
            once, here.
        batches: Number of batches to read if `images` is a loader.
        mean: Per-channel mean that standardizes uint8 pixels before the model gets them.
        std: Per-channel standard deviation, used like `mean`.
        operations: Whether the survey records every operation of its pass.

    Attributes:
        images: Images (N, C, *size) as read from the caller.
        note: Note on the read batches, for the report; None for a tensor.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Images,
        batches: int | None = None,
        *,
        mean: Statistics = None,
        std: Statistics = None,
        operations: bool = False,
    ) -> None:
        self.model, self._mean, self._std = model, mean, std
        self._operations = operations
        self._first: dict[Any, FoundLayer] = {}
        with all_or_none():
            self.images, self.note = read_images(images, batches)
        check_ranks_agree(self.images)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        images: "Images | Subject",
        batches: int | None = None,
        *,
        mean: Statistics = None,
        std: Statistics = None,
        operations: bool = False,
    ) -> "Subject":
        """Return the images if they are read already, or read them."""
        if isinstance(images, Subject):
            return images
        return cls(model, images, batches, mean=mean, std=std, operations=operations)

    @cached_property
    def survey(self) -> Survey:
        """Return the survey of the model by one image."""
        return self.new_survey()

    def new_survey(self) -> Survey:
        """Survey the model in its present state."""
        return Survey(self.model, self.images, self.as_fed, operations=self._operations)

    def as_fed(self, images: Tensor) -> Tensor:
        """Return some of the images, scaled as the model is fed."""
        return as_model_input(images, standardization(self._mean, self._std, images.shape[1]))

    def first(
        self, layer: str | nn.Module | None = None, *, takes_images: bool = True
    ) -> FoundLayer:
        """Return the layer that receives the images, and check the images for it.

        If a named layer need not receive the images, their channels are not compared.
        """
        if layer not in self._first:
            images = self.images
            # The layer decides what images must be, so only what finding it needs is known before.
            usable = isinstance(images, Tensor) and is_dense(images) and images.dtype in DTYPES
            usable = usable and images.ndim >= 3 and 0 not in images.shape
            survey = self.survey if usable else None
            first = find_layer(self.model, layer, images if usable else None, survey)
            channels = first.in_channels if takes_images and not first.behind else None
            check_images(images, spatial_dims=first.spatial_dims, channels=channels)
            self._first[layer] = first
        return self._first[layer]

    def targets(self, layers: Layers) -> list[FoundLayer]:
        """Return the layers to condition, in execution order."""
        first = self.first(only(layers))
        several = layers is not None and only(layers) is None
        return chosen_layers(self.survey, first, layers) if several else [first]


def only(layers: Layers) -> str | nn.Module | None:
    """Return the named layer, None for several, or the input layer."""
    return layers if isinstance(layers, str | nn.Module) else None


def check_any_images(images: Tensor) -> None:
    """Check the images without a layer."""
    dims = images.ndim - 2 if isinstance(images, Tensor) else 2
    check_images(images, spatial_dims=min(max(dims, 1), 3))


def check_ranks_agree(images: Tensor) -> None:
    """Raise on every rank if the images of the ranks do not match.

    Later steps may run the model, whose parts may wait for each other across ranks. So every rank
    must take the same branch from here on.
    """
    if world_size() == 1:
        return
    with all_or_none():
        check_any_images(images)
    mine = (images.ndim, images.shape[1])
    agreed_on = agreed(mine)
    with all_or_none():
        if mine != agreed_on:
            raise WarminitError(
                f"images has {mine[1]} channels in {mine[0]} dimensions here, and {agreed_on[1]} "
                f"in {agreed_on[0]} on rank 0: expected the same on all ranks. Give every rank a "
                "shard of the "
                "same data."
            )
