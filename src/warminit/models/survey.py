"""model, one image -> a record of its layers in the order of their calls. One undisturbed pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from warminit.errors import WarminitError
from warminit.models.outputs import close, tensors
from warminit.models.ranks import is_sharded
from warminit.models.restore import said, set_modes, undisturbed

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PARAMETRIC = (*CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
WHOLE_MODEL = "(the model itself)"

_FUNCTIONS = frozenset(("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"))
"""torch's normalizations of what a layer gives, by the name of the function."""


@dataclass(slots=True)
class Call:
    """One call of a layer with weights or of a normalization.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism; of a
            normalization that is no module, the function's.
        module: None for a function.
        normalizes: Whether it is a normalization: then what it gives has lost the scale of what it
            is fed, though a path around it, as in a pre-activation block, still has it.
        began: Its place among all beginnings and ends of calls.
        ended: Likewise; None where the pass did not get so far.
        fed: Shape of its first tensor, None where there is none.
        gave: Shape of the tensor that it returned, None for anything else.
        vector: A copy of what a linear layer gave where that is one vector of its own weight.
    """

    name: str
    module: nn.Module | None
    normalizes: bool
    began: int
    ended: int | None = None
    fed: torch.Size | None = None
    gave: torch.Size | None = None
    vector: Tensor | None = None


@dataclass(slots=True)
class Passed:
    """What one image left behind.

    Attributes:
        calls: In the order in which they began.
        returned: Copies of the dense tensors that the model returned.
        error: What the model raised, or what reading its output raised.
    """

    calls: list[Call] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    error: Exception | None = None


