"""one initialization -> InitReport: what the method did, as values and as a small table."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from warminit.layout import Layout, Tabled, plain
from warminit.renamed import takes_old_names


@dataclass(frozen=True, slots=True)
class InitReport(Tabled):
    """Record what an initializer did to a model; every method returns a report.

    Attributes:
        method: The initializer's name.
        layer: Dotted name of the layer that was set; several are joined with ", ".
        found: Reason why this layer was chosen.
        filters_set: Number of filters that were set; the others of `out_channels` did not change.
        out_channels: Number of filters in the layer.
        parameters: Values that the method used, by name.
        provenance: Source of a parameter's value, one sentence each, by the parameter's name.
        seed: Seed of the method's own generator.
        seconds: Run time.
        notes: Remarks for the reader of the result.
        parts: Report of each method, if several were applied. The fields above then cover all
            methods, and options begin with the method's name: `zero_residual__value`.
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
        """Name of the method, under its name of 0.1; use `method`."""
        warnings.warn(
            "report.arm is called report.method since 0.2", DeprecationWarning, stacklevel=2
        )
        return self.method

    def tables(self) -> list[Layout]:
        """Return one table, or one per method if several methods were applied."""
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
