"""Transformers trainer, first batch -> model conditioned before the first optimizer step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from warminit.errors import WarminitError
from warminit.initializers import init_
from warminit.integrations import needs, old_name
from warminit.integrations.marks import is_marked, mark
from warminit.report import InitReport

with needs("Transformers", "transformers"):
    from transformers import TrainerCallback


class WarmInit(TrainerCallback):
    """Condition the model on the first training batch, once, before the first optimizer step.

    The callback uses the first batch of the model in training mode. So no image is read twice, and
    the order of batches stays. Of several ranks each contributes its batch, and all get the same
    filters.

    The callback skips a run that resumes from a checkpoint. It also skips a model with the mark of
    an earlier conditioning (`warminit.integrations.marks`), by any trainer or callback.

    Args:
        method: Name from `warminit.methods()`, `module:function`, or a list of names, as for
            `init_`, with the same default.
        seed: Seed of the method's own generator.
        **parameters: Options of the method: `mean` and `std` of standardized `pixel_values`,
            `layers`, and all others.

    Attributes:
        report: Report of the initialization; None before it, or if it was skipped.

    Raises:
        WarminitError: In the first step, if the method fails; the model is then restored.
    """

    def __init__(
        self, method: str | Sequence[str] | None = None, *, seed: int = 0, **parameters: Any
    ) -> None:
        self.method, self.seed, self.parameters = method, seed, parameters
        self.report: InitReport | None = None
        self._pending = False
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's
        """Record whether training starts from scratch."""
        self._unhook()
        self._pending = state.global_step == 0 and not is_marked(kwargs["model"])
        if not self._pending:
            return
        if args.n_gpu > 1:
            # The trainer would then wrap the model in DataParallel, whose copies see the batch.
            raise WarminitError(
                f"one process drives n_gpu={args.n_gpu} GPUs: expected one process per GPU. Start "
                "the script with torchrun or accelerate launch, or set CUDA_VISIBLE_DEVICES."
            )

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's
        """Add the hook after the first batch was read, so a failed read leaves no hook."""
        if self._pending:
            self._pending = False
            model: nn.Module = kwargs["model"]
            self._hook = model.register_forward_pre_hook(self._condition, with_kwargs=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's
        """Remove the hook."""
        self._unhook()

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    # A compiled model may go on calling a hook that was removed: then it does nothing.
    @torch.compiler.disable
    def _condition(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if self._hook is None or not model.training:
            return
        self._unhook()
        self.report = init_(model, [kwargs or args], self.method, seed=self.seed, **self.parameters)
        mark(model, self.report)


class PreWarm(WarmInit):
    """Act as `WarmInit` under its name of 0.1, with the default method of 0.1, Pre-Warm."""

    def __init__(self, arm: str = "prewarm", *, seed: int = 0, **parameters: Any) -> None:
        old_name("PreWarm", "WarmInit")
        super().__init__(arm, seed=seed, **parameters)
