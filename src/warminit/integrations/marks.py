"""a conditioned model -> its mark, by which a callback that says "once" leaves it alone later.

The mark is a plain attribute of the input layer: it goes where the module goes (another trainer,
another wrapper, a deep copy, a pickled model), is no parameter or buffer, and so changes no
`state_dict`. Lightning's checkpoints and the configuration of a Transformers model carry it too.
"""

from torch import nn

from warminit.report import InitReport

MARK = "warminit_conditioned"


def mark(model: nn.Module, report: InitReport | None = None) -> None:
    """Mark a model as conditioned: the layer that the report names, or else the model itself."""
    configuration = getattr(model, "config", None)
    if hasattr(configuration, "to_diff_dict"):  # what `save_pretrained` of Transformers writes
        setattr(configuration, MARK, True)
    layers = dict(model.named_modules())
    target = layers.get(report.layer, model) if report is not None else model
    setattr(target, MARK, True)


def is_marked(model: nn.Module) -> bool:
    """Tell whether a model, or a part of it, was conditioned before."""
    if getattr(getattr(model, "config", None), MARK, False):
        return True
    return any(MARK in vars(module) for module in model.modules())


def unmark(model: nn.Module) -> None:
    """Take the mark away, for a model whose weights were drawn anew since."""
    if hasattr(configuration := getattr(model, "config", None), MARK):
        delattr(configuration, MARK)
    for module in model.modules():
        vars(module).pop(MARK, None)
