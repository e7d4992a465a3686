"""Initialize vision networks from their own training images.

There are two pipelines. *images -> weights* lives in `images`, `models`, `initializers` and `look`;
*study -> runs -> verdict* lives in `lab`. CONTRIBUTING.md lists every room and its imports.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warminit.errors import DataNotAvailableError, WarminitError, WarminitWarning
    from warminit.initializers import init_, methods
    from warminit.initializers.adapt.stem import adapt_stem_
    from warminit.initializers.prewarm.listing1 import conditioned_init
    from warminit.initializers.prewarm.method import prewarm_, prewarm_filters
    from warminit.initializers.stems.design_rules import Hyperparameters, derive_rules
    from warminit.initializers.stems.whitening import whiten_
    from warminit.look.diagnose import diagnose
    from warminit.look.diagnosis import Diagnosis
    from warminit.look.filter_files import load_filters_, save_filters
    from warminit.look.plot import plot_filters
    from warminit.report import InitReport

__version__ = "0.2.0"

# Names load on first use, so that `import warminit` costs nothing beyond this file.
_HOME = {
    "DataNotAvailableError": "warminit.errors",
    "Diagnosis": "warminit.look.diagnosis",
    "Hyperparameters": "warminit.initializers.stems.design_rules",
    "InitReport": "warminit.report",
    "WarminitError": "warminit.errors",
    "WarminitWarning": "warminit.errors",
    "adapt_stem_": "warminit.initializers.adapt.stem",
    "conditioned_init": "warminit.initializers.prewarm.listing1",
    "derive_rules": "warminit.initializers.stems.design_rules",
    "diagnose": "warminit.look.diagnose",
    "init_": "warminit.initializers",
    "load_filters_": "warminit.look.filter_files",
    "methods": "warminit.initializers",
    "plot_filters": "warminit.look.plot",
    "prewarm_": "warminit.initializers.prewarm.method",
    "prewarm_filters": "warminit.initializers.prewarm.method",
    "save_filters": "warminit.look.filter_files",
    "whiten_": "warminit.initializers.stems.whitening",
}

__all__ = [
    "DataNotAvailableError",
    "Diagnosis",
    "Hyperparameters",
    "InitReport",
    "WarminitError",
    "WarminitWarning",
    "adapt_stem_",
    "conditioned_init",
    "derive_rules",
    "diagnose",
    "init_",
    "load_filters_",
    "methods",
    "plot_filters",
    "prewarm_",
    "prewarm_filters",
    "save_filters",
    "whiten_",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
