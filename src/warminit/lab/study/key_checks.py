"""a study's names and numbers -> nothing, or an error that names the key and its value."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from warminit.errors import WarminitError, did_you_mean, unexpected
from warminit.lab.study.protocol import Protocol, learning_rates
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.table1 import TABLE_1

YOURS = "yours"
"""Name of the data set and of the model if both are inside a user's training loop."""


def check_study(
    datasets: Sequence[str],
    models: Sequence[str],
    arms: Sequence[ArmSpec],
    protocol: Protocol,
    patch_counts: str,
) -> None:
    """Check the names and the numbers of a study before anything runs.

    A user's own models and arms (`module:function`) are imported. Data sets are not read, so paths
    and hub ids are not checked.

    Raises:
        WarminitError: For an unknown data set, model, arm or parameter of an arm, and for learning
            rates and patch counts that do not fit a data set.
    """
    # Inside, for these load torch: `import warminit.lab.study` stays light.
    from warminit.initializers import get_method

    for arm in arms:
        with _concerning("arms", arm.name):
            found = get_method(arm.name)
        check_parameters(found, arm)
    if tuple(datasets) == (YOURS,):
        return
    from warminit.lab.networks.build import model_builder

    for dataset in datasets:
        _check_dataset(dataset)
        start, end = learning_rates(protocol, dataset)
        if protocol.schedule == "cosine" and end > start:
            raise unexpected(
                "protocol.lr_end",
                end,
                f"at most lr_start={start:g}, the rates of {dataset} in Table 1 where none is set",
                "Give both rates.",
            )
        if patch_counts == "as-published":
            published_patches(dataset)
    for model in models:
        with _concerning("models", model):
            model_builder(model)


@contextmanager
def _concerning(name: str, value: object) -> Iterator[None]:
    """Fill an error's fields with the key and the value of the study."""
    try:
        yield
    except WarminitError as error:
        error.name, error.value = name, repr(value)
        raise


def published_patches(dataset: str) -> int:
    """Return Table 1's n_patches for a data set."""
    if dataset not in TABLE_1:
        raise unexpected(
            "patch_counts",
            "as-published",
            f"'rule' for {dataset!r}, which is not in the paper",
            f"The paper has {', '.join(TABLE_1)}.",
        )
    return TABLE_1[dataset].n_patches


def check_parameters(arm: Callable[..., Any], spec: ArmSpec) -> None:
    """Raise WarminitError if an arm does not accept a parameter of the study."""
    from warminit.initializers import keywords

    names, any_keyword = keywords(arm)
    for key in spec.parameters:
        if key not in names and not any_keyword:
            known = f"a parameter of {spec.name}: {', '.join(sorted(names)) or 'it has none'}"
            raise unexpected("arms", key, known, did_you_mean(key, names))


def _check_dataset(name: str) -> None:
    from warminit.lab.data.sources import FILES, known_names

    # Not Path.exists, which raises for a name that no file system would take.
    there = os.path.exists(name)  # noqa: PTH110
    elsewhere = "/" in name or ":" in name or Path(name).suffix in FILES or there
    if name not in known_names() and not elsewhere:
        near = did_you_mean(name, known_names())
        raise unexpected(
            "datasets",
            name,
            f"one of {', '.join(known_names())}, a path, or a hub id 'owner/name'",
            near,
        )


def check_paths(datasets: Iterable[str]) -> None:
    """Refuse relative paths that lead out of the folder, through `..` or a link.

    A study file may come from anyone, so data elsewhere must have an absolute path.

    Raises:
        WarminitError: If a path leads out of the folder; the text names the path and its target.
    """
    from warminit.lab.data.sources import known_names

    here = Path.cwd().resolve()
    for name in datasets:
        # Not Path.exists, as above; a known name never stands for a file.
        if name in known_names() or Path(name).is_absolute() or not os.path.exists(name):  # noqa: PTH110
            continue
        if not Path(name).resolve().is_relative_to(here):
            raise unexpected(
                "datasets",
                name,
                f"a path inside {str(here)!r}; it leads to {str(Path(name).resolve())!r}",
                "Give the absolute path, or move the data into this folder.",
            )


def explain(
    error: ValidationError, source: str, keys: Mapping[tuple[str, ...], Iterable[str]]
) -> str:
    """Turn pydantic's findings into one text with each key, its value and the expected value.

    Args:
        error: Error of pydantic.
        source: Source of the values.
        keys: Valid keys of each table, by its position in the study.
    """
    lines = []
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            *table, key = (str(part) for part in detail["loc"])
            valid = keys.get(tuple(table), ())
            text = f"unknown key. {did_you_mean(key, valid) or f'Keys are {list(valid)}.'}"
        elif detail["type"] == "missing":
            text = "required, and missing"
        elif detail["type"] == "literal_error":
            text += f" (got {detail['input']!r})"
            names = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            text = f"{text}. {did_you_mean(detail['input'], names)}".rstrip()
        elif detail["type"] != "value_error":
            text += f" (got {detail['input']!r})"
        fault = detail.get("ctx", {}).get("error")
        if isinstance(fault, WarminitError) and fault.name:  # its text begins with its own name
            lines.append(text if place in ("", fault.name) else f"{place}.{text}")
        else:
            lines.append(f"{place}: {text}" if place else text)
    return f"{source} is not valid. " + "; ".join(lines)
