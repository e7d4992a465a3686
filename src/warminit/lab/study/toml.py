"""Study -> the text of its study file. Every value is written out, defaults too."""

import json
from typing import Any

from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study


def study_toml(study: Study) -> str:
    """Return a study file that `Study.from_toml` reads as the same study.

    Defaults are written out, so that the file means the same under a later version; what is None
    (derived from the data) is left out.

    Example:
        >>> print(study_toml(Study.create(name="a", datasets=["digits"], arms=["torch-default"])))
        ... # doctest: +ELLIPSIS
        name = "a"
        description = ""
        datasets = ["digits"]
        ...
    """
    values = study.model_dump(exclude={"arms", "protocol"})
    arms = [f"    {_arm(arm)}," for arm in study.arms]
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    protocol = study.protocol.model_dump()
    return "\n".join(
        [
            *lines,
            "arms = [",
            *arms,
            "]",
            "",
            "[protocol]",
            *(f"{key} = {_value(value)}" for key, value in protocol.items() if value is not None),
            "",
        ]
    )


def _arm(arm: ArmSpec) -> str:
    if not arm.parameters:
        return _value(arm.name)
    # `parameters` as a table of its own: nothing in it is swept, also where a value is a list.
    return _value({"name": arm.name, "parameters": arm.parameters})


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _value(key)
