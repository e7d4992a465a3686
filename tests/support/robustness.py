"""counts of the long tests -> the kept record, by name."""

from collections.abc import Mapping


class Robustness:
    """Counts of the long tests (faults injected, survived, ...), by name, for the kept record."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, int | float]] = {}

    def record(self, name: str, counts: Mapping[str, int | float]) -> None:
        """Keep the counts of one long test; one name may be recorded once a session."""
        if name in self.entries:
            raise ValueError(f"robustness.record: name={name!r} is taken; choose another one")
        self.entries[name] = dict(counts)