class Survey:
    """What one pass of one image tells of a model; the pass is made at the first question.

    Args:
        model: Any module, wrapped or not.
        images: (N, C, *size); the first is used.
        as_fed: Makes of (1, C, *size) what the model is fed.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
        >>> survey = Survey(model, torch.zeros(2, 1, 8, 8))
        >>> survey.order(), survey.next_after(model[0]).name
        (['0', '2'], '1')
    """

    def __init__(
        self, model: nn.Module, images: Tensor, as_fed: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.model, self.images, self._as_fed = unwrap(model), images, as_fed

    @cached_property
    def lazy(self) -> str:
        """The first parameter that a pass would give a shape; "" where there is none."""
        named = self.model.named_parameters()
        return next((name for name, value in named if is_lazy(value)), "")

    @cached_property
    def passed(self) -> Passed:
        """The record of the pass.

        Raises:
            WarminitError: If a parameter is lazy.
        """
        if self.lazy:
            raise WarminitError(
                f"{self.lazy} is lazy: an image through the model would give it its shape, and "
                "without one the order of the layers is not known. Run one batch through the model "
                "first, or name the layer with layers=."
            )
        image = self.images[:1]
        return _pass(self.model, image if self._as_fed is None else self._as_fed(image))

    def order(self) -> list[str]:
        """Return the layers with weights in the order in which the image reaches them, each once.

        Raises:
            WarminitError: If the model cannot be run on the image.
        """
        names = (each.name for each in self.passed.calls if isinstance(each.module, PARAMETRIC))
        order = list(dict.fromkeys(names))
        # Detectors stop after their stem where targets or sizes do not fit: what ran, ran.
        if self.passed.error is not None and not order:
            raise WarminitError(
                f"{self.not_through()}, so the order of its layers is not known: "
                f"{said(self.passed.error)}. Name the layer with layers=."
            ) from self.passed.error
        return order

    def next_after(self, layer: nn.Module) -> Call | None:
        """Return the first call after the end of a layer's first call; None where none is known.

        A normalization is seen that is a module with "norm" in the name of its class, or a function
        of torch; one that is written out is not.
        """
        if self.lazy:
            return None
        own = next((each for each in self.passed.calls if each.module is layer), None)
        if own is None or own.ended is None:
            return None
        # From the layer's end to the next one's start: within, a layer may normalize its weight.
        return next((each for each in self.passed.calls if each.began > own.ended), None)

    def last_before(self, call: Call) -> Call | None:
        """Return the call that ended last before the end of another."""
        ended = [
            (each.ended, each)
            for each in self.passed.calls
            if each.ended is not None and call.ended is not None and each.ended < call.ended
        ]
        return max(ended, key=lambda each: each[0])[1] if ended else None

    def not_through(self) -> str:
        """Say that the image does not go through the model."""
        return f"one image of shape {(1, *self.images.shape[1:])} does not go through the model"


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside `torch.compile`, DataParallel and DistributedDataParallel."""
    if not isinstance(model, nn.Module):
        raise WarminitError(
            f"model is a {type(model).__name__}; a torch.nn.Module is needed. Pass the model "
            "itself."
        )
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def as_input(model: nn.Module, images: Tensor) -> Tensor:
    """Return a copy of images with the device and dtype that a model computes in.

    A copy: a model may write into what it is fed, and the images are the caller's.
    """
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = (weight for module in (*layers, model) for weight in module.parameters())
    weight = next((each for each in weights if each.dtype.is_floating_point), torch.zeros(()))
    return images.to(device=weight.device, dtype=weight.dtype, copy=True)


def is_normalization(module: nn.Module) -> bool:
    """Tell a normalization, torch's or another's, from a block that has one in its name.

    Local response normalization is none: it leaves values of about one as they are.
    """
    named = any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
    return (
        named
        and not isinstance(module, nn.LocalResponseNorm)
        and not any(isinstance(part, PARAMETRIC) for part in module.modules())
    )


def _pass(model: nn.Module, image: Tensor) -> Passed:
    """Run one image through a model in eval mode, and note its layers as they run."""
    passed, image = Passed(), as_input(model, image)
    record = _Record(passed.calls)
    # What computes a weight (weight normalization, say) is no layer: no image goes through it.
    names = {
        module: name or WHOLE_MODEL
        for name, module in model.named_modules()
        if (isinstance(module, PARAMETRIC) or is_normalization(module))
        and "parametrizations" not in name.split(".")
    }
    with undisturbed(model):
        try:
            for module, name in names.items():
                record.attach(module, name)
            set_modes(model, training=False)
            with torch.no_grad(), _Functions(record.function):
                output = model(image)
            passed.returned = [each.detach().clone() for each in tensors(output)]
        except Exception as error:  # noqa: BLE001 - whatever a model may raise
            passed.error = error
        finally:
            record.detach()
    return passed


class _Record:
    """Notes the calls of modules by hooks, and those of functions."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls, self._time, self._handles = calls, 0, list[Any]()
        self._open: dict[nn.Module, list[Call]] = {}

    def attach(self, module: nn.Module, name: str) -> None:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            call = Call(name, module, is_normalization(module), self._tick())
            given = (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
            call.fed = next((each.shape for each in given), None)
            self._calls.append(call)
            self._open.setdefault(module, []).append(call)

        def end(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            call = self._open[module].pop()
            call.ended, call.gave = self._tick(), getattr(out, "shape", None)
            if isinstance(module, nn.Linear):
                call.vector = _vector(module, (*args, *kwargs.values()), out)

        self._handles += [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(end, with_kwargs=True),
        ]

    def function(self, name: str) -> None:
        now = self._tick()
        self._calls.append(Call(name, None, normalizes=True, began=now, ended=now))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _tick(self) -> int:
        self._time += 1
        return self._time


class _Functions(TorchFunctionMode):
    """A context in which torch's normalizations are noted as functions, whoever calls them."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _FUNCTIONS:
            self._note(name)
        return func(*args, **(kwargs or {}))


def _vector(module: nn.Linear, fed: tuple[Any, ...], out: Any) -> Tensor | None:
    """Return a copy of what a linear layer gave one image: one vector, of its own weight.

    None for anything else: layers that normalize or add to their weight give no such vector. A
    copy, since what follows may write in place.
    """
    if not isinstance(out, Tensor) or out.numel() != module.out_features:
        return None
    if type(module) is not nn.Linear and not is_sharded(module.weight):
        inputs = next((each for each in fed if isinstance(each, Tensor)), None)
        if inputs is None or not close(out, F.linear(inputs, module.weight, module.bias)):
            return None
    return out.detach().clone()
