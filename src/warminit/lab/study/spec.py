"""one entry of a study -> ArmSpec; one run of it -> RunSpec."""

import itertools
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from warminit.errors import unexpected
from warminit.lab.study.protocol import Protocol, Strict
from warminit.renamed import parameters_in_keys, parameters_today

STATISTICS = ("mean", "std")
"""Parameters whose list is one value, with an entry a channel; no other parameter has a list."""


class ArmSpec(Strict):
    """An arm by name (or `module:function`) with the parameters that it is called with.

    Names with a plus between them are applied together: `whitening+dirac`.
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
        """The methods that are applied."""
        return self.name.split("+")

    @property
    def label(self) -> str:
        """The arm as tables show it: its name, and its parameters where there are any."""
        return _label(self.name, self.parameters)

    @property
    def label_in_0_1(self) -> str:
        """The same with the parameters' names of 0.1, as kept results may have it."""
        return _label(self.name, parameters_in_keys(self.name, self.parameters))

    @classmethod
    def parse(cls, value: Any) -> list["ArmSpec"]:
        """Read one entry of `arms`: a name, or a table whose lists of values are swept.

        `{name = "prewarm", scale = [0.1, 0.2], n_filters = 16}` gives two arms. The lists of
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
    """Return arrays, tensors and tuples as lists, which a store can keep."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


class RunSpec(Strict):
    """One run: a data set, a model, an arm, a seed and a protocol."""

    dataset: str
    model: str
    arm: ArmSpec
    seed: int
    protocol: Protocol
    validation: int = 0


def _label(name: str, parameters: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in sorted(parameters.items()))
    return f"{name}({inside})" if inside else name
