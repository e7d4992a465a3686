# %% [markdown]
"""Initialize a network from a folder of your own images: train/CLASS/*.png and test/CLASS/*.png.

Needs `pip install "warminit[lab]"`. Put the path of your folder into `FOLDER`.
"""

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn.functional import cross_entropy

from warminit import whiten_
from warminit.lab import load_dataset

FOLDER = None  # as in "path/to/photos"; without one, a small folder is written


def write_crops(folder):
    """Write a small folder for who has none at hand: crops of two photographs."""
    draw = np.random.default_rng(0)
    for name, photograph in zip(("temple", "flower"), load_sample_images().images, strict=True):
        for split, count in (("train", 40), ("test", 10)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                row, column = draw.integers(0, (395, 608))
                crop = photograph[row : row + 32, column : column + 32]
                Image.fromarray(crop).save(place / f"{number:02}.png")
    return folder


# %%
torch.manual_seed(0)
with tempfile.TemporaryDirectory() as scratch:
    folder = FOLDER or write_crops(Path(scratch, "photos"))
    data = load_dataset(str(folder), cache_dir=scratch)
    print(data.describe())
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (data.mean, data.std))
    images, labels = (data.train_images / 255 - mean) / std, data.train_labels.clone()

# %%
model = nn.Sequential(
    nn.Conv2d(images.shape[1], 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
    nn.Linear(512, len(data.class_names)),
)  # fmt: skip
print(whiten_(model, images[:64], mean=data.mean, std=data.std))

# %% [markdown]
# Then train as always:

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for _ in range(30):
    loss = cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
