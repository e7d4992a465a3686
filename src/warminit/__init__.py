"""Start a vision network from its own data.

The library is two pipelines. The core, in the order of the data's way:

    images.py        images as given -> checked images, raw pixels
    rules.py         images, layer shape -> Hyperparameters
    resolve.py       the same with what the caller gives
    patches.py       images -> patches, one mean removed per patch
    batch.py         one batch or many, one rank or many -> patches as the model is fed
    clustering.py    patches -> centroids
    filters.py       centroids or directions -> filters
    survey.py        model, one image -> its layers in the order of their calls
    restore.py       modules -> all that running them may change, put back
    layers.py        model -> the layer to condition
    weights.py       filters -> its effective weight, in place, read back
    head.py          model -> its last linear layer, made small
    fresh.py         weight -> whether it looks trained
    deep.py          model conditioned so far -> the activations that its next layer sees
    distributed.py   one rank's patches or error -> every rank's
    conditioning.py  model, images, a way to make filters -> model conditioned in place
    prewarm.py       the same with centroids: Pre-Warm
    whitening.py     the same with whitening directions
    paper.py         Listing 1 as published, bit for bit
    filter_files.py  filters <-> one safetensors file with their report
    diagnosis.py     model, images -> Diagnosis of the input layer's filters
    plots.py         filters -> picture (Pillow, imported when called)

Beside it stand the `initializers` (any arm by name) and the `lab` (a study -> runs -> statistics).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warminit.errors import WarminitError, WarminitWarning
    from warminit.initializers import init_
    from warminit.initializers.prewarm.listing1 import conditioned_init
    from warminit.initializers.prewarm.method import prewarm_, prewarm_filters
    from warminit.initializers.stems.rules import Hyperparameters, derive_rules
    from warminit.initializers.stems.whitening import whiten_
    from warminit.look.diagnose import diagnose
    from warminit.look.diagnosis import Diagnosis
    from warminit.look.filter_files import load_filters_, save_filters
    from warminit.look.plot import plot_filters
    from warminit.report import InitReport

__version__ = "0.1.0"

# Names load on first use, so that `import warminit` costs nothing beyond this file.
_HOME = {
    "Diagnosis": "warminit.look.diagnosis",
    "Hyperparameters": "warminit.initializers.stems.rules",
    "InitReport": "warminit.report",
    "WarminitError": "warminit.errors",
    "WarminitWarning": "warminit.errors",
    "conditioned_init": "warminit.initializers.prewarm.listing1",
    "derive_rules": "warminit.initializers.stems.rules",
    "diagnose": "warminit.look.diagnose",
    "init_": "warminit.initializers",
    "load_filters_": "warminit.look.filter_files",
    "plot_filters": "warminit.look.plot",
    "prewarm_": "warminit.initializers.prewarm.method",
    "prewarm_filters": "warminit.initializers.prewarm.method",
    "save_filters": "warminit.look.filter_files",
    "whiten_": "warminit.initializers.stems.whitening",
}

__all__ = [
    "Diagnosis",
    "Hyperparameters",
    "InitReport",
    "WarminitError",
    "WarminitWarning",
    "conditioned_init",
    "derive_rules",
    "diagnose",
    "init_",
    "load_filters_",
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
    return sorted({*globals(), *__all__})
