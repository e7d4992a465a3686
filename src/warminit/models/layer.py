"""a layer to condition -> its shape, and filters in the order of its weight."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from warminit.models.effective import weight_shape
from warminit.models.flat_patches import FlatPatches


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """Describe a layer to condition: a convolution, or a linear layer over flattened patches.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
        module: Module of the layer.
        found: Reason why it was chosen.
        behind: Dotted name of the frozen convolution that runs before it; "" if it receives the
            images.
        flat: Order of a patch's values in a linear layer; None for a convolution.
    """

    name: str
    module: Any
    found: str
    behind: str = ""
    flat: FlatPatches | None = None

    @property
    def spatial_dims(self) -> int:
        """Number of spatial dimensions: 1, 2 or 3."""
        return len(self.module.kernel_size if self.flat is None else self.flat.kernel_size)

    @property
    def in_channels(self) -> int:
        """Number of input channels C, by the weight's shape."""
        return channels_of(self.module) if self.flat is None else self.flat.channels

    @property
    def out_channels(self) -> int:
        """Number of filters F, by the weight's shape."""
        return weight_shape(self.module)[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Kernel size K, by the weight's shape; the patch size for a linear layer."""
        return weight_shape(self.module)[2:] if self.flat is None else self.flat.kernel_size

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for a linear layer."""
        groups: int = 1 if self.flat is not None else self.module.groups
        return groups

    @property
    def dilation(self) -> tuple[int, ...]:
        """Dilation of a convolution; 1 everywhere for a linear layer."""
        if self.flat is not None:
            return (1,) * self.spatial_dims
        return tuple(self.module.dilation)

    @property
    def takes_images(self) -> bool:
        """Whether it receives the images, rather than another layer's outputs."""
        return not self.behind and (self.flat is None or self.flat.as_images)

    def as_weight(self, filters: Tensor) -> Tensor:
        """Return filters (n, C / groups, *K) in the shape and order of the layer's weight."""
        return filters if self.flat is None else self.flat.weight(filters)

    def as_filters(self, weight: Tensor) -> Tensor:
        """Return rows of the layer's weight as filters (n, C / groups, *K)."""
        return weight if self.flat is None else self.flat.filters(weight)


def channels_of(convolution: Any) -> int:
    """Return the number of input channels C of a convolution, by its weight's shape."""
    channels: int = weight_shape(convolution)[1] * convolution.groups
    return channels
