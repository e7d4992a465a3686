# ruff: noqa: INP001, T201 - a script that is run by its path and reports on the terminal
"""Compare initializers in a training loop of your own."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from warminit.lab import compare

STEPS = 40
data = load_digits()
images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1  # from -1 to 1
labels = torch.tensor(data.target)


def train(init, seed):
    """Train a small network from one start; return what is to be compared."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    order = torch.randperm(1400)
    init(model, images[order[:64]])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        batch = order[torch.arange(step * 64, (step + 1) * 64) % 1400]
        loss = cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        correct = model(images[1400:]).argmax(1) == labels[1400:]
    return {"accuracy": correct.float().mean()}


if __name__ == "__main__":
    analysis = compare(train, arms=["torch-default", "he-normal", "orthogonal"], seeds=8)
    for comparison in analysis.comparisons:
        print(comparison.verdict)
