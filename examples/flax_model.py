# %% [markdown]
"""Condition a Flax model: as its layer is made (nnx), and in a tree of parameters (linen).

Needs `pip install "warminit[lab,flax]"`, which brings Optax, too.
"""

# %%
import jax
import numpy as np
import optax
from flax import linen, nnx

from warminit.integrations.flax import warm_init, warm_kernel_init
from warminit.lab import load_dataset

data = load_dataset("fashion-mini")
pixels = data.train_images.permute(0, 2, 3, 1).numpy() / np.float32(255)  # channels last
images = (pixels - data.mean[0]) / data.std[0]
labels = data.train_labels.numpy()
statistics = {"mean": data.mean, "std": data.std}


class Network(nnx.Module):
    """One conditioned convolution and a linear layer."""

    def __init__(self, rngs):
        init = warm_kernel_init(images[:256], **statistics)
        self.stem = nnx.Conv(1, 32, (3, 3), strides=2, kernel_init=init, rngs=rngs)
        self.head = nnx.Linear(14 * 14 * 32, 10, rngs=rngs)

    def __call__(self, batch):
        """Return the logits."""
        return self.head(nnx.relu(self.stem(batch)).reshape(len(batch), -1))


@nnx.jit
def step(model, optimizer, batch, targets):
    """Train on one batch."""

    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(batch), targets).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


# %%
model = Network(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
batches = [slice(start, start + 64) for start in range(0, 1920, 64)]
losses = [float(step(model, optimizer, images[part], labels[part])) for part in batches]
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")

# %% [markdown]
# Or a tree of parameters that is there already:

# %%
params = linen.Conv(32, (3, 3)).init(jax.random.key(0), images[:1])
params, report = warm_init(params, images[:256], **statistics)
print(report)
