# %% [markdown]
"""Condition the patch embedding of a ViT on its first training batch, by a TrainerCallback.

Needs `pip install "warminit[lab,transformers]"`.
"""

# %%
from tempfile import TemporaryDirectory

import torch
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from warminit.integrations.transformers import WarmInit
from warminit.lab import load_dataset

data = load_dataset("fashion-mini")
images = (data.train_images / 255 - data.mean[0]) / data.std[0]


class Rows(torch.utils.data.Dataset):
    """Rows as the Trainer takes them."""

    def __len__(self):
        return len(images)

    def __getitem__(self, index):
        return {"pixel_values": images[index], "labels": data.train_labels[index]}


# %%
torch.manual_seed(0)
config = ViTConfig(
    image_size=28, patch_size=4, num_channels=1, num_labels=10, hidden_size=64,
    num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
)  # fmt: skip
callback = WarmInit(mean=data.mean, std=data.std)
with TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, max_steps=30, per_device_train_batch_size=64, learning_rate=1e-3,
        logging_steps=10, save_strategy="no", report_to=[], disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(
        ViTForImageClassification(config), arguments, train_dataset=Rows(), callbacks=[callback]
    )
    trainer.train()

# %%
print(callback.report)
losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
print(f"loss {float(losses[0]):.2f} -> {float(losses[-1]):.2f}")
