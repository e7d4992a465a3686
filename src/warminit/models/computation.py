"""the operations of one pass -> residual branches, and the last parameter that scales each.

The computation shows the branches; names of blocks do not matter. torch's dispatcher records every
operation of the pass. A residual sum adds two tensors that both depend on the image. One side, the
branch, passed more layers with weights than the other, the skip, which passed at most two.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Kind = Literal["normalization", "scale", "projection"]

_PROJECTIONS = frozenset(("mm", "addmm", "bmm", "baddbmm", "convolution"))
_BIAS_FIRST = frozenset(("addmm", "baddbmm"))
_SCALES = frozenset(("mul", "mul_"))
_SUMS = frozenset(("add", "add_"))
# What keeps a zero zero and its gradient: copies, and orders and shapes of the same values.
_SAME_VALUES = frozenset((
    "view", "_unsafe_view", "reshape", "_reshape_copy", "permute", "transpose", "t", "unsqueeze",
    "squeeze", "expand", "clone", "contiguous", "alias", "detach", "_to_copy", "roll", "slice",
    "index", "constant_pad_nd", "div", "div_", "select",
))  # fmt: skip
_MOST_ON_A_SKIP = 2
"""Most layers with weights in a skip: the convolution and normalization of a shortcut."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Describe a residual branch, which is added to its skip.

    Attributes:
        weight: Dotted name of the last parameter that multiplies the branch, "" if another
            operation is last.
        bias: Dotted name of the parameter added with it, "" if there is none.
        kind: Kind of module that the parameter belongs to.
        size: Largest absolute value of the branch, for this image.
    """

    weight: str
    bias: str
    kind: Kind
    size: float


@dataclass(frozen=True, slots=True)
class _Value:
    """Track a tensor that depends on the image.

    `past` has a bit for each earlier operation, and `weighted` a bit for each with weights.
    """

    past: int
    weighted: int
    scaled_by: tuple[str, str, Kind] | None


@dataclass
class Computation(TorchDispatchMode):
    """Record every operation of a pass and the origin of each tensor.

    Attributes:
        names: Dotted name of each parameter of the model, by its id.
        branches: Residual branches, in execution order.
        attends: Whether the pass had a matrix product of two tensors that both depend on the image.
    """

    names: dict[int, str]
    branches: list[Branch] = field(default_factory=list)
    attends: bool = False
    _values: dict[int, _Value] = field(default_factory=dict)
    _parameters: dict[int, str] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives it no types
        self._parameters.update(self.names)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler, which takes a second, for this mode.

        No compiled code runs under it: `restore.undisturbed` ensures that.
        """
        return False

    def begin(self, image: Tensor) -> None:
        """Record the model's input."""
        self._keep(image, _Value(self._bit(), 0, None))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        # Before the call, since a sum in place overwrites one of its sides.
        sizes = [_size(each) for each in given if name in _SUMS and id(each) in self._values]
        out = func(*args, **(kwargs or {}))
        fed = [self._values[id(each)] for each in given if id(each) in self._values]
        named = [self._parameters[id(each)] for each in given if id(each) in self._parameters]
        made = [each for each in tree_leaves(out) if isinstance(each, Tensor)]
        self.attends |= len(fed) > 1 and (name in _PROJECTIONS or "attention" in name)
        if fed:
            value = self._value(name, given, fed, named, sizes)
            for each in made:
                self._keep(each, value)
        elif named:
            # A parameter seen in another shape or dtype is that parameter still; what is computed
            # from it is a weight without a name.
            same = name in _SAME_VALUES and len(named) == 1
            for each in made:
                self._parameters[id(each)] = named[0] if same else ""
                self._alive.append(each)
        return out

    def _value(
        self,
        name: str,
        given: list[Tensor],
        fed: list[_Value],
        named: list[str],
        sizes: list[float],
    ) -> _Value:
        bit = self._bit()
        past, weighted = bit, 0
        for each in fed:
            past, weighted = past | each.past, weighted | each.weighted
        scaled_by: tuple[str, str, Kind] | None = None
        if named and name not in _SUMS:
            weighted |= bit
        if name in _SUMS and len(fed) == 2:
            self._add(fed, sizes)
        elif name in _SUMS and len(fed) == 1 and fed[0].scaled_by is not None:
            weight, bias, kind = fed[0].scaled_by
            # A bias that a linear layer adds apart, or a constant that makes no zero of a zero.
            if named and not bias and kind == "projection":
                scaled_by = (weight, named[0], kind)
        elif named and (of := _kind(name)) is not None and len(fed) == 1:
            bias_first = name in _BIAS_FIRST and id(given[0]) in self._parameters
            pair = (named[::-1] if bias_first else named) + [""]
            scaled_by = (pair[0], pair[1], of) if pair[0] else None
        elif name in _SCALES and len(fed) == 2:
            # A gate is computed from what it multiplies, which is zero where that is.
            gated = [each for each in fed if all(each.past & o.past == each.past for o in fed)]
            scaled_by = gated[0].scaled_by if gated else None
        elif name in _SAME_VALUES | _SCALES and len(fed) == 1 and not named:
            scaled_by = fed[0].scaled_by
        return _Value(past, weighted, scaled_by)

    def _add(self, fed: list[_Value], sizes: list[float]) -> None:
        """Record a residual sum: both sides depend on the image, and one passed more weights."""
        own = [(each.weighted & ~other.weighted).bit_count() for each, other in (fed, fed[::-1])]
        if own[0] == own[1] or min(own) > _MOST_ON_A_SKIP:
            return
        branch = own.index(max(own))
        weight, bias, kind = fed[branch].scaled_by or ("", "", "projection")
        self.branches.append(Branch(weight, bias, kind, sizes[branch]))

    def _keep(self, tensor: Any, value: _Value) -> None:
        if isinstance(tensor, Tensor):
            self._values[id(tensor)] = value
            self._alive.append(tensor)

    def _bit(self) -> int:
        self._count += 1
        return 1 << self._count


def _size(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def _kind(name: str) -> Kind | None:
    if name in _PROJECTIONS:
        return "projection"
    if name in _SCALES:
        return "scale"
    return "normalization" if "norm" in name else None
