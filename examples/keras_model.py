# %% [markdown]
"""Condition a Keras layer as it is built, and the same model after it is built. Any backend.

Needs `pip install "warminit[lab,keras]"`.
"""

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # else Keras asks for TensorFlow

import keras
import numpy as np
from keras import layers

from warminit.integrations.keras import WarmInit, warm_init
from warminit.lab import load_dataset

data = load_dataset("fashion-mini")
pixels = data.train_images.permute(0, 2, 3, 1).numpy() / np.float32(255)  # channels last
images = (pixels - data.mean[0]) / data.std[0]
labels = data.train_labels.numpy()


def network(kernel_initializer):
    """Build the network from one initializer of its first layer."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, 2, activation="relu", kernel_initializer=kernel_initializer),
        layers.Conv2D(32, 3, 2, activation="relu"), layers.Flatten(), layers.Dense(10),
    ])  # fmt: skip


# %%
keras.utils.set_random_seed(0)
statistics = {"mean": data.mean, "std": data.std}
model = network(WarmInit(images[:256], **statistics))
built = network("glorot_uniform")
print(warm_init(built, images[:256], **statistics))
same = [keras.ops.convert_to_numpy(each.layers[0].kernel)[..., :16] for each in (model, built)]
print("the same filters either way:", np.array_equal(*same))

# %% [markdown]
# Then train as always:

# %%
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
history = model.fit(images[:1920], labels[:1920], batch_size=64, epochs=2, verbose=0)
print("loss {:.2f} -> {:.2f}".format(*history.history["loss"]))
