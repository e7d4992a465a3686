"""model, images -> one forward pass on copies, in which each layer can be fitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from warminit.errors import WarminitError
from warminit.models.randomness import seed_everything
from warminit.models.ranks import is_sharded
from warminit.models.restore import said, set_modes, undisturbed
from warminit.models.surroundings import own_arithmetic


@dataclass(frozen=True, slots=True)
class RunningLayer:
    """Hold a layer that a forward pass has just reached, with copies of its weight and bias.

    Attributes:
        name: Dotted name.
        is_input: Whether this is the input layer.
        weight: Weight (out_channels, ...), to write in place.
        bias: Bias (out_channels,), to write in place, or None.
        inputs: Inputs of the layer.
        groups: Groups of a convolution; 1 for a linear layer.
        dilation: Dilation of a convolution; empty for a linear layer.
        run: Function that returns the output for the present weight and bias: (P, out_channels),
            float32 or wider, one row for each position of each image.
        note: Function that adds a remark on this layer to the report.
    """

    name: str
    is_input: bool
    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    groups: int
    dilation: tuple[int, ...]
    run: Callable[[], Tensor]
    note: Callable[[str], None]


Fit = Callable[[RunningLayer, torch.Generator], int]
"""Fit the copies in place, drawing only from the generator; return the number of set filters. At 0
the layer gets its former values back.
"""


class _Finished(BaseException):  # no error: all is reached, and no `except` is to stop that
    pass


@dataclass(slots=True)
class ForwardPass:
    """Run one forward pass: what to do at each layer, and a record of it."""

    fit: Fit
    generator: torch.Generator
    wanted: Mapping[str, nn.Module]
    input_layer: nn.Module
    waiting: dict[str, None] = field(init=False)
    fitted: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = dict.fromkeys(self.wanted)

    def run(self, model: nn.Module, batch: Tensor, seed: int) -> dict[str, Tensor]:
        """Run the model on copies of its tensors, and return the fitted copies."""
        tensors = chain(model.named_parameters(), model.named_buffers())
        copies = {key: tensor.detach().clone() for key, tensor in tensors}
        handles = []
        with undisturbed(model), torch.no_grad():
            set_modes(model, training=False)
            seed_everything(seed, batch.device)
            try:
                for name, module in self.wanted.items():
                    hook = self._hook(name)
                    # First of the hooks, so that the others see the fitted output.
                    handles.append(
                        module.register_forward_hook(hook, prepend=True, with_kwargs=True)
                    )
                functional_call(model, copies, (batch,))
            except _Finished:
                pass
            except WarminitError:
                raise
            except Exception as error:
                raise WarminitError(
                    f"{type(model).__name__} cannot run on images of shape {tuple(batch.shape)}: "
                    f"{said(error)}. Pass the batch that the model is fed."
                ) from error
            finally:
                for handle in handles:
                    handle.remove()
        return copies

    def _hook(self, name: str) -> Callable[[Any, Any, Any, Any], Any]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            if name not in self.waiting:
                return None
            del self.waiting[name]
            with own_arithmetic():
                fitted = self._visit(name, module, args, kwargs)
            if fitted:
                output = module.forward(*args, **kwargs)
            if not self.waiting:
                raise _Finished
            return output

        return hook

    def _visit(self, name: str, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Fit one layer, and tell whether its output changed."""

        def note(text: str) -> None:
            self.notes.setdefault(text, []).append(name)

        def run() -> Tensor:
            output = module.forward(*args, **kwargs)
            # The channels stand before the spatial axes, of which a linear layer has none.
            rows = output.movedim(output.ndim - weight.ndim + 1, -1).reshape(-1, len(weight))
            if not bool(torch.isfinite(rows).all()):
                raise WarminitError(
                    f"layer {name} gives NaN or infinite values on these images: expected finite "
                    "values. Use float32 or bfloat16 instead of float16, or images with smaller "
                    "values."
                )
            wide: Tensor = rows if rows.dtype == torch.float64 else rows.float()
            return wide

        # The pass has put copies in the place of the parameters, so these may be written.
        own: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
        weight, bias = own.get("weight", torch.empty(0, dtype=torch.uint8)), own.get("bias")
        if not weight.is_floating_point():
            note("not set, its weight is computed or quantized")
            return False
        if any(weight is other for other in self.weights):
            note("not set, it shares its weight with an earlier layer")
            return False
        self.weights.append(weight)
        before = {key: tensor.clone() for key, tensor in own.items()}
        count = self.fit(
            RunningLayer(
                name=name,
                is_input=module is self.input_layer,
                weight=weight,
                bias=bias,
                inputs=next(iter((*args, *kwargs.values()))),
                groups=getattr(module, "groups", 1),
                dilation=tuple(getattr(module, "dilation", ())),
                run=run,
                note=note,
            ),
            self.generator,
        )
        if count:
            self.fitted[name] = count
        else:
            for key, tensor in own.items():
                tensor.copy_(before[key])
        return True


def check_values(model: nn.Module) -> None:
    """Raise if a tensor of the model has no values, or only a part of them on this rank."""
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if is_sharded(tensor):
            raise WarminitError(
                f"{name} is sharded, shape {tuple(tensor.shape)}: expected a whole tensor, to run "
                "the model on copies. Initialize the model before you shard it."
            )
        if is_lazy(tensor) or tensor.is_meta:
            kind = "lazy" if is_lazy(tensor) else "on the meta device"
            raise WarminitError(
                f"{name} is {kind}: expected a tensor with values. Run one batch through a lazy "
                "model first, or move the model off the meta device."
            )
