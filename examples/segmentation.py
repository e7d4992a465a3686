# %% [markdown]
"""Initialize a segmentation model of four channels: RGB and one channel more.

Needs `pip install warminit segmentation-models-pytorch`.
"""

# %%
import numpy as np
import segmentation_models_pytorch as smp
import torch
from sklearn.datasets import load_sample_images

from warminit import prewarm_

SIZE, STEPS = 64, 12
photographs = torch.tensor(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
# A stand-in for a near-infrared channel, so that there are four; and what to find: the sky of
# the one photograph and the flower of the other are where one colour stands out.
infrared = (photographs[:, :1] * 2 - photographs[:, 2:]).clamp(0, 1)
pixels = torch.cat([photographs, infrared], dim=1)
masks = (photographs.amax(1, keepdim=True) - photographs.amin(1, keepdim=True) > 0.25).float()
generator = torch.Generator().manual_seed(0)


def draw(count):
    """Draw crops at random positions, and the masks that belong to them."""
    crops, wanted = [], []
    for _ in range(count):
        photograph = int(torch.randint(len(pixels), (), generator=generator))
        row = int(torch.randint(pixels.shape[2] - SIZE, (), generator=generator))
        column = int(torch.randint(pixels.shape[3] - SIZE, (), generator=generator))
        part = (photograph, slice(None), slice(row, row + SIZE), slice(column, column + SIZE))
        crops.append(pixels[part])
        wanted.append(masks[part])
    return torch.stack(crops), torch.stack(wanted)


# %%
torch.manual_seed(0)
mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
model = smp.Unet("resnet18", encoder_weights=None, in_channels=4, classes=1)
crops, _ = draw(32)
fed = (crops - mean[:, None, None]) / std[:, None, None]
print(prewarm_(model, fed, mean=mean, std=std))

# %% [markdown]
# Then train as always:

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_of = smp.losses.DiceLoss("binary")
losses = []
for _ in range(STEPS):
    crops, wanted = draw(8)
    loss = loss_of(model((crops - mean[:, None, None]) / std[:, None, None]), wanted)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
