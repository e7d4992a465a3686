"""names of methods -> one method that applies all of them in turn, or none."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.registry import (
    METHODS,
    Initializer,
    get_single_method,
    keywords_of,
    method_names,
    parts_of,
)
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.ranks import is_sharded
from warminit.models.restore import restored_on_error
from warminit.models.survey import unwrap
from warminit.renamed import in_names_of
from warminit.report import InitReport

JOIN = "+"
"""Separator of the names of methods that are applied together."""

SHARED = frozenset(("batches", "mean", "std"))
"""Options that describe the images; they go to all methods of a list."""


@dataclass(frozen=True, slots=True)
class Composed:
    """Apply several methods as one.

    Attributes:
        names: Names in the order of application.
    """

    names: tuple[str, ...]

    @property
    def functions(self) -> dict[str, Initializer]:
        """Map the prefix of a method's options, as in `zero_residual__value`, to the method."""
        return {_prefix(name): get_single_method(name) for name in self.names}

    def keywords(self) -> tuple[set[str], bool]:
        """Return the names of all options, and whether a method accepts any other."""
        each = {prefix: keywords_of(call) for prefix, call in self.functions.items()}
        own = {f"{prefix}__{key}" for prefix, (names, _) in each.items() for key in names - SHARED}
        return own | SHARED, any(any_other for _, any_other in each.values())

    def __call__(
        self,
        model: nn.Module,
        images: Images | Subject,
        *,
        seed: int,
        batches: int | None = None,
        mean: Statistics = None,
        std: Statistics = None,
        **options: Any,
    ) -> InitReport:
        """Apply each method with the same seed; the images and the model are read once.

        Raises:
            WarminitError: If a method fails, if an option belongs to no method, or if two methods
                write one parameter. The model is then bit-identical to before.
        """
        started = time.perf_counter()
        check_seed(seed)
        own = self._options(options)
        about = {key: each for key, each in (("mean", mean), ("std", std)) if each is not None}
        subject = Subject.of(model, images, batches, mean=mean, std=std, operations=True)
        inner = unwrap(model)
        reports: list[InitReport] = []
        set_by: dict[str, str] = {}
        with restored_on_error([inner]):
            for name, (prefix, call) in zip(self.names, self.functions.items(), strict=True):
                names, _ = keywords_of(call)
                known = {key: each for key, each in about.items() if key in names}
                # Ours share what is read; a function of the user gets images, as when alone.
                given = subject if name in METHODS else subject.images
                before = _versions(inner)
                reports.append(call(model, given, seed=seed, **known, **own[prefix]))
                for key in _written(before, _versions(inner)):
                    if key in set_by:
                        raise _both(set_by[key], name, f"write {key}")
                    set_by[key] = name
        return _together(self.names, reports, seed, time.perf_counter() - started)

    def _options(self, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Sort options by their method."""
        known, any_other = self.keywords()
        own: dict[str, dict[str, Any]] = {prefix: {} for prefix in self.functions}
        for name, value in options.items():
            prefix, _, key = name.partition("__")
            if prefix not in own or (name not in known and not any_other):
                raise WarminitError(
                    f"{name}={value!r}: expected an option of {self.names}, with the method's "
                    f"name as prefix. Pass one of {', '.join(sorted(known))}."
                )
            own[prefix][key] = value
        return own


def get_method(name: str) -> Initializer:
    """Return a method by its name, or several as one: `whitening+dirac`.

    A single name is in `METHODS`, in an installed package, or `module:function`. A package offers
    methods by the entry-point group `warminit.initializers`.

    Raises:
        WarminitError: If the name is unknown (the text suggests the nearest), or if two methods set
            the same part of a model.
    """
    if not isinstance(name, str) or JOIN not in name or name in method_names():
        return get_single_method(name)
    names = tuple(name.split(JOIN))
    for each in names:
        get_single_method(each)
    for one, other in combinations(names, 2):
        if same := _same_part(one, other):
            raise _both(one, other, f"set {same}")
    composed = Composed(names)
    if len(composed.functions) < len(names):
        raise WarminitError(
            f"method={name!r}: expected functions of different names, since options begin with "
            "the name. Rename one."
        )
    return composed


def keywords(method: Initializer) -> tuple[set[str], bool]:
    """Return the names of a method's keywords without `seed`, and whether it accepts any other."""
    return method.keywords() if isinstance(method, Composed) else keywords_of(method)


def taken_by(method: Initializer, given: Mapping[str, Any]) -> dict[str, Any]:
    """Select the options that a method accepts, by the method's names for them.

    With several methods, each gets the options that it accepts.

    Example:
        >>> derived = {"patches_per_image": 30, "algorithm": "paper"}
        >>> taken_by(get_method("whitening+dirac"), derived)
        {'whitening__patches_per_image': 30}
    """
    if isinstance(method, Composed):
        taken = {key: value for key, value in given.items() if key in SHARED}
        others = {key: value for key, value in given.items() if key not in SHARED}
        for prefix, call in method.functions.items():
            own = taken_by(call, others)
            taken |= {f"{prefix}__{key}": value for key, value in own.items()}
        return taken
    names, any_other = keywords_of(method)
    own_names = in_names_of(names, given)
    return {key: value for key, value in own_names.items() if key in names or any_other}


def _prefix(name: str) -> str:
    return name.rpartition(":")[2].replace("-", "_")


def _same_part(one: str, other: str) -> str:
    """Return the part of a model that both methods set, "" if none is known."""
    parts, others = parts_of(one), parts_of(other)
    if one == other:
        return "the same"
    if "every layer" in (*parts, *others) and parts and others:
        return "the same layers"
    return next((f"the {part}" for part in parts if part in others), "")


def _both(one: str, other: str, what: str) -> WarminitError:
    return WarminitError(
        f"{one} and {other} both {what}: expected methods for different parts. Leave one of the "
        "two out."
    )


def _versions(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return each parameter's tensor and the number of writes to it."""
    return {name: _version(each) for name, each in model.named_parameters()}


def _version(parameter: Any) -> tuple[int, int]:
    own: Tensor = parameter.to_local() if is_sharded(parameter) else parameter
    return id(parameter), own._version  # noqa: SLF001 - torch has no public name for it


def _written(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> list[str]:
    return [name for name, version in after.items() if before.get(name) != version]


def _together(
    names: Sequence[str], reports: Sequence[InitReport], seed: int, seconds: float
) -> InitReport:
    def named(field: str) -> dict[str, Any]:
        return {
            f"{_prefix(name)}__{key}": value
            for name, report in zip(names, reports, strict=True)
            for key, value in getattr(report, field).items()
        }

    notes = [f"{name}: {note}" for name, r in zip(names, reports, strict=True) for note in r.notes]
    return InitReport(
        method=JOIN.join(names),
        layer=", ".join(report.layer for report in reports),
        found="by each method",
        filters_set=sum(report.filters_set for report in reports),
        out_channels=sum(report.out_channels for report in reports),
        parameters=named("parameters"),
        provenance=named("provenance"),
        seed=seed,
        seconds=seconds,
        notes=tuple(notes),
        parts=tuple(reports),
    )
