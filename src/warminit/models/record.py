"""one pass of one image -> inputs and outputs of each layer, in the order of calls."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from warminit.models.attention import AttentionCheck, AttentionLayer, attention_candidates
from warminit.models.computation import Branch, Computation
from warminit.models.outputs import close, tensors
from warminit.models.ranks import is_sharded
from warminit.models.restore import set_modes, undisturbed

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PARAMETRIC = (*CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
WHOLE_MODEL = "(the model itself)"

_FUNCTIONS = frozenset(("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"))
"""torch's normalization functions of activations, by name."""


@dataclass(slots=True)
class Call:
    """Record one call of a layer with weights or of a normalization.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism; or the name of
            a normalization function.
        module: Module that was called; None for a function.
        normalizes: Whether it is a normalization. Its outputs then lose the scale of its inputs,
            but a path around it, as in a pre-activation block, keeps the scale.
        began: Index of its beginning among all beginnings and ends of calls.
        ended: Index of its end; None if the pass stopped earlier.
        fed: Shape of its first input tensor, or None.
        gave: Shape of its output tensor, None for other outputs.
        place: Memory address of its first input tensor.
        vector: Copy of a linear layer's output, if that is one vector of its plain weight.
    """

    name: str
    module: nn.Module | None
    normalizes: bool
    began: int
    ended: int | None = None
    fed: torch.Size | None = None
    gave: torch.Size | None = None
    vector: Tensor | None = None
    place: int = 0


@dataclass(slots=True)
class Passed:
    """Record one pass of one image.

    Attributes:
        calls: Calls, in the order of their beginning.
        returned: Copies of the dense tensors that the model returned.
        error: Exception of the model, or of reading its output.
        beside: For a convolution, the later layer of another kind with the same input and a second
            tensor, for example a deformable convolution with its offsets.
        operations: Record of the operations, if it was requested and the model ran.
        unseen: Exception of a model that fails only while its operations are recorded.
    """

    calls: list[Call] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    error: Exception | None = None
    beside: dict[str, str] = field(default_factory=dict)
    operations: "Operations | None" = None
    unseen: Exception | None = None


@dataclass(frozen=True, slots=True)
class Operations:
    """Record the operations of a pass.

    Attributes:
        branches: Residual branches, in execution order; None if ranks hold parts of the parameters,
            since the names are then unknown.
        attends: Whether two tensors that both depend on the image were multiplied as matrices.
        attention: Modules that look like attention, each with the result of the verification.
    """

    branches: tuple[Branch, ...] | None
    attends: bool
    attention: tuple[tuple[AttentionLayer, bool], ...]


def as_input(model: nn.Module, images: Tensor) -> Tensor:
    """Copy images to the device and dtype of a model.

    The copy protects the caller's images, since a model may write into its input.
    """
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = (weight for module in (*layers, model) for weight in module.parameters())
    weight = next((each for each in weights if each.dtype.is_floating_point), torch.zeros(()))
    return images.to(device=weight.device, dtype=weight.dtype, copy=True)


def is_normalization(module: nn.Module) -> bool:
    """Tell a normalization from a block with a normalization in its name.

    Local response normalization does not count: it hardly changes values of about one.
    """
    named = any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
    return (
        named
        and not isinstance(module, nn.LocalResponseNorm)
        and not any(isinstance(part, PARAMETRIC) for part in module.modules())
    )


def has_other_filters(module: nn.Module) -> bool:
    """Tell whether a module has filters but is not a convolution of torch."""
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return weight is not None and weight.ndim >= 3 and not isinstance(module, PARAMETRIC)


