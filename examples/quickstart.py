# %% [markdown]
"""Initialize a network from its own images, then train as always.

Needs `pip install "warminit[lab]"`.
"""

# %%
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from warminit import diagnose, plot_filters, prewarm_
from warminit.lab import load_dataset

STEPS, BATCH = 40, 64
data = load_dataset("fashion-mini")  # 6,000 real images that ship with the package
images = (data.train_images / 255 - data.mean[0]) / data.std[0]

# %% [markdown]
# A network as torch makes it. Its first filters are noise:

# %%
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(4),
    nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
)  # fmt: skip
plot_filters(model)

# %% [markdown]
# The one line. `mean` and `std` let the rules see the pixels as they were. The report says which
# layer was found, and where every number comes from:

# %%
order = torch.randperm(len(images))
report = prewarm_(model, images[order[:BATCH]], mean=data.mean, std=data.std)
print(report)

# %% [markdown]
# The filters that were set have a frame:

# %%
plot_filters(model, conditioned=report)

# %% [markdown]
# What they answer to the images, before any training. A better-looking diagnosis is no promise of a
# better result: `warminit compare` puts that question to training, seed by seed.

# %%
print(diagnose(model, images[order[:BATCH]]))

# %% [markdown]
# Training is what it always was:

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
losses = []
for step in range(STEPS):
    batch = order[step * BATCH : (step + 1) * BATCH]
    loss = cross_entropy(model(images[batch]), data.train_labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
