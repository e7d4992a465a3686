"""names -> ImageDataset: the real data sets, the embedded ones, their facts, validation splits."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

import warminit
from dataset_files import decoded_rows
from warminit.lab.data.arrays import fingerprint_of, mean_and_std
from warminit.lab.data.load import ImageDataset, load_dataset

# hub folder, image column, shape, mean and std: the figures that every tutorial standardizes with.
REAL = {
    "mnist": ("ylecun/mnist/mnist", "image", (1, 28, 28), (0.1307,), (0.3081,)),
    "fashion-mnist": (
        "zalando-datasets/fashion_mnist/fashion_mnist",
        "image",
        (1, 28, 28),
        (0.2860,),
        (0.3530,),
    ),
    "cifar10": (
        "uoft-cs/cifar10/plain_text",
        "img",
        (3, 32, 32),
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
    ),
}


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache folder for the whole session, shared by the workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "image-cache"


@pytest.fixture(scope="session")
def mini() -> ImageDataset:
    return load_dataset("fashion-mini")


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_published_facts_and_the_pixels_of_pillow(
    name: str, data_root: Path, image_cache: Path
) -> None:
    folder, column, shape, mean, std = REAL[name]
    dataset = load_dataset(name, data_root=data_root, cache_dir=image_cache)
    n_train = 50_000 if name == "cifar10" else 60_000
    assert dataset.train_images.shape == (n_train, *shape)
    assert dataset.test_images.shape == (10_000, *shape)
    assert not dataset.partial
    assert dataset.n_classes == 10
    assert dataset.class_names[1] in ("1", "Trouser", "automobile")
    assert dataset.mean == pytest.approx(mean, abs=5.1e-5)  # four decimals are published
    assert dataset.std == pytest.approx(std, abs=5.1e-5)
    for split, images, labels in (
        ("train", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        assert labels.dtype == torch.int64
        path = data_root / folder / f"{split}-00000-of-00001.parquet"
        # The ends, both sides of the first chunk's border, and some between.
        rows = [0, 1, 255, 256, 4_321, 7_777, len(images) - 1]
        expected = decoded_rows(path, column, rows)
        if expected.ndim == 4:
            expected = np.moveaxis(expected, 3, 1)
        assert np.array_equal(images[rows].numpy().reshape(expected.shape), expected)
        assert labels.tolist() == pq.read_table(path, columns=["label"])["label"].to_pylist()


def test_a_cut_down_set_is_partial(data_root: Path, image_cache: Path) -> None:
    dataset = load_dataset("svhn", data_root=data_root, cache_dir=image_cache)
    assert (len(dataset.train_images), len(dataset.test_images)) == (7_500, 2_500)
    assert dataset.partial
    assert "svhn (partial: counts differ from the published ones)" in dataset.describe()
    assert dataset.with_validation(500).partial


def test_second_load_of_cifar10_decodes_nothing(data_root: Path, image_cache: Path) -> None:
    # What makes it quick (0.04 s measured) is counted, not timed: no image is decoded, no reader
    # of the source is imported, no process is started, and the pixels are a map of the file.
    load_dataset("cifar10", data_root=data_root, cache_dir=image_cache)
    script = (
        "import os, subprocess, sys, PIL.Image\n"
        "from warminit.lab.data.load import load_dataset\n"
        "def refuse(*_args, **_options): raise AssertionError('decodes again')\n"
        "PIL.Image.open = subprocess.Popen.__init__ = refuse\n"
        "data = load_dataset('cifar10', data_root=sys.argv[1], cache_dir=sys.argv[2])\n"
        "assert len(data.train_images) == 50_000\n"
        "maps = '/proc/self/maps'\n"
        "assert not os.path.exists(maps) or '.images' in open(maps).read()\n"
        "assert not {'datasets', 'pyarrow', 'pandas'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(data_root), str(image_cache)]
    subprocess.run(command, check=True)


def test_importing_has_no_side_effects() -> None:
    script = (
        "import os, sys, warnings, numpy, PIL.Image\n"
        "before = dict(os.environ), list(warnings.filters)\n"
        "import warminit.lab.data.arrays, warminit.lab.data.cache, warminit.lab.data.decoding\n"
        "import warminit.lab.data.hub, warminit.lab.data.reading, warminit.lab.data.sources\n"
        "assert (dict(os.environ), list(warnings.filters)) == before\n"
        "assert not {'datasets', 'pyarrow', 'sklearn', 'torch', 'platformdirs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_fashion_mini_is_the_balanced_part_of_fashion_mnist_that_it_names(
    mini: ImageDataset, data_root: Path
) -> None:
    path = Path(str(warminit.__file__)).parent / "data" / "fashion_mini.npz"
    archive = np.load(path, allow_pickle=False)
    assert path.stat().st_size <= 4_500_000
    for split, images, labels, per_class in (
        ("train", mini.train_images, mini.train_labels, 600),
        ("test", mini.test_images, mini.test_labels, 200),
    ):
        rows = archive[f"{split}_rows"].astype(int).tolist()
        assert rows == sorted(set(rows))
        assert torch.bincount(labels).tolist() == [per_class] * 10
        full = data_root / REAL["fashion-mnist"][0] / f"{split}-00000-of-00001.parquet"
        assert np.array_equal(images[:, 0].numpy(), decoded_rows(full, "image", rows))
        assert labels.tolist() == pq.read_table(full)["label"].take(rows).to_pylist()
    assert not mini.partial
    assert mini.class_names[0] == "T-shirt/top"


def test_fashion_mini_is_built_again_to_the_same_bytes(data_root: Path, tmp_path: Path) -> None:
    tool = Path(__file__).parents[3] / "tools" / "build_fashion_mini.py"
    shipped = np.load(tool.parents[1] / "src/warminit/data/fashion_mini.npz", allow_pickle=False)
    for out in ("one.npz", "two.npz"):
        command = [
            sys.executable,
            str(tool),
            "--data-root",
            str(data_root),
            "--out",
            str(tmp_path / out),
        ]
        subprocess.run(command, check=True, capture_output=True)
    # Another zlib packs other bytes, so the shipped file is compared by its arrays.
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    rebuilt = np.load(tmp_path / "one.npz", allow_pickle=False)
    assert sorted(rebuilt.files) == sorted(shipped.files)
    assert all(np.array_equal(rebuilt[name], shipped[name]) for name in shipped.files)


def test_digits_are_all_of_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    dataset, again = load_dataset("digits"), load_dataset("digits")
    oracle = load_digits()
    images = torch.cat([dataset.train_images, dataset.test_images])[:, 0].numpy()
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    # 0..16 becomes 0..255 without loss: scaled back and rounded, it is the original.
    found = sorted(
        (int(label), np.rint(image / 255 * 16).astype(int).tobytes())
        for image, label in zip(images, labels, strict=True)
    )
    wanted = zip(oracle.images, oracle.target, strict=True)
    assert found == sorted((int(t), image.astype(int).tobytes()) for image, t in wanted)
    assert (images.min(), images.max()) == (0, 255)
    assert len(dataset.test_images) == 359
    assert dataset.name == "digits"
    assert dataset.fingerprint == again.fingerprint


def test_mean_and_std_are_those_of_numpy_in_double_precision(mini: ImageDataset) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (50, 3, 7, 5), dtype=np.uint8)
    for images in (mini.train_images.numpy(), colour):
        mean, std = mean_and_std(images)
        assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)), rel=1e-12)
        assert std == pytest.approx((images / 255).std(axis=(0, 2, 3)), rel=1e-12)
    assert mean_and_std(np.full((4, 1, 2, 2), 255, dtype=np.uint8)) == ((1.0,), (0.0,))


def test_fingerprint_sees_every_byte_the_shapes_and_the_types() -> None:
    array = np.arange(24, dtype=np.uint8)
    changed = array.copy()
    changed[23] ^= 1
    variants: list[tuple[NDArray[Any], ...]] = [
        (array,),
        (changed,),
        (array.reshape(4, 6),),
        (array.view(np.int8),),
    ]
    variants += [(array[:12], array[12:]), (array[::-1],)]
    assert len({fingerprint_of(variant) for variant in variants}) == len(variants)
    text = b"|u1 (24,);" + bytes(range(24))
    assert fingerprint_of((array,)) == hashlib.sha256(text).hexdigest()


def test_describe_shows_counts_and_balance(mini: ImageDataset) -> None:
    lines = mini.describe().splitlines()
    assert lines[0] == "fashion-mini: 6,000 train / 2,000 test images, 1 x 28 x 28, 10 classes"
    assert lines[1:3] == [f"mean {mini.mean[0]:.4f}", f"std  {mini.std[0]:.4f}"]
    assert lines[3] == "class balance: 600 to 600 training images per class"
    assert lines[5].split() == ["T-shirt/top", "600", "200"]
    assert len(lines) == 15
    many = replace(mini, class_names=tuple(str(label) for label in range(25)))
    assert many.describe().splitlines()[-1] == "... and 5 more classes"
    assert many.class_counts[24] == 0
