"""a layer that can be conditioned -> its shape, and filters in the order of its weight."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from warminit.models.effective import weight_shape
from warminit.models.flat_patches import FlatPatches


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer that can be conditioned: a convolution, or a linear layer over flattened patches.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
        module: The layer.
        found: How it was chosen.
        behind: Dotted name of the frozen convolution that runs before it; "" where it is fed the
            images themselves.
        flat: How a linear layer takes the values of a patch; None for a convolution.
    """

    name: str
    module: Any
    found: str
    behind: str = ""
    flat: FlatPatches | None = None

    @property
    def spatial_dims(self) -> int:
        """1, 2 or 3."""
        return len(self.module.kernel_size if self.flat is None else self.flat.kernel_size)

    @property
    def in_channels(self) -> int:
        """C, by the weight's shape."""
        return channels_of(self.module) if self.flat is None else self.flat.channels

    @property
    def out_channels(self) -> int:
        """F, by the weight's shape."""
        return weight_shape(self.module)[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """K, by the weight's shape; of a linear layer the size of a patch."""
        return weight_shape(self.module)[2:] if self.flat is None else self.flat.kernel_size

    @property
    def groups(self) -> int:
        """Of a convolution; 1 for a linear layer."""
        groups: int = 1 if self.flat is not None else self.module.groups
        return groups

    @property
    def dilation(self) -> tuple[int, ...]:
        """Of a convolution; 1 everywhere for a linear layer."""
        if self.flat is not None:
            return (1,) * self.spatial_dims
        return tuple(self.module.dilation)

    @property
    def takes_images(self) -> bool:
        """Whether it is fed the images, and not what another layer makes of them."""
        return not self.behind and (self.flat is None or self.flat.as_images)

    def as_weight(self, filters: Tensor) -> Tensor:
        """Return filters (n, C / groups, *K) in the shape and order of the layer's weight."""
        return filters if self.flat is None else self.flat.weight(filters)

    def as_filters(self, weight: Tensor) -> Tensor:
        """Return rows of the layer's weight as filters (n, C / groups, *K)."""
        return weight if self.flat is None else self.flat.filters(weight)


def channels_of(convolution: Any) -> int:
    """Return C of a convolution, by its weight's shape."""
    channels: int = weight_shape(convolution)[1] * convolution.groups
    return channels
