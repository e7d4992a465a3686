"""a study -> runs -> statistics -> report. The laboratory compares initializers honestly.

In the order of the data's way:

    study.py, protocol.py, study_checks.py, studies/   what is to be run, validated
    datasets.py, data/                                 name or folder -> uint8 tensors
    plan.py, estimate.py                               study -> runs with parameters and keys
    models.py, batches.py, optimization.py, evaluation.py, training.py    one run
    driver.py, engines/, own_loop.py                   many runs -> the store
    store.py, store_file.py, results.py, environment.py    what is kept of each
    analysis.py, statistics.py, paired_tests.py, comparison.py    results -> verdicts
    tables.py, export.py, terminal/, figures/, report/, paper/    what people see
"""

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
