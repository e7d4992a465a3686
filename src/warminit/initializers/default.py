"""one image's pass of a model -> its architecture, and the default method for it.

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
"""Architecture of a model whose operations are not known."""


@dataclass(frozen=True, slots=True)
class Default:
    """Hold a row of the table of defaults.

    Attributes:
        architecture: Name of an architecture, from the function `architecture`.
        method: Method that `init_` applies; several names are joined by a plus.
        evidence: Folder of docs/results with the comparison, "" if there is none.
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
        layers: Layers to set, or None for the input layer.

    Raises:
        WarminitError: If the model cannot take the images, or has no layer to set.
    """
    with own_arithmetic(), errors_explained(subject.model), all_or_none():
        subject.first(only(layers))
        found = architecture(subject.survey)
    found = agreed(found)
    return next(row for row in DEFAULTS if row.architecture == found)


def architecture(survey: Survey) -> str:
    """Name a model's architecture, and whether anything is normalized.

    The first match counts. Attention: a matrix product of two tensors that both depend on the
    image. Depthwise: a convolution larger than 1 x 1 with a filter for each channel. Residual: a
    sum of a branch and its skip (`models/computation.py`). Plain: everything else.

    Returns:
        A name like "residual, normalized". `NOT_SEEN` if the operations are not known: for a lazy
        or sharded model, or if the model cannot run on one image.
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
