"""Start a vision network from its own data.

The library is two pipelines. The core, in the order of the data's way:

    images.py        images as given -> checked images, raw pixels
    rules.py         images, layer shape -> Hyperparameters
    resolve.py       the same with what the caller gives
    patches.py       images -> patches, one mean removed per patch
    batch.py         one batch or many, one rank or many -> patches as the model is fed
    clustering.py    patches -> centroids
    filters.py       centroids or directions -> filters
    one_pass.py      model, one image -> what it returns, all left as it was
    layers.py        model -> the layer to condition
    normalization.py layer, one image -> what runs next: a norm, or weights
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
    from warminit.diagnosis import diagnose
    from warminit.diagnosis_report import Diagnosis
    from warminit.errors import WarminitError, WarminitWarning
    from warminit.filter_files import load_filters_, save_filters
    from warminit.init_report import InitReport
    from warminit.initializers import init_
    from warminit.paper import conditioned_init
    from warminit.plots import plot_filters
    from warminit.prewarm import prewarm_, prewarm_filters
    from warminit.rules import Hyperparameters, derive_rules
    from warminit.whitening import whiten_

__version__ = "0.1.0"

# Names load on first use, so that `import warminit` costs nothing beyond this file.
_HOME = {
    "Diagnosis": "warminit.diagnosis_report",
    "Hyperparameters": "warminit.rules",
    "InitReport": "warminit.init_report",
    "WarminitError": "warminit.errors",
    "WarminitWarning": "warminit.errors",
    "conditioned_init": "warminit.paper",
    "derive_rules": "warminit.rules",
    "diagnose": "warminit.diagnosis",
    "init_": "warminit.initializers",
    "load_filters_": "warminit.filter_files",
    "plot_filters": "warminit.plots",
    "prewarm_": "warminit.prewarm",
    "prewarm_filters": "warminit.prewarm",
    "save_filters": "warminit.filter_files",
    "whiten_": "warminit.whitening",
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
