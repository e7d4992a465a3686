"""Study -> the text of its study file, including defaults."""

from typing import Any

import tomli_w

from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study


def study_toml(study: Study) -> str:
    """Return a study file that `Study.from_toml` reads as the same study.

    Defaults are written out, so the file keeps its meaning under later versions. Values of None
    (derived from the data) are left out.

    Example:
        >>> print(study_toml(Study.create(name="a", datasets=["digits"], arms=["torch-default"])))
        ... # doctest: +ELLIPSIS
        name = "a"
        description = ""
        datasets = [
        ...
    """
    values = study.model_dump(exclude={"arms", "protocol"}, exclude_none=True)
    arms = [_arm(arm) for arm in study.arms]
    protocol = study.protocol.model_dump(exclude_none=True)
    return tomli_w.dumps({**values, "arms": arms, "protocol": protocol})


def _arm(arm: ArmSpec) -> str | dict[str, Any]:
    if not arm.parameters:
        return arm.name
    # `parameters` as a table of its own: nothing in it is swept, also where a value is a list.
    return {"name": arm.name, "parameters": arm.parameters}
