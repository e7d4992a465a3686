# ruff: noqa: INP001, T201 - a script that is run by its path and reports on the terminal
"""Condition a network of your own on its first training batch, then train as always."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from warminit import prewarm_
from warminit.lab.datasets import load_dataset

STEPS, BATCH = 40, 64
data = load_dataset("fashion-mini")  # 4,000 real images to train on; they ship with the package
images = (data.train_images / 255 - data.mean[0]) / data.std[0]

if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(4),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip
    order = torch.randperm(len(images))
    # The one line: mean and std let the rules see the pixels as they were.
    print(prewarm_(model, images[order[:BATCH]], mean=data.mean, std=data.std))
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
