"""model, one pass -> its attention layers, verified; new values of their rows -> changes."""

from dataclasses import dataclass

from torch import Tensor

from warminit.errors import WarminitError
from warminit.initializers.bodies.parameters import Change, whole
from warminit.initializers.stems.subject import Subject
from warminit.models.attention import AttentionLayer, Rows
from warminit.models.layer import FoundLayer


@dataclass(frozen=True, slots=True)
class SeenAttention:
    """Hold what one pass of an image shows about the attention layers.

    Attributes:
        layers: Attention layers with a verified layout, in the model's order.
        left_alone: Names of layers that look like attention and compute something else.
        grid: Size of the input layer's output: rows and columns of patches.
    """

    layers: list[AttentionLayer]
    left_alone: list[str]
    grid: tuple[int, ...]


def find_attention(subject: Subject) -> SeenAttention:
    """Find the attention layers whose layout the pass of one image verifies.

    Args:
        subject: The model and its images; `models/attention.py` lists the layouts.

    Raises:
        WarminitError: If there is no attention layer of a known layout, or the model cannot run on
            the image.
    """
    stem = subject.first()
    found = subject.survey.operations().attention
    own = [layer for layer, right in found if right]
    names = [layer.name for layer, right in found if not right]
    if not own:
        raise WarminitError(
            f"{type(subject.survey.model).__name__} has no attention layer whose layout is known"
            f"{f' (left alone: {names[0]}, ...)' if names else ''}: expected query, key, value and "
            "projection as linear layers, or nn.MultiheadAttention. Choose another initializer."
        )
    return SeenAttention(own, names, _grid(subject, stem))


def _grid(subject: Subject, stem: FoundLayer) -> tuple[int, ...]:
    """Return the size of the input layer's output, or the patch grid of a linear layer."""
    if stem.flat is not None:
        sizes = zip(subject.images.shape[2:], stem.kernel_size, strict=True)
        return tuple(extent // kernel for extent, kernel in sizes)
    calls = subject.survey.passed.calls
    gave = next((each.gave for each in calls if each.module is stem.module), None)
    return () if gave is None else tuple(gave[2:])


def changes_of(new: list[tuple[Rows, Tensor]]) -> list[Change]:
    """Turn new values of rows into new values of whole parameters."""
    wholes: dict[tuple[int, str], Change] = {}
    for rows, values in new:
        key = id(rows.module), rows.attribute
        if key not in wholes:
            before = whole(rows.parameter).clone()
            wholes[key] = Change(rows.name, rows.module, rows.attribute, before)
        held = wholes[key].values
        held[rows.first : rows.first + rows.count] = values.to(held)
    return list(wholes.values())
