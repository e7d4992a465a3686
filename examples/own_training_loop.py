# %% [markdown]
"""Compare initializers in a training loop of your own.

Needs `pip install "warminit[lab]"`. Results go to `warminit-results/own-loop`; what is finished
there is not run again.
"""

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from warminit.lab import compare

STEPS = 40
data = load_digits()
images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1  # from -1 to 1
labels = torch.tensor(data.target)


# %% [markdown]
# The function gets `init`, which applies the initializer that is compared, and a seed. What it
# draws from torch's, NumPy's and Python's generators is the same for every initializer. Without
# `quiet`, `compare` prints each run and a table.


# %%
def train(init, seed):
    """Train a small network with one initializer; return what is to be compared."""
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


# %%
analysis = compare(train, arms=["torch-default", "he-normal", "orthogonal"], seeds=8, quiet=True)
for comparison in analysis.comparisons:
    print(comparison.verdict)
