"""model, another data set -> model with whitening directions of that set's images.

The arm `experiments.elsewhere:whitening` of a study file: the control of "your own data". All is as
in the arm `whitening` but the images that the filters are made from.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from warminit import InitReport, derive_rules, whiten_
from warminit.errors import unexpected, unknown
from warminit.lab.data.arrays import mean_and_std
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.runs.batches import first_batch, place_split
from warminit.models.find import first_layer

LUMA = (0.299, 0.587, 0.114)
"""Red, green and blue in the brightness of a color (ITU-R BT.601)."""

RULES = ("luma", "gray")


def whitening(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    images_from: str,
    fingerprint: str,
    resize: int | None = None,
    channels: str | None = None,
) -> InitReport:
    """Whiten the first layer with training images of another data set.

    Args:
        model: Any module with a first convolution; its other weights and filters stay as they are.
        images: The run's own first batch. It tells the layer and how many images are read.
        seed: Of the images that are drawn and of their patches.
        images_from: The other data set, as `load_dataset` takes it; its root is WARMINIT_DATA.
        fingerprint: First digits of the other set's fingerprint, so that they are in a run's key.
        resize: Pixels of a side that the other images are resized to.
        channels: None where both sets have the same channels. "luma" makes one channel of three,
            the brightness; "gray" makes three equal channels of it.

    Returns:
        The report of `whiten_`, for the model's layer.

    Raises:
        WarminitError: If channels differ and no rule is given, or the set has another fingerprint.
    """
    layer = first_layer(model, images=images)
    data = _loaded(images_from, resize, layer.in_channels, channels)
    if not data.fingerprint.startswith(fingerprint):
        step = "Give those of the images at hand."
        raise unexpected("fingerprint", fingerprint, f"{data.fingerprint[:8]}...", step)
    batch = first_batch(place_split(data, "train", images.device), len(images), seed)
    rules = derive_rules(data.train_images, layer.out_channels, layer.kernel_size)
    # The layer alone: images of another size need not fit into the model.
    report = whiten_(layer.module, batch, seed=seed, patches_per_image=rules.n_patches)
    parameters = {**report.parameters, "images_from": data.name, "channels": channels}
    return replace(report, layer=layer.name, parameters=parameters)


@lru_cache(maxsize=2)
def _loaded(name: str, resize: int | None, wanted: int, rule: str | None) -> ImageDataset:
    """Load a data set, its training images in the channels that are wanted."""
    data = load_dataset(name, resize=resize)
    if rule is None:
        if data.in_channels != wanted:
            expected = f"{' or '.join(RULES)}, since {name} has {data.in_channels} channels"
            step = f"The layer takes {wanted}: say how they become so many."
            raise unexpected("channels", rule, expected, step)
        return data
    if rule not in RULES:
        raise unknown("channels", rule, RULES)
    if wanted != (1 if rule == "luma" else 3):
        raise unexpected("channels", rule, f"a rule that makes the layer's {wanted} channels")
    pixels = data.train_images
    if data.in_channels == 3:
        weights = torch.tensor(LUMA)
        rows = [
            torch.einsum("nchw,c->nhw", each.float(), weights).round() for each in pixels.split(500)
        ]
        pixels = torch.cat(rows)[:, None].byte()
    pixels = pixels.expand(-1, wanted, -1, -1).contiguous()
    mean, std = mean_and_std(pixels.numpy())
    return replace(data, train_images=pixels, mean=mean, std=std)
