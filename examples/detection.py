# %% [markdown]
"""Condition a torchvision detector: it standardizes and resizes its images itself.

Needs `pip install "warminit[lab]" torchvision`.
"""

# %%
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from warminit import prewarm_
from warminit.lab import load_dataset

SIZE, STEPS = 96, 4
data = load_dataset("fashion-mini")
photographs = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
generator = torch.Generator().manual_seed(0)


def draw(count):
    """Lay a garment on each of some crops of photographs; its box is known."""
    scenes, targets = [], []
    height, width = photographs.shape[2] - SIZE, photographs.shape[3] - SIZE
    limits = (len(data.train_images), SIZE - 28, SIZE - 28, len(photographs), height, width)
    for _ in range(count):
        index, top, left, photograph, row, column = (
            int(torch.randint(limit, (), generator=generator)) for limit in limits
        )
        scene = photographs[photograph, :, row : row + SIZE, column : column + SIZE].clone()
        scene[:, top : top + 28, left : left + 28] = data.train_images[index] / 255
        scenes.append(scene)
        box = torch.tensor([[left, top, left + 28, top + 28]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": data.train_labels[index][None] + 1})
    return scenes, targets


# %%
torch.manual_seed(0)
model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=11)
# What the backbone is fed, and what that was standardized with, the model's transform knows.
transform = model.transform
fed = transform(draw(16)[0])[0].tensors
print(prewarm_(model, fed, mean=transform.image_mean, std=transform.image_std))

# %% [markdown]
# Then train as always:

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
losses = []
for _ in range(STEPS):
    loss = sum(model(*draw(8)).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
