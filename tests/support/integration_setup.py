"""environment -> one in which every framework imports. Imported first by the tests of integrations.

Also what these tests share: real images, and an arm that changes nothing.
"""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import zoo_setup
from warminit.errors import WarminitError
from warminit.lab.data.load import load_dataset
from warminit.report import InitReport

# Keras reads both once, when it is imported, and writes a file of settings into its folder.
os.environ.setdefault("KERAS_BACKEND", "torch")
if "KERAS_HOME" not in os.environ:
    os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-")
    atexit.register(shutil.rmtree, os.environ["KERAS_HOME"], ignore_errors=True)
if find_spec("torchvision") is not None:
    zoo_setup.prepare()  # the trainers import torchvision where it is there

_DATA = load_dataset("fashion-mini")
MEAN, STD = _DATA.mean[0], _DATA.std[0]
STEPS = 20


def labelled(count: int) -> tuple[Tensor, Tensor]:
    """Real images (N, 1, 28, 28), standardized with MEAN and STD, and their classes."""
    return (_DATA.train_images[:count] / 255 - MEAN) / STD, _DATA.train_labels[:count]


def coloured(count: int) -> tuple[Tensor, Tensor]:
    """The same in three channels, no two of them alike: a mix-up of channels would show."""
    pixels = _DATA.train_images[:count] / 255
    images = torch.cat([pixels, pixels**2, pixels**0.5], dim=1)
    return (images - MEAN) / STD, _DATA.train_labels[:count]


def channels_last(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The coloured images as arrays (N, 28, 28, 3)."""
    images, labels = coloured(count)
    return images.permute(0, 2, 3, 1).contiguous().numpy(), labels.numpy()


def kernel_of(filters: Tensor) -> NDArray[np.float32]:
    """Filters (n, C, H, W) of torch as a kernel (H, W, C, n), transposed by hand."""
    n, channels, height, width = filters.shape
    kernel = np.empty((height, width, channels, n), np.float32)
    for row, column in np.ndindex(height, width):
        kernel[row, column] = filters[:, :, row, column].T.numpy()
    return kernel


def refuses(model: nn.Module, images: Any, *, seed: int) -> InitReport:
    """An arm that refuses every model."""
    raise WarminitError("refused")


def nothing(model: nn.Module, images: Any, *, seed: int) -> InitReport:
    """An arm that changes nothing."""
    return InitReport("nothing", "none", "", 0, 1, {}, seed, 0.0)
