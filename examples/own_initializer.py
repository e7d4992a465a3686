# %% [markdown]
"""Write an initializer of your own, and compare it with the shipped ones as one more arm.

Needs `pip install "warminit[lab]"`.
"""

# %%
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from warminit import InitReport
from warminit.lab import compare

data = load_digits()
images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1  # from -1 to 1
labels = torch.tensor(data.target)


# %% [markdown]
# An initializer, an "arm", takes the model, a batch, a seed and parameters of its own, writes in
# place, and returns a report.


# %%
def differences(model, _images, *, seed, scale=0.5):
    """Set each filter to the difference of two pixels, drawn at random."""
    conv = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    generator = torch.Generator().manual_seed(seed)
    filters = torch.zeros(len(conv.weight), conv.weight[0].numel())
    places = torch.rand(filters.shape, generator=generator).argsort(1)
    filters.scatter_(1, places[:, :1], scale).scatter_(1, places[:, 1:2], -scale)
    with torch.no_grad():
        conv.weight.copy_(filters.view_as(conv.weight))
    return InitReport(
        method="differences", layer="", found="the first convolution", filters_set=len(filters),
        out_channels=len(filters), parameters={"scale": scale}, seed=seed, seconds=0.0,
    )  # fmt: skip


# %%
def train(init, seed):
    """Train for 20 steps with one initializer; return what is to be compared."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    init(model, images[:64])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(20):
        batch = slice(64 * step, 64 * (step + 1))
        loss = cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return {"accuracy": (model(images[1300:]).argmax(1) == labels[1300:]).float().mean()}


# %% [markdown]
# Its name is module:function. Here, where it is defined, the module is `__main__`; in a file of
# yours it is `my_module:differences`, as in `--arms torch-default,my_module:differences`.

# %%
arms = ["torch-default", "whitening", "__main__:differences"]
with tempfile.TemporaryDirectory() as folder:
    for comparison in compare(train, arms=arms, seeds=4, out=folder, quiet=True).comparisons:
        print(comparison.verdict)