def one_pass(model: nn.Module, image: Tensor, *, operations: bool = False) -> Passed:
    """Run one image through a model in eval mode, and record its layers.

    Args:
        model: Any module, not wrapped.
        image: Image (1, C, *size), scaled as the model is fed.
        operations: Whether to record every operation too.
    """
    passed, image = Passed(), as_input(model, image)
    record = _Record(passed)
    watcher = _Watcher(model) if operations else None
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
            for name, module in model.named_modules():
                if has_other_filters(module):
                    record.attach_other(module, name)
            set_modes(model, training=False)
            with torch.no_grad(), _Functions(record), ExitStack() as stack:
                if watcher is not None:
                    watcher.enter(stack, image)
                output = model(image)
            passed.returned = [each.detach().clone() for each in tensors(output)]
            passed.operations = None if watcher is None else watcher.told()
        except Exception as error:  # noqa: BLE001 - whatever a model may raise
            passed.error = error
        finally:
            record.detach()
    return passed


class _Watcher:
    """Record the operations of a pass."""

    def __init__(self, model: nn.Module) -> None:
        named = dict(model.named_parameters())
        sharded = any(map(is_sharded, named.values()))
        names = {id(each): name for name, each in named.items()}
        self._computation = None if sharded else Computation(names)
        self._found = [*attention_candidates(model)]
        self._check = AttentionCheck([each for each in self._found if each.is_linear])

    def enter(self, stack: ExitStack, image: Tensor) -> None:
        stack.enter_context(self._check)
        if self._computation is not None:
            stack.enter_context(self._computation)
            self._computation.begin(image)

    def told(self) -> Operations:
        right = self._check.right
        attention = tuple((each, not each.is_linear or each.name in right) for each in self._found)
        computation = self._computation
        if computation is None:
            return Operations(None, any(verified for _, verified in attention), attention)
        return Operations(tuple(computation.branches), computation.attends, attention)


class _Record:
    """Record the calls of modules by hooks, and those of functions."""

    def __init__(self, passed: Passed) -> None:
        self._calls, self._beside = passed.calls, passed.beside
        self._time, self._handles = 0, list[Any]()
        self._open: dict[nn.Module, list[Call]] = {}

    def attach(self, module: nn.Module, name: str) -> None:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            call = Call(name, module, is_normalization(module), self._tick())
            given = next(_given(args, kwargs), None)
            if given is not None:
                call.fed, call.place = given.shape, _place(given)
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

    def attach_other(self, module: nn.Module, name: str) -> None:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.filtered(f"{name or WHOLE_MODEL} ({type(module).__name__})", args, kwargs)

        self._handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))

    def filtered(self, by: str, args: Any, kwargs: Any) -> None:
        """Record convolutions that share their input with a layer that has a second tensor."""
        given = [*_given(args, kwargs)]
        for call in self._calls if len(given) > 1 else []:
            same = call.fed == given[0].shape and call.place == _place(given[0])
            if same and call.ended is not None and isinstance(call.module, CONVOLUTIONS):
                self._beside[call.name] = by

    def function(self, name: str) -> None:
        now = self._tick()
        self._calls.append(Call(name, None, normalizes=True, began=now, ended=now))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _tick(self) -> int:
        self._time += 1
        return self._time


def _given(args: Any, kwargs: Any) -> Iterator[Tensor]:
    return (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))


def _place(tensor: Tensor) -> int:
    plain = type(tensor) in {Tensor, nn.Parameter} and tensor.layout is torch.strided
    return tensor.data_ptr() if plain else id(tensor)


class _Functions(TorchFunctionMode):
    """Record normalization functions and deformable convolutions in this context."""

    def __init__(self, record: _Record) -> None:
        super().__init__()
        self._record = record

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _FUNCTIONS:
            self._record.function(name)
        elif "deform_conv" in name:
            self._record.filtered(name, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _vector(module: nn.Linear, fed: tuple[Any, ...], out: Any) -> Tensor | None:
    """Return a copy of a linear layer's output for one image: one vector, of its plain weight.

    None for anything else, for example layers that normalize their weight. It is a copy, since
    later layers may write in place.
    """
    if not isinstance(out, Tensor) or out.numel() != module.out_features:
        return None
    if type(module) is not nn.Linear and not is_sharded(module.weight):
        inputs = next((each for each in fed if isinstance(each, Tensor)), None)
        if inputs is None or not close(out, F.linear(inputs, module.weight, module.bias)):
            return None
    return out.detach().clone()
