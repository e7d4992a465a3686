"""Compare initializers: a study -> runs -> verdicts -> tables, figures and pages.

This module exports the public names; CONTRIBUTING.md lists the rooms and their imports.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warminit.lab.data.load import ImageDataset, load_dataset
    from warminit.lab.engines.driver import run_study
    from warminit.lab.engines.options import EngineOptions
    from warminit.lab.figures.forest import forest
    from warminit.lab.figures.render import save
    from warminit.lab.own_loop import compare
    from warminit.lab.report import write_report
    from warminit.lab.store.stored_study import read_study
    from warminit.lab.study.builtin import changed_study, load_study
    from warminit.lab.study.study import Study
    from warminit.lab.verdict.analysis import Analysis, analyse, read_analysis
    from warminit.lab.verdict.comparison import Comparison
    from warminit.lab.verdict.export import export
    from warminit.lab.verdict.family import holm
    from warminit.lab.verdict.paired import compare_paired, relative_error_change

_HOME = {
    "Analysis": "verdict.analysis",
    "Comparison": "verdict.comparison",
    "EngineOptions": "engines.options",
    "ImageDataset": "data.load",
    "Study": "study.study",
    "analyse": "verdict.analysis",
    "changed_study": "study.builtin",
    "compare": "own_loop",
    "compare_paired": "verdict.paired",
    "export": "verdict.export",
    "forest": "figures.forest",
    "holm": "verdict.family",
    "load_dataset": "data.load",
    "load_study": "study.builtin",
    "read_analysis": "verdict.analysis",
    "read_study": "store.stored_study",
    "relative_error_change": "verdict.paired",
    "run_study": "engines.driver",
    "save": "figures.render",
    "write_report": "report",
}

__all__ = [
    "Analysis",
    "Comparison",
    "EngineOptions",
    "ImageDataset",
    "Study",
    "analyse",
    "changed_study",
    "compare",
    "compare_paired",
    "export",
    "forest",
    "holm",
    "load_dataset",
    "load_study",
    "read_analysis",
    "read_study",
    "relative_error_change",
    "run_study",
    "save",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Load a name on first use: most need torch, which `import warminit.lab` does not."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
