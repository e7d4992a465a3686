"""a study's names and numbers -> nothing, or an error that names the nearest valid one."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from warminit.errors import WarminitError
from warminit.lab.study.protocol import Protocol, learning_rates
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.table1 import TABLE_1

YOURS = "yours"
"""Name of the data set and of the model where both are inside a user's own training loop."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint that names the nearest valid name, or all of them where none is near."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}."


def check_study(
    datasets: Sequence[str],
    models: Sequence[str],
    arms: Sequence[ArmSpec],
    protocol: Protocol,
    patch_counts: str,
) -> None:
    """Check what a study names, and what its numbers mean together, before anything runs.

    A user's own models and arms (`module:function`) are imported; data sets are not read: a path
    or a hub id is taken as it is.

    Raises:
        WarminitError: For an unknown data set, model, arm or parameter of an arm, and for learning
            rates and patch counts that do not fit a data set.
    """
    # Inside, for these load torch: `import warminit.lab.study` stays light.
    from warminit.initializers import get_method

    for arm in arms:
        check_parameters(get_method(arm.name), arm)
    if tuple(datasets) == (YOURS,):
        return
    from warminit.lab.networks.build import model_builder

    for dataset in datasets:
        _check_dataset(dataset)
        start, end = learning_rates(protocol, dataset)
        if protocol.schedule == "cosine" and end > start:
            raise WarminitError(
                f"protocol: on {dataset} the schedule would rise from lr_start={start:g} to "
                f"lr_end={end:g} (what is not given is the data set's, Table 1). Give both, with "
                "lr_end no larger than lr_start."
            )
        if patch_counts == "as-published":
            published_patches(dataset)
    for model in models:
        model_builder(model)


def published_patches(dataset: str) -> int:
    """Return Table 1's n_patches for a data set."""
    if dataset not in TABLE_1:
        raise WarminitError(
            f"patch_counts='as-published' has no value for data set {dataset!r}; the paper gives "
            f"{', '.join(TABLE_1)}. Use patch_counts='rule'."
        )
    return TABLE_1[dataset].n_patches


def check_parameters(arm: Callable[..., Any], spec: ArmSpec) -> None:
    """Raise WarminitError where an arm does not take a parameter that a study gives it."""
    from warminit.initializers import keywords

    names, any_keyword = keywords(arm)
    for key in spec.parameters:
        if key not in names and not any_keyword:
            hint = nearest(key, sorted(names)) if names else "it takes no parameters."
            raise WarminitError(f"arms: {spec.name!r} does not take {key!r}; {hint}")


def _check_dataset(name: str) -> None:
    from warminit.lab.data.sources import FILES, known_names

    # Not Path.exists, which raises for a name that no file system would take.
    there = os.path.exists(name)  # noqa: PTH110
    elsewhere = "/" in name or ":" in name or Path(name).suffix in FILES or there
    if name not in known_names() and not elsewhere:
        raise WarminitError(
            f"datasets: {name!r} is unknown; {nearest(name, known_names())} A hub id is "
            "'owner/name'; a folder or a file is given by its path."
        )


def check_paths(datasets: Iterable[str]) -> None:
    """Refuse relative paths that lead out of the folder, through `..` or a link.

    A study file may come from anyone: what it reads elsewhere stands in it as an absolute path.

    Raises:
        WarminitError: Naming the path and where it leads.
    """
    from warminit.lab.data.sources import known_names

    here = Path.cwd().resolve()
    for name in datasets:
        # Not Path.exists, as above; a known name never stands for a file.
        if name in known_names() or Path(name).is_absolute() or not os.path.exists(name):  # noqa: PTH110
            continue
        if not Path(name).resolve().is_relative_to(here):
            raise WarminitError(
                f"datasets: {name!r} leads out of the folder {str(here)!r}, to "
                f"{str(Path(name).resolve())!r}. Give the absolute path in the study file, or put "
                "the data into the folder that it is run in."
            )


def explain(
    error: ValidationError, source: str, keys: Mapping[tuple[str, ...], Iterable[str]]
) -> str:
    """Return pydantic's findings as one text that names each key, its value and what is wanted.

    Args:
        error: What pydantic found.
        source: Where the values came from.
        keys: The valid keys of each table, by its place in the study.
    """
    lines = []
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            *table, key = (str(part) for part in detail["loc"])
            text = f"unknown key; {nearest(key, keys.get(tuple(table), ()))}"
        elif detail["type"] == "missing":
            text = "missing; this key is needed"
        elif detail["type"] == "literal_error":
            text += f" (got {detail['input']!r})"
            names = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            near = difflib.get_close_matches(str(detail["input"]), names, n=1)
            text += f"; did you mean {near[0]!r}?" if near else ""
        elif detail["type"] != "value_error":
            text += f" (got {detail['input']!r})"
        lines.append(f"{place}: {text}" if place else text)
    return f"{source} is not valid. " + "; ".join(lines)
