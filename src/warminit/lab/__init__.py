"""a study -> runs -> statistics -> report. The laboratory compares initializers honestly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warminit.lab.own_loop import compare as compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    """Load `compare` on first use: it needs torch, which `import warminit.lab` does not."""
    if name == "compare":
        from warminit.lab.own_loop import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
