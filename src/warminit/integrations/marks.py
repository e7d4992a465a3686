"""a conditioned model -> a mark, so that callbacks condition a model only once.

The mark is a plain attribute of the input layer. It follows the module to another trainer, another
wrapper, a deep copy or a pickled model. It is not a parameter or buffer, so no `state_dict`
changes. Lightning's checkpoints and the configuration of a Transformers model carry it too.
"""

from torch import nn

from warminit.report import InitReport

MARK = "warminit_conditioned"


def mark(model: nn.Module, report: InitReport | None = None) -> None:
    """Mark a model as conditioned, at the layer of the report or else at the model."""
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
    """Remove the mark, for a model with newly drawn weights."""
    if hasattr(configuration := getattr(model, "config", None), MARK):
        delattr(configuration, MARK)
    for module in model.modules():
        vars(module).pop(MARK, None)
