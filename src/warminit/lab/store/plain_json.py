"""plain values -> JSON that every reader takes: what is not a finite number becomes null."""

import json
import math
from typing import Any


def plain_json(content: Any) -> str:
    """Return values as indented JSON; anything but text, numbers and containers as its text."""
    return json.dumps(_finite(content), indent=1, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
