# %% [markdown]
"""Initialize a first layer of ten channels, as satellite images need one.

Needs `pip install "warminit[lab]"`.
"""

# %%
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn.functional import cross_entropy

from warminit import prewarm_

SIZE, STEPS = 32, 30
photographs = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
# Stand-ins for ten bands: each sees the three colours by a response of its own.
centers, colours = torch.linspace(-0.5, 2.5, 10), torch.arange(3)
response = torch.softmax(-((centers[:, None] - colours) ** 2) * 2, dim=1)
bands = torch.einsum("bc,nchw->nbhw", response, photographs)
mean, std = bands.mean((0, 2, 3)), bands.std((0, 2, 3))
generator = torch.Generator().manual_seed(0)


def draw(count):
    """Draw standardized crops, and which of the two photographs each is from."""
    labels = torch.randint(2, (count,), generator=generator)
    rows = torch.randint(bands.shape[2] - SIZE, (count,), generator=generator)
    columns = torch.randint(bands.shape[3] - SIZE, (count,), generator=generator)
    crops = [
        bands[label, :, row : row + SIZE, column : column + SIZE]
        for label, row, column in zip(labels, rows, columns, strict=True)
    ]
    return (torch.stack(crops) - mean[:, None, None]) / std[:, None, None], labels


# %%
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(10, 32, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 2)
)
images, _ = draw(64)
print(prewarm_(model, images, mean=mean, std=std))

# %% [markdown]
# Then train as always:

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
losses = []
for _ in range(STEPS):
    images, labels = draw(32)
    loss = cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
