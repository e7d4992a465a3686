"""name or file -> Study. The paper's experiments and our controls, shipped as study files."""

from pathlib import Path
from typing import Any

from warminit.errors import did_you_mean, unexpected
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.study import Study
from warminit.paths import expanded

FOLDER = Path(__file__).parent


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the shipped studies in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_study(name: str) -> Study:
    """Read a study.

    Args:
        name: Name of a shipped study, or path of a study file.

    Raises:
        WarminitError: If the study does not exist, or is not valid.

    Example:
        >>> load_study("demo").protocol.steps
        200
    """
    if name in shipped_studies():
        return Study.from_toml(FOLDER / f"{name}.toml")
    path = expanded(name)
    if path.suffix == ".toml" or path.is_file():
        return Study.from_toml(path)
    expected = f"a study file (.toml), or {', '.join(shipped_studies())}"
    raise unexpected("study", name, expected, did_you_mean(name, shipped_studies()))


def changed_study(
    study: Study, *, source: str = "the changed study", protocol: Any = None, **changes: Any
) -> Study:
    """Return a study with changed attributes, validated again.

    Args:
        study: Study to start from.
        source: Source of the changes, for error texts.
        protocol: Attributes of the protocol to change. If only `steps` changes, an explicit
            evaluation interval keeps its share of the run.
        **changes: Attributes of the study; None changes nothing. In a sequential study a number of
            seeds is the maximum, with a look after every seed from the fifth on.

    Raises:
        WarminitError: If the result is not a valid study.

    Example:
        >>> changed_study(load_study("demo"), seeds=2, protocol={"steps": 20}).seeds
        (42, 7)
    """
    asked = {name: value for name, value in (protocol or {}).items() if value is not None}
    kept = {name: getattr(study.protocol, name) for name in Protocol.model_fields}
    if "steps" in asked and "eval_interval" not in asked and study.protocol.eval_interval:
        share = study.protocol.eval_interval / study.protocol.steps
        kept["eval_interval"] = max(1, round(share * asked["steps"]))
    values = {name: getattr(study, name) for name in Study.model_fields}
    given = {name: value for name, value in changes.items() if value is not None}
    if study.sequential is not None and isinstance(given.get("seeds"), int):
        plan = study.sequential.model_copy(update={"max_seeds": given["seeds"], "looks": ()})
        given = {"sequential": plan} | given
    return Study.create(source, **{**values, **given, "protocol": {**kept, **asked}})
