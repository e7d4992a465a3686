"""model -> the learned positions of its patches, and sines and cosines for them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.initializers.bodies.attention_changes import SeenAttention
from warminit.initializers.bodies.parameters import Change, whole

_MOST_PREFIX = 16
"""Most tokens before the patches: a class token, registers."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Locate the learned positions of a vision transformer's patches.

    Attributes:
        name: Dotted name of the parameter.
        module: Module that holds the parameter.
        attribute: Name of the parameter in that module.
        grid: Rows and columns of patches.
        prefix: Number of tokens before the patches; their positions stay.
    """

    name: str
    module: nn.Module
    attribute: str
    grid: tuple[int, int]
    prefix: int

    @property
    def width(self) -> int:
        """Number of values of a token."""
        return self.module.get_parameter(self.attribute).shape[-1]

    def of_patches(self) -> Tensor:
        """Return the positions of the patches, (patches, width), float64 on the CPU."""
        values = whole(self.module.get_parameter(self.attribute))
        return values.reshape(-1, self.width)[self.prefix :].double().cpu()

    def change(self, values: Tensor) -> Change:
        """Return the change that sets new positions (patches, width)."""
        after = whole(self.module.get_parameter(self.attribute)).clone()
        after.reshape(-1, self.width)[self.prefix :] = values.to(after)
        return Change(self.name, self.module, self.attribute, after)


def find_positions(model: nn.Module, seen: SeenAttention) -> Positions:
    """Find the only parameter with "pos" in its name and a row for every patch.

    Raises:
        WarminitError: If there is none, or more than one.
    """
    width, patches = seen.layers[0].width, 0
    if len(seen.grid) == 2:
        patches = seen.grid[0] * seen.grid[1]
    found = [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if "pos" in ".".join(name.split(".")[-2:]).lower()
        and parameter.ndim >= 2
        and parameter.shape[-1] == width
        and 0 <= parameter.numel() // width - patches <= _MOST_PREFIX
    ]
    if len(found) != 1 or not patches:
        names = ", ".join(name for name, _ in found) or "none"
        raise WarminitError(
            f"learned positions of {patches} patches, {width} values each: {names}: expected one "
            "parameter with 'pos' in its name. Choose an initializer that needs no positions."
        )
    name, parameter = found[0]
    home, _, attribute = name.rpartition(".")
    prefix = parameter.numel() // width - patches
    grid = (seen.grid[0], seen.grid[1])
    return Positions(name, model.get_submodule(home), attribute, grid, prefix)


def sinusoidal_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Compute sines and cosines of each patch's row and column (Chen, Xie & He, 2021, MoCo v3).

    Args:
        grid: Rows and columns of patches.
        width: Number of values of a position, a multiple of 4.

    Returns:
        (patches, width) float64: sines and cosines of the column, then of the row. The width / 4
        frequencies fall from 1 to 1 / 10000.

    Raises:
        WarminitError: If the width is not a multiple of 4.
    """
    if width % 4:
        raise WarminitError(
            f"width={width}: expected a multiple of 4 for sinusoidal positions. Keep the model's "
            "own positions."
        )
    count = width // 4
    steps = torch.arange(count, dtype=torch.float64) / max(count - 1, 1)
    frequencies = 10_000.0**-steps
    rows, columns = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in grid), indexing="ij"
    )
    angles = [places.flatten()[:, None] * frequencies for places in (columns, rows)]
    return torch.cat([wave for each in angles for wave in (each.sin(), each.cos())], 1)
