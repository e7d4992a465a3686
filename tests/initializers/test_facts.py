"""derive_rules on the real data sets: the figures of the paper come out of the code."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from warminit import derive_rules
from warminit.errors import WarminitWarning


@pytest.fixture(scope="session")
def read(data_root: Path) -> Any:
    """Return a function that reads one parquet file as uint8 (N, C, H, W)."""
    import pyarrow.parquet as pq
    from PIL import Image

    kept: dict[tuple[str, int | None], Tensor] = {}

    def read_images(path: str, first: int | None = None, mode: str | None = None) -> Tensor:
        if (path, first) not in kept:
            table = pq.read_table(data_root / path)
            column = table.column("img" if "img" in table.column_names else "image")
            rows = [Image.open(io.BytesIO(r["bytes"])) for r in column[:first].to_pylist()]
            arrays = [np.asarray(row.convert(mode) if mode else row) for row in rows]
            images = torch.from_numpy(np.stack(arrays))
            images = images.unsqueeze(-1) if images.ndim == 3 else images
            kept[path, first] = images.permute(0, 3, 1, 2).contiguous()
        return kept[path, first]

    return read_images


MNIST = "ylecun/mnist/mnist/train-00000-of-00001.parquet"
FASHION = "zalando-datasets/fashion_mnist/fashion_mnist/train-00000-of-00001.parquet"
CIFAR10 = "uoft-cs/cifar10/plain_text/train-00000-of-00001.parquet"
SVHN = "ufldl-stanford/svhn/cropped_digits/test-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("path", "threshold", "density", "n_patches", "separability"),
    [(MNIST, "0.4434", "0.1373", 58, "0.93"), (FASHION, "0.3809", "0.3602", 22, "0.88")],
    ids=["mnist", "fashion-mnist"],
)
def test_table_1_of_the_grayscale_sets(
    read: Any, path: str, threshold: str, density: str, n_patches: int, separability: str
) -> None:
    images = read(path)
    assert len(images) == 60_000
    rules = derive_rules(images)
    assert (rules.n_clusters, rules.patch_size, rules.scale) == (16, (3, 3), 0.20)
    assert rules.n_patches == n_patches
    assert f"{rules.otsu_threshold:.4f}" == threshold
    assert f"{rules.foreground_density:.4f}" == density
    assert f"{rules.separability:.2f}" == separability
    assert rules.patch_norm is None


def test_table_1_of_cifar10(read: Any) -> None:
    # 10,000 images of a split in random order: the norm's standard error over images is 0.002.
    rules = derive_rules(read(CIFAR10, 10_000))
    assert (rules.n_clusters, rules.patch_size, rules.scale) == (16, (3, 3), 0.25)
    assert abs(rules.n_patches - 27) <= 1
    assert rules.patch_norm == pytest.approx(0.525, abs=0.01)
    assert rules.otsu_threshold is rules.foreground_density is None
    assert "extrapolated" not in rules.provenance["n_patches"]


def test_svhn_in_part(read: Any) -> None:
    rules = derive_rules(read(SVHN))
    assert abs(rules.n_patches - 15) <= 1
    assert rules.patch_norm == pytest.approx(0.294, abs=0.02)


def test_natural_gray_images_are_not_bimodal(read: Any) -> None:
    with pytest.warns(WarminitWarning, match=r"0\.68"):
        rules = derive_rules(read(CIFAR10, 5_000, "L"))
    assert f"{rules.separability:.2f}" == "0.68"
    assert rules.patch_norm is not None
    assert rules.n_patches == math.floor(8 * 6.65 * rules.patch_norm)
    assert "extrapolated" in rules.provenance["n_patches"]
