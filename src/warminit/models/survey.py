"""model, one image -> a record of its layers in the order of calls, by one pass."""

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from warminit.errors import WarminitError
from warminit.models.record import (
    PARAMETRIC,
    Call,
    Operations,
    Passed,
    has_other_filters,
    one_pass,
)
from warminit.models.restore import said


class Survey:
    """Answer questions about a model from one pass of one image, made at the first question.

    Args:
        model: Any module, wrapped or not.
        images: Images (N, C, *size); the first is used.
        as_fed: Function from an image (1, C, *size) to the model's input.
        operations: Whether the pass records every operation, for residual branches and attention.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
        >>> survey = Survey(model, torch.zeros(2, 1, 8, 8))
        >>> survey.order(), survey.next_after(model[0]).name
        (['0', '2'], '1')
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        as_fed: Callable[[Tensor], Tensor] | None = None,
        *,
        operations: bool = False,
    ) -> None:
        self.model, self.images, self._as_fed = unwrap(model), images, as_fed
        self._operations = operations

    @cached_property
    def lazy(self) -> str:
        """Name of the first lazy parameter, "" if there is none."""
        named = self.model.named_parameters()
        return next((name for name, value in named if is_lazy(value)), "")

    @cached_property
    def passed(self) -> Passed:
        """Return the record of the pass.

        Raises:
            WarminitError: If a parameter is lazy.
        """
        if self.lazy:
            raise WarminitError(
                f"{self.lazy} is lazy: expected a parameter with a shape, to find the order of the "
                "layers. Run one batch through the model first, or name the layer with layers=."
            )
        image = self.images[:1]
        image = image if self._as_fed is None else self._as_fed(image)
        passed = one_pass(self.model, image, operations=self._operations)
        if passed.error is None or not self._operations:
            return passed
        # Some operations of torch's own refuse to be seen: the layers are known all the same.
        plain = one_pass(self.model, image)
        plain.unseen = passed.error
        return plain

    def operations(self) -> Operations:
        """Return the record of the operations.

        Raises:
            WarminitError: If the model cannot run on the image while they are recorded.
        """
        passed = self.passed
        error = passed.error or passed.unseen
        if passed.operations is None:
            raise WarminitError(
                f"{self.not_through()} while its operations are recorded: "
                f"{said(error) if error else 'not asked for'}. Pass the batch that the model is "
                "fed."
            ) from error
        return passed.operations

    def order(self) -> list[str]:
        """Return the layers with weights in execution order, each once.

        Raises:
            WarminitError: If the model cannot run on the image.
        """
        names = (each.name for each in self.passed.calls if isinstance(each.module, PARAMETRIC))
        order = list(dict.fromkeys(names))
        # Detectors stop after their stem where targets or sizes do not fit: what ran, ran.
        if self.passed.error is not None and not order:
            raise WarminitError(
                f"{self.not_through()}, so the order of its layers is not known: "
                f"{said(self.passed.error)}. Name the layer with layers=."
            ) from self.passed.error
        return order

    def side_branches(self) -> dict[str, str]:
        """Return convolutions that only serve a later layer of another kind, with that layer.

        A model without other kinds of layers needs no pass; an existing pass also shows functions.
        """
        foreign = "passed" in vars(self) or any(map(has_other_filters, self.model.modules()))
        return self.passed.beside if foreign and not self.lazy else {}

    def next_after(self, layer: nn.Module) -> Call | None:
        """Return the first call after the end of a layer's first call, or None.

        Normalizations are modules with "norm" in the name of their class, and functions of torch. A
        normalization in plain arithmetic is not recognized.
        """
        if self.lazy:
            return None
        own = next((each for each in self.passed.calls if each.module is layer), None)
        if own is None or own.ended is None:
            return None
        # From the layer's end to the next one's start: within, a layer may normalize its weight.
        return next((each for each in self.passed.calls if each.began > own.ended), None)

    def normalizes(self) -> bool:
        """Tell whether anything but weights is normalized."""
        calls = self.passed.calls
        layers = [each for each in calls if isinstance(each.module, PARAMETRIC) and each.ended]
        return any(
            call.normalizes
            and not any(each.began < call.began < (each.ended or 0) for each in layers)
            for call in calls
        )

    def last_before(self, call: Call) -> Call | None:
        """Return the last call that ended before the end of another."""
        ended = [
            (each.ended, each)
            for each in self.passed.calls
            if each.ended is not None and call.ended is not None and each.ended < call.ended
        ]
        return max(ended, key=lambda each: each[0])[1] if ended else None

    def not_through(self) -> str:
        """Build the text that the model cannot run on the image."""
        return f"one image of shape {(1, *self.images.shape[1:])} fails in the model"


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside `torch.compile`, DataParallel and DistributedDataParallel."""
    if not isinstance(model, nn.Module):
        raise WarminitError(
            f"model is a {type(model).__name__}: expected a torch.nn.Module. Pass the model itself."
        )
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            _refuse_flattened(model)
            return model
        model = inner


def _refuse_flattened(model: nn.Module) -> None:
    """Refuse FSDP1 on every rank: it keeps flat pieces of weights."""
    # Importing it costs; a model can only hold one where somebody has imported it already.
    kind: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", None)
    if kind is not None and any(isinstance(each, kind) for each in model.modules()):
        raise WarminitError(
            f"{type(model).__name__} is wrapped by FullyShardedDataParallel (FSDP1), which "
            "flattens the weights: expected whole weights. Condition the model before you wrap it, "
            "or shard it with fully_shard (FSDP2)."
        )
