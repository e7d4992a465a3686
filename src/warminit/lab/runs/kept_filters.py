"""model, images <-> the input layer's filters as plain values for a store."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.look.plot import filter_weight
from warminit.models.find import find_layer

MOST_FILTERS = 64
"""Maximum number of stored filters of a layer."""

MOST_BYTES = 2**16
"""Maximum bytes of a layer's stored filters, since a store holds thousands of runs."""


def keep_filters(model: nn.Module, images: Images) -> dict[str, Any]:
    """Return the first filters of a model's input layer as JSON values.

    Args:
        model: Any module; its state, modes and hooks do not change.
        images: Images (N, C, *size), scaled as the model is fed; they determine the input layer.

    Returns:
        `layer` (its dotted name), `shape` (n, C, *K) and `float32` (base64, little-endian): exact,
        with n at most 64 and 64 KiB in total. Empty if no layer fits the images, or its filters are
        not finite.
    """
    try:
        found = find_layer(model, images=images if isinstance(images, Tensor) else None)
        filters = filter_weight(found)
    except WarminitError:
        return {}
    fitting = max(1, MOST_BYTES // (4 * filters[0].numel()))
    kept = filters[: min(MOST_FILTERS, fitting)].contiguous().numpy().astype("<f4")
    text = base64.b64encode(kept.tobytes()).decode()
    return {"layer": found.name, "shape": list(kept.shape), "float32": text}


def kept_filters(values: Mapping[str, Any]) -> Tensor | None:
    """Return stored filters (n, C, *K) float32, or None."""
    if not values:
        return None
    flat = np.frombuffer(base64.b64decode(values["float32"]), "<f4").astype(np.float32)
    return torch.from_numpy(flat.reshape(values["shape"]))


def survival(before: Tensor, after: Tensor) -> float:
    """Compute the mean cosine between each filter before and after training.

    Args:
        before: (n, C, *K).
        after: The same shape.

    Returns:
        1 if every filter kept its direction, at any scale; 0 for a filter of zeros.

    Example:
        >>> survival(torch.eye(3)[:, None], torch.eye(3)[:, None] * 7)
        1.0
    """
    cosines = torch.cosine_similarity(before.double().flatten(1), after.double().flatten(1))
    return float(cosines.mean())
