"""model, one image -> its attention layers: where query, key, value and projection are kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from warminit.errors import WarminitError
from warminit.initializers.bodies.parameters import Change, whole
from warminit.models.find import find_layer
from warminit.models.watch import watched

_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads", "n_head", "nhead")
_FUSED = ("qkv", "to_qkv", "Wqkv", "qkv_proj", "in_proj", "c_attn")
_SPLIT = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("to_q", "to_k", "to_v"),
    ("q", "k", "v"),
    ("wq", "wk", "wv"),
)
_PROJECTIONS = ("proj", "out_proj", "o_proj", "output.dense", "to_out.0", "to_out", "c_proj", "wo")
_WITHIN = ("", "attention.", "self.")
"""Where Transformers' older attention keeps its three layers, seen from the projection's home."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a parameter that are a weight of their own: all of them, or a third."""

    name: str
    module: nn.Module
    attribute: str
    first: int
    count: int

    @property
    def parameter(self) -> Tensor:
        """The parameter as the module holds it now."""
        return self.module.get_parameter(self.attribute)


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """An attention of `heads` heads: weights (inner, width) and a projection (width, inner).

    Head h has the h-th block of rows of query, key and value.
    """

    name: str
    heads: int
    query: Rows
    key: Rows
    value: Rows
    projection: Rows

    @property
    def inner(self) -> int:
        """Values of all heads together."""
        return self.query.count

    @property
    def width(self) -> int:
        """Values of a token."""
        return self.query.parameter.shape[1]


@dataclass(frozen=True, slots=True)
class SeenAttention:
    """What one pass of an image tells.

    Attributes:
        layers: Attention layers whose layout is verified, in the model's order.
        left_alone: Names of those that look like attention and compute something else.
        grid: Size of the input layer's output: rows and columns of patches.
    """

    layers: list[AttentionLayer]
    left_alone: list[str]
    grid: tuple[int, ...]


