"""one initialization -> InitReport. What a method did, as values and as a small table."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from warminit.layout import Layout, Tabled, plain
from warminit.renamed import takes_old_names


@dataclass(frozen=True, slots=True)
class InitReport(Tabled):
    """What an initializer did to a model. Every method returns one.

    Attributes:
        method: The initializer's name.
        layer: Dotted name of the layer that was written; several are joined with ", ".
        found: How the layer was chosen.
        filters_set: Filters that were written; the rest of `out_channels` are as they were.
        out_channels: Filters of the layer.
        parameters: What the method worked with, by name.
        provenance: For some of the parameters, one sentence on where the value comes from.
        seed: Of the method's own generator.
        seconds: Time taken.
        notes: Anything that a reader of the result should know.
        parts: Where several methods were applied, the report of each; the fields above are then
            those of all, and options begin with the method's name: `zero_residual__value`.
    """

    method: str
    layer: str
    found: str
    filters_set: int
    out_channels: int
    parameters: Mapping[str, Any]
    seed: int
    seconds: float
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: "tuple[InitReport, ...]" = ()

    @property
    def arm(self) -> str:
        """The method's name, as it was called in 0.1; use `method`."""
        warnings.warn(
            "report.arm is called report.method since 0.2", DeprecationWarning, stacklevel=2
        )
        return self.method

    def tables(self) -> list[Layout]:
        """Return one table; where several methods were applied, one of each."""
        if self.parts:
            total = Layout(f"{self.method}: {self.seconds:.3f} seconds")
            return [total, *(table for part in self.parts for table in part.tables())]
        rows = [
            ("layer", self.layer, self.found),
            ("filters set", f"{self.filters_set} of {self.out_channels}", ""),
            *(
                (name, plain(value), self.provenance.get(name, ""))
                for name, value in self.parameters.items()
            ),
            ("seed", str(self.seed), ""),
            ("seconds", f"{self.seconds:.3f}", ""),
        ]
        return [Layout(self.method, rows, below=[f"note: {note}" for note in self.notes])]


InitReport.__init__ = takes_old_names("arm")(InitReport.__init__)  # type: ignore[method-assign] # the class is whole, and only here does it get its old name
