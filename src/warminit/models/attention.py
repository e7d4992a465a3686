"""model, one pass -> its attention layers, with their query, key, value and projection.

Modules show the layout: `nn.MultiheadAttention`, one layer for query, key and value (timm, the
laboratory's transformer), or three layers (timm with rotary positions, Transformers). In the pass
one vector replaces the values of all tokens. With any attention weights, the projection must then
receive this vector. Otherwise the layer orders its rows differently, or is not attention over
tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
"""Path to the three layers of Transformers' older attention, from the projection's parent."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Refer to rows of a parameter that form one weight: all rows, or a third."""

    name: str
    module: nn.Module
    attribute: str
    first: int
    count: int

    @property
    def parameter(self) -> Tensor:
        """Return the parameter that the module holds now."""
        return self.module.get_parameter(self.attribute)


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """Describe an attention layer: weights (inner, width) and a projection (width, inner).

    Head h uses the h-th block of rows of query, key and value.
    """

    name: str
    heads: int
    query: Rows
    key: Rows
    value: Rows
    projection: Rows

    @property
    def is_linear(self) -> bool:
        """Whether the layer consists of linear layers, which a pass must verify."""
        return self.query.attribute == "weight"

    @property
    def inner(self) -> int:
        """Number of values of all heads."""
        return self.query.count

    @property
    def width(self) -> int:
        """Number of values of a token."""
        return self.query.parameter.shape[1]


@dataclass
class AttentionCheck(TorchFunctionMode):
    """Replace the values of every token by one vector, and check the projections' inputs.

    Attributes:
        layers: Layers with a layout to verify.
        right: Names of layers whose projection received the vector.
    """

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


def attention_candidates(model: nn.Module) -> Iterator[AttentionLayer]:
    """Find modules that look like attention and have weights of fitting shapes."""
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
    """Return the layer if its shapes are those of self-attention, else None."""
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
