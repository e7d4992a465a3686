"""survey -> whether the first layer is a linear one over flattened patches, and what to do then."""

import math
from collections.abc import Mapping

from torch import nn

from warminit.errors import WarminitError
from warminit.models.survey import Survey


def refuse_flat_patches(named: Mapping[str, nn.Module], survey: Survey | None) -> None:
    """Refuse a patch embedding that is written with a rearrangement and a linear layer.

    In which order such a layer takes the values of a patch is written in the model's code alone, so
    filters cannot be written into it as into a convolution.

    Raises:
        WarminitError: If the first layer with weights that runs is such a layer; the text has the
            convolution that takes the same patches.
    """
    if survey is None or survey.images.ndim != 4 or survey.lazy:
        return
    try:
        first = next(iter(survey.order()), "")
    except WarminitError:  # it takes more than images, say: nothing is known of the order
        return
    layer, channels = named.get(first), survey.images.shape[1]
    if not isinstance(layer, nn.Linear):
        return
    call = next(each for each in survey.passed.calls if each.module is layer)
    side = math.isqrt(layer.in_features // channels)
    patches = call.fed is not None and len(call.fed) >= 3 and side > 1
    if not patches or side * side * channels != layer.in_features:
        return
    raise WarminitError(
        f"{first} is a Linear over flattened patches of {channels} x {side} x {side} values, in an "
        "order that the model's code alone knows; a convolution is needed. Replace it by "
        f"nn.Conv2d({channels}, {layer.out_features}, {side}, stride={side}), which takes the "
        "same patches of images."
    )
