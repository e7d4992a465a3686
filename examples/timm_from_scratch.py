# %% [markdown]
"""Condition a timm model and train it from scratch: which of two photographs is a crop from?

Needs `pip install "warminit[timm]"`.
"""

# %%
import numpy as np
import timm
import torch
from sklearn.datasets import load_sample_images
from timm.data import resolve_data_config
from torch.nn.functional import cross_entropy

from warminit.integrations.timm import warm_init_

SIZE, STEPS = 64, 12
photographs = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
generator = torch.Generator().manual_seed(0)


def draw(count):
    """Draw labelled crops at random positions."""
    labels = torch.randint(2, (count,), generator=generator)
    rows = torch.randint(photographs.shape[2] - SIZE, (count,), generator=generator)
    columns = torch.randint(photographs.shape[3] - SIZE, (count,), generator=generator)
    crops = [
        photographs[label, :, row : row + SIZE, column : column + SIZE]
        for label, row, column in zip(labels, rows, columns, strict=True)
    ]
    return torch.stack(crops), labels


# %%
torch.manual_seed(0)
model = timm.create_model("resnet10t", num_classes=2)
config = resolve_data_config({}, model=model)
mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
crops, _ = draw(32)
print(warm_init_(model, (crops - mean) / std))  # takes mean and std of the model's data config

# %% [markdown]
# Then train as always:

# %%
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
losses = []
for _ in range(STEPS):
    crops, labels = draw(16)
    loss = cross_entropy(model((crops - mean) / std), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
