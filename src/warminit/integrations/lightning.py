"""Lightning trainer, first training batch -> model conditioned before the first optimizer step."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from warminit.initializers import init_
from warminit.integrations import needs, old_name
from warminit.integrations.marks import MARK, is_marked, mark
from warminit.report import InitReport

if TYPE_CHECKING:
    from pytorch_lightning import Callback
else:
    # Lightning is published under two names, each with classes of its own, and who installs the
    # one has the other, too. A trainer of either accepts a callback that is both.
    _HOMES = ("pytorch_lightning", "lightning.pytorch")
    with needs("Lightning", "lightning"):
        _installed = [name for name in _HOMES if find_spec(name.partition(".")[0])]
        _classes = [import_module(name).Callback for name in _installed or _HOMES]
    Callback = type("Callback", tuple(_classes), {})


class WarmInit(Callback):
    """Condition the model on the first training batch, once, before the first optimizer step.

    The callback uses the batch that the trainer is about to train on. So no image is read twice,
    and the order of batches stays. Of several ranks each contributes its batch, and all get the
    same filters.

    The callback skips a run that resumes from a checkpoint. It also skips a model with the mark of
    an earlier conditioning (`warminit.integrations.marks`), by any trainer or callback.

    Args:
        method: Name from `warminit.methods()`, `module:function`, or a list of names, as for
            `init_`, with the same default.
        seed: Seed of the method's own generator.
        **parameters: Options of the method: `mean` and `std` of standardized batches, `layers` by
            their names in the LightningModule, and all others.

    Attributes:
        report: Report of the initialization; None before it, or if it was skipped.

    Raises:
        WarminitError: When training starts, if the method fails; the model is then restored.
    """

    def __init__(
        self, method: str | Sequence[str] | None = None, *, seed: int = 0, **parameters: Any
    ) -> None:
        self.method, self.seed, self.parameters = method, seed, parameters
        self.report: InitReport | None = None
        self._pending = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record whether training starts from scratch."""
        fresh = trainer.global_step == 0 and trainer.ckpt_path is None
        self._pending = fresh and not is_marked(pl_module)

    def on_train_batch_start(
        self,
        trainer: Any,  # noqa: ARG002 - Lightning's
        pl_module: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002 - as above
    ) -> None:
        """Condition the model on the first batch, which is already on its device."""
        if self._pending:
            self._pending = False
            self.report = init_(pl_module, [batch], self.method, seed=self.seed, **self.parameters)
            mark(pl_module, self.report)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - Lightning's
        """Write the mark into the checkpoint, next to its weights."""
        if is_marked(pl_module):
            checkpoint[MARK] = True

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - as above
        """Mark a model that loads a checkpoint with the mark."""
        if checkpoint.get(MARK):
            mark(pl_module)


class PreWarm(WarmInit):
    """Act as `WarmInit` under its name of 0.1, with the default method of 0.1, Pre-Warm."""

    def __init__(self, arm: str = "prewarm", *, seed: int = 0, **parameters: Any) -> None:
        old_name("PreWarm", "WarmInit")
        super().__init__(arm, seed=seed, **parameters)
