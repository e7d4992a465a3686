"""modules -> a snapshot of everything that running or writing them may change, to restore."""

import copy
import random
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from warminit.errors import WarminitError
from warminit.models.randomness import random_state_kept
from warminit.models.ranks import is_sharded
from warminit.models.surroundings import callers_defaults

_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run the model without compiling it, and restore everything that the run changes.

    Afterwards these are bit-identical: parameters and buffers (values, sizes, memory, gradients),
    swapped modules, hooks, modes, plain attributes and random states. Weights that FSDP2 gathers
    for a pass are sharded again. A copy of the model's tensors is held meanwhile, since no version
    counter shows writes through `.data`, NumPy or a kernel.
    """
    before = Snapshot([model])
    with random_state_kept(), callers_defaults(), _eager():
        try:
            yield
        finally:
            for module in fully_sharded(model):
                module.reshard()
            before.restore()


def _eager() -> AbstractContextManager[None]:
    """Run compiled code without compilation.

    A process that has not imported torch's compiler has no compiled code, and its import takes a
    second.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    eager: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return eager


@contextmanager
def restored_on_error(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore the modules if the code inside raises."""
    before = Snapshot(modules)
    try:
        yield
    except BaseException:
        before.restore()
        raise


@contextmanager
def errors_explained(model: nn.Module) -> Iterator[None]:
    """Turn any exception of the model's own code into a WarminitError."""
    try:
        yield
    except (WarminitError, Warning):
        raise
    except Exception as error:
        raise WarminitError(
            f"{type(model).__name__} cannot be used: {said(error)}. The model did not change. "
            "Check that model(images[:1]) works with the images that the model is fed."
        ) from error


def said(error: BaseException) -> str:
    """Return an exception's type and the first line of its text."""
    line = next(iter(str(error).splitlines()), "").rstrip(".")
    return f"{type(error).__name__}: {line[:160]}" if line else type(error).__name__


def set_modes(model: nn.Module, *, training: bool) -> None:
    """Set the mode flags of all modules, since train() and eval() may merge or swap weights."""
    for module in model.modules():
        module.training = training


def fully_sharded(model: nn.Module) -> list[Any]:
    """Return the modules whose weights FSDP2 gathers for a run."""
    # Importing it costs; a model can only hold one where somebody has imported it already.
    home: Any = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(home, "FSDPModule", None)
    return [module for module in model.modules() if isinstance(module, kind)] if kind else []


class Snapshot:
    """Hold everything about modules that code may change, to restore it.

    For each module: its class, its attributes and the content of plain containers. For each tensor:
    its memory, shape, address, gradient, the gradient's hooks and `requires_grad`. Also the states
    of private random generators.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        parts = {id(part): part for each in modules for part in each.modules()}.values()
        self._parts = [(part, type(part), dict(vars(part)), part.training) for part in parts]
        self._containers: list[tuple[Any, Any]] = []
        tensors: dict[int, Tensor] = {}
        generators: dict[int, Any] = {}
        seen: set[int] = set()
        waiting: list[Any] = [value for part in parts for value in vars(part).values()]
        for part in parts:  # those of a scripted module are in no attribute
            waiting += [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                tensors[id(value)] = value
                if value.is_leaf and value.grad is not None:
                    waiting.append(value.grad)
            elif isinstance(value, _GENERATORS):
                generators[id(value)] = value
            elif type(value) in _CONTAINERS and id(value) not in seen:
                seen.add(id(value))
                self._containers.append((value, copy.copy(value)))
                waiting += value.values() if isinstance(value, dict) else value
        self._memory: dict[int, tuple[Any, Tensor]] = {}
        self._tensors = [self._held(each) for each in tensors.values() if not is_lazy(each)]
        self._generators = [(each, _state(each)) for each in generators.values()]

    def restore(self) -> None:
        """Restore everything; unchanged values are not written."""
        for part, kind, attributes, training in self._parts:
            if type(part) is not kind:
                part.__class__ = kind
            _refill(vars(part), attributes)
            if part.training != training:
                part.training = training
        for container, content in self._containers:
            _refill(container, content)
        for generator, state in self._generators:
            _set_state(generator, state)
        with torch.no_grad():
            for storage, saved in self._memory.values():
                if storage.nbytes() != saved.nbytes:
                    storage.resize_(saved.nbytes)
                now = _words(storage)
                if not torch.equal(now, saved):
                    now.copy_(saved)
            for held in self._tensors:
                _restore_tensor(*held)

    def _held(self, tensor: Tensor) -> tuple[Any, ...]:
        """Keep one tensor: its memory, once for all that share it, or a copy."""
        # Of a DTensor the rank's own part: what is written into that shows in no version.
        local: Any = tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined] # of DTensors
        place, value = local.detach(), None
        plain = type(place) in {Tensor, nn.Parameter} and place.layout == torch.strided
        if plain and not place.is_meta:
            storage = place.untyped_storage()
            if storage._cdata not in self._memory:  # noqa: SLF001 - as above
                self._memory[storage._cdata] = (storage, _words(storage).clone())  # noqa: SLF001 - as above
        elif not plain:
            value = place.clone()
        grad = tensor.grad if tensor.is_leaf else None
        hooks = tensor._backward_hooks  # noqa: SLF001 - as above
        kept = hooks if hooks is None else dict(hooks)
        return tensor, place, tensor._version, value, grad, tensor.requires_grad, kept  # noqa: SLF001 - as above


def _restore_tensor(
    tensor: Tensor,
    place: Tensor,
    version: int,
    value: Tensor | None,
    grad: Tensor | None,
    trains: bool,
    hooks: dict[int, Any] | None,
) -> None:
    """Restore a tensor; its memory, if any, already has the former values."""
    if value is not None and tensor._version != version:  # noqa: SLF001 - torch has no public name for it
        place.copy_(value)
    if value is None and not _at_one_place(tensor, place):
        tensor.data = place
    if tensor.is_leaf:
        if tensor.requires_grad != trains:
            tensor.requires_grad_(trains)
        if tensor.grad is not grad:
            tensor.grad = grad
        _restore_hooks(tensor, hooks)


def _restore_hooks(tensor: Tensor, before: dict[int, Any] | None) -> None:
    """Remove new hooks on a tensor's gradient, for example those of frozen filters."""
    now = tensor._backward_hooks  # noqa: SLF001 - torch has no public name for it
    if now is not None and before is None:
        tensor._backward_hooks = None  # noqa: SLF001 - as above
    elif now is not None and before is not None:
        _refill(now, before)


def _words(storage: Any) -> Tensor:
    """Return the memory of a storage as integers, so equal means bit-identical."""
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    words: Tensor = flat if storage.nbytes() % 8 else flat.view(torch.int64)
    return words


def _at_one_place(tensor: Any, place: Tensor) -> bool:
    if is_sharded(tensor):
        return True
    return bool(
        tensor.data_ptr() == place.data_ptr()
        and tensor.shape == place.shape
        and tensor.dtype == place.dtype
        and (tensor.is_meta or tensor.stride() == place.stride())
    )


def _refill(container: Any, content: Any) -> None:
    """Restore the content of a container, if it changed."""
    if isinstance(container, dict):
        now, before = [*container.items()], [*content.items()]
        same = len(now) == len(before) and all(
            one[0] is other[0] and one[1] is other[1]
            for one, other in zip(now, before, strict=True)
        )
    elif isinstance(container, set):
        same = container == content
    else:
        same = [*map(id, container)] == [*map(id, content)]
    if not same:
        container.clear()
        (container.update if isinstance(container, dict | set) else container.extend)(content)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