def find_attention(model: nn.Module, images: Tensor) -> SeenAttention:
    """Find a model's attention layers, and verify by one image how their rows are ordered.

    Modules tell the layout: `nn.MultiheadAttention`; one layer for query, key and value (timm,
    and the laboratory's transformer); or three (timm with rotary positions, Transformers). In the
    pass the values of all tokens are replaced by one vector. Whatever the weights of attention are,
    the projection is then fed this vector. A layer where it is not orders its rows in another
    way, or is no attention over tokens; it is left alone.

    Args:
        model: Any module, not wrapped.
        images: (N, C, *size), as the model is fed; the first is used.

    Raises:
        WarminitError: If there is no such layer, or the model cannot be run on the image.
    """
    found = list(_candidates(model))
    stem = find_layer(model, None, images)
    verify = _Verify([each for each in found if each.query.attribute == "weight"])
    sizes: list[tuple[int, ...]] = []

    def size(_module: Any, _args: Any, out: Any) -> None:
        if stem.flat is None:
            sizes.append(tuple(out.shape[2:]))
            return
        grid = zip(images.shape[2:], stem.kernel_size, strict=True)
        sizes.append(tuple(extent // kernel for extent, kernel in grid))

    def attach() -> list[Any]:
        return [stem.module.register_forward_hook(size)]

    error = watched(model, images, verify, attach)
    if error is not None:
        raise WarminitError(
            f"{type(model).__name__} cannot run on one image of shape {(1, *images.shape[1:])}: "
            f"{type(error).__name__}: {str(error)[:160]}. Pass the batch that the model is fed."
        ) from error
    own = [each for each in found if each not in verify.layers or each.name in verify.right]
    names = [each.name for each in found if each not in own]
    if not own:
        raise WarminitError(
            f"{type(model).__name__} has no attention layer whose layout is known"
            f"{f' (left alone: {names[0]}, ...)' if names else ''}: expected query, key, value and "
            "projection as linear layers, or nn.MultiheadAttention. Choose another initializer."
        )
    return SeenAttention(own, names, sizes[0] if sizes else ())


def changes_of(new: list[tuple[Rows, Tensor]]) -> list[Change]:
    """Return new values of rows as new values of the whole parameters that hold them."""
    wholes: dict[tuple[int, str], Change] = {}
    for rows, values in new:
        key = id(rows.module), rows.attribute
        if key not in wholes:
            before = whole(rows.parameter).clone()
            wholes[key] = Change(rows.name, rows.module, rows.attribute, before)
        held = wholes[key].values
        held[rows.first : rows.first + rows.count] = values.to(held)
    return list(wholes.values())


@dataclass
class _Verify(TorchFunctionMode):
    """Replaces the values of every token by one vector, and sees what the projections are fed."""

    layers: list[AttentionLayer]
    right: set[str] = field(default_factory=set)
    _wrong: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "linear":
            return out
        given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
        # The parameter that a module holds in the pass may be another object than before it.
        for layer in self.layers:
            if given["weight"] is layer.value.parameter:
                one = _one_vector(layer, out)
                out = out.clone()
                out[..., layer.value.first : layer.value.first + layer.inner] = one
            if given["weight"] is layer.projection.parameter:
                fed = given["input"]
                same = torch.allclose(fed, _one_vector(layer, fed).expand_as(fed), 1e-2, 1e-3)
                (self.right if same else self._wrong).add(layer.name)
                self.right -= self._wrong
        return out


def _one_vector(layer: AttentionLayer, like: Tensor) -> Tensor:
    return torch.linspace(1, 2, layer.inner).to(like)


def _candidates(model: nn.Module) -> Iterator[AttentionLayer]:
    """Find modules that look like attention, and whose weights have the shapes of one."""
    for name, module in model.named_modules():
        layer = _multihead(name, module) if isinstance(module, nn.MultiheadAttention) else None
        layer = layer or _of_linear_layers(name, module)
        if layer is not None:
            yield layer


def _multihead(name: str, module: nn.MultiheadAttention) -> AttentionLayer | None:
    if not module.kdim == module.vdim == module.embed_dim:
        return None
    width, dotted = module.embed_dim, f"{name}." if name else ""
    parts = [
        Rows(f"{dotted}in_proj_weight", module, "in_proj_weight", third * width, width)
        for third in range(3)
    ]
    out = Rows(f"{dotted}out_proj.weight", module.out_proj, "weight", 0, width)
    return AttentionLayer(name, module.num_heads, parts[0], parts[1], parts[2], out)


def _of_linear_layers(name: str, module: nn.Module) -> AttentionLayer | None:
    linear = {
        key: each for key, each in module.named_modules() if isinstance(each, nn.Linear) and key
    }
    projection = next((key for key in _PROJECTIONS if key in linear), None)
    if projection is None:
        return None
    dotted = f"{name}." if name else ""
    for within in _WITHIN:
        home: Any = getattr(module, within[:-1], None) if within else module
        given = (getattr(home, key, None) for key in _HEADS)
        heads = next((count for count in given if type(count) is int and count > 0), 0)
        if not heads:
            continue
        for fused in (f"{within}{key}" for key in _FUSED):
            if fused in linear:
                count = linear[fused].out_features // 3
                keys = [(fused, third * count) for third in range(3)]
                if linear[fused].out_features == 3 * count:
                    return _layer(dotted, name, heads, linear, keys, count, projection)
        for split in _SPLIT:
            keys = [(f"{within}{key}", 0) for key in split]
            if all(key in linear for key, _ in keys):
                count = linear[keys[0][0]].out_features
                return _layer(dotted, name, heads, linear, keys, count, projection)
    return None


def _layer(
    dotted: str,
    name: str,
    heads: int,
    linear: dict[str, nn.Linear],
    keys: list[tuple[str, int]],
    count: int,
    projection: str,
) -> AttentionLayer | None:
    """Return the layer where the shapes are those of self-attention."""
    parts = [Rows(f"{dotted}{key}.weight", linear[key], "weight", at, count) for key, at in keys]
    last = linear[projection]
    width = linear[keys[0][0]].in_features
    fits = all(
        linear[key].in_features == width and at + count <= linear[key].out_features
        for key, at in keys
    )
    if not fits or count % heads or last.in_features != count or last.out_features != width:
        return None
    whole_projection = Rows(f"{dotted}{projection}.weight", last, "weight", 0, width)
    return AttentionLayer(name, heads, parts[0], parts[1], parts[2], whole_projection)
