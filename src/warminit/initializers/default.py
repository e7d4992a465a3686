"""what one image tells of a model -> its architecture, and what `init_` does by default for it.

This table is the only place where the default is chosen.
"""

from dataclasses import dataclass
from typing import Any

from warminit.initializers.stems.subject import Layers, Subject, only
from warminit.models.ranks import agreed, all_or_none
from warminit.models.record import CONVOLUTIONS
from warminit.models.restore import errors_explained
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import Survey

NOT_SEEN = "not seen"
"""Architecture of a model whose operations one image does not show."""


@dataclass(frozen=True, slots=True)
class Default:
    """A row of the table.

    Attributes:
        architecture: Of a model, by `architecture`.
        method: What `init_` applies to such a model; several names are joined by a plus.
        evidence: Folder of docs/results with the comparison, "" where none was made.
    """

    architecture: str
    method: str
    evidence: str


DEFAULTS = (
    Default("plain, normalized", "whitening-small-head", "confirmation"),
    Default("plain, not normalized", "whitening-small-head", "robustness-no-batchnorm"),
    Default("residual, normalized", "whitening-small-head", "robustness-models"),
    Default("residual, not normalized", "whitening-small-head", ""),
    Default("depthwise, normalized", "whitening-small-head", ""),
    Default("depthwise, not normalized", "whitening-small-head", ""),
    Default("attention, normalized", "whitening-small-head", "robustness-models"),
    Default("attention, not normalized", "whitening-small-head", ""),
    Default(NOT_SEEN, "whitening-small-head", ""),
)


def default_for(subject: Subject, layers: Layers = None) -> Default:
    """Return the row of the table for a model.

    Args:
        subject: The model and its images, with a survey that sees operations.
        layers: The layers to set, where they are named.

    Raises:
        WarminitError: For images that the model cannot be fed, and a model without a layer to set.
    """
    with own_arithmetic(), errors_explained(subject.model), all_or_none():
        subject.first(only(layers))
        found = architecture(subject.survey)
    found = agreed(found)
    return next(row for row in DEFAULTS if row.architecture == found)


def architecture(survey: Survey) -> str:
    """Name a model's architecture by the first of its parts, and whether anything is normalized.

    Attention is a matrix product of two tensors that both come from the image; depthwise is a
    convolution larger than 1 x 1 with a filter for each channel; residual is a sum of a branch and
    its skip (`models/computation.py`); plain is everything else.

    Returns:
        Such as "residual, normalized"; `NOT_SEEN` where the operations are not known: of a lazy or
        sharded model, and where one image does not go through.
    """
    if survey.lazy or (seen := survey.passed.operations) is None:
        return NOT_SEEN
    calls = survey.passed.calls
    if seen.attends:
        kind = "attention"
    elif any(_is_depthwise(call.module) for call in calls):
        kind = "depthwise"
    elif seen.branches is None:
        return NOT_SEEN
    else:
        kind = "residual" if seen.branches else "plain"
    return f"{kind}, {'' if survey.normalizes() else 'not '}normalized"


def _is_depthwise(module: Any) -> bool:
    return (
        isinstance(module, CONVOLUTIONS)
        and module.groups == module.in_channels > 1
        and max(module.kernel_size) > 1
    )
