"""one entry of a study -> ArmSpec; one run of it -> RunSpec."""

import itertools
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from warminit.errors import unexpected
from warminit.lab.study.protocol import Protocol, Strict
from warminit.renamed import parameters_in_keys, parameters_today

STATISTICS = ("mean", "std")
"""Parameters whose list is one value, with an entry per channel; other lists are swept."""


class ArmSpec(Strict):
    """Describe an arm: its name (or `module:function`) and parameters.

    Names joined by a plus are applied together: `whitening+dirac`.
    """

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _read_old_names(self) -> Self:
        # Studies, stores and kept results of 0.1 are read for good.
        self.__dict__["parameters"] = parameters_today(self.name, self.parameters)
        return self

    @property
    def names(self) -> list[str]:
        """Return the methods of the arm."""
        return self.name.split("+")

    @property
    def label(self) -> str:
        """Return the arm's label in tables: its name and its parameters."""
        return _label(self.name, self.parameters)

    @property
    def label_in_0_1(self) -> str:
        """Return the label with the parameters' names of 0.1, as in older results."""
        return _label(self.name, parameters_in_keys(self.name, self.parameters))

    @classmethod
    def parse(cls, value: Any) -> list["ArmSpec"]:
        """Read one entry of `arms`: a name, or a table with lists of values to sweep.

        `{name = "prewarm", scale = [0.1, 0.2], n_filters = 16}` gives two arms. Lists in
        `STATISTICS` are one value each.
        """
        if isinstance(value, ArmSpec):
            return [value]
        if isinstance(value, str):
            return [cls(name=value)]
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise unexpected("arms", value, "the name of an arm, or a table with a name")
        if value.keys() == {"name", "parameters"} and isinstance(value["parameters"], Mapping):
            return [cls.model_validate(value)]  # as `model_dump` gives it; nothing is swept
        given = {key: _plain(each) for key, each in value.items() if key != "name"}
        swept = [
            each if isinstance(each, list) and key not in STATISTICS else [each]
            for key, each in given.items()
        ]
        return [
            cls(name=value["name"], parameters=dict(zip(given, chosen, strict=True)))
            for chosen in itertools.product(*swept)
        ]


def _plain(value: Any) -> Any:
    """Turn arrays, tensors and tuples into lists, for a store."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


class RunSpec(Strict):
    """Describe one run: a data set, a model, an arm, a seed and a protocol."""

    dataset: str
    model: str
    arm: ArmSpec
    seed: int
    protocol: Protocol
    validation: int = 0


def _label(name: str, parameters: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in sorted(parameters.items()))
    return f"{name}({inside})" if inside else name
