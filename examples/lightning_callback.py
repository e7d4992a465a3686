# %% [markdown]
"""Condition a LightningModule on its first training batch, by a callback.

Needs `pip install "warminit[lab,lightning]"`.
"""

# %%
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from warminit.integrations.lightning import WarmInit
from warminit.lab import load_dataset

data = load_dataset("fashion-mini")
images = (data.train_images / 255 - data.mean[0]) / data.std[0]


class Classifier(pl.LightningModule):
    """A small network, as any LightningModule is written."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 6 * 6, 10),
        )  # fmt: skip
        self.losses = []

    def training_step(self, batch, _):
        """Return the loss of one batch."""
        loss = cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


# %%
pl.seed_everything(0)
loader = DataLoader(TensorDataset(images, data.train_labels), batch_size=64, shuffle=True)
model, callback = Classifier(), WarmInit(mean=data.mean, std=data.std)
trainer = pl.Trainer(
    max_steps=40, callbacks=[callback], accelerator="cpu", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
trainer.fit(model, loader)

# %%
print(callback.report)
print(f"loss {model.losses[0]:.2f} -> {model.losses[-1]:.2f}")
