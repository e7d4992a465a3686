"""folders, parquet, .npz and hub ids -> data sets or clear errors; decoding in workers."""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_files import decoded_rows, folder_of, png, random_images, write_folder, write_parquet
from warminit.errors import WarminitError
from warminit.lab.data.load import load_dataset


@pytest.fixture(autouse=True)
def own_cache_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own cache, no data folder of the environment, and no network."""
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WARMINIT_DATA", raising=False)

    def refuse(*_: Any) -> None:
        raise AssertionError("a local data set was looked up in the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_image_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "insects", 3)
    (folder / "train" / ".DS_Store").write_text("hidden")
    dataset = load_dataset(str(folder))
    images = random_images(12, 6, 5)
    assert np.array_equal(dataset.train_images[:, 0].numpy(), images[:6])
    assert np.array_equal(dataset.test_images[:, 0].numpy(), images[6:])
    assert dataset.train_labels.tolist() == dataset.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.class_names == ("ant", "bee")
    assert dataset.name == "insects/"
    assert not dataset.partial


def test_a_changed_source_is_decoded_again_and_a_damaged_cache_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "insects")
    calls: list[int] = []
    first = load_dataset(folder.as_posix(), progress=lambda done, _: calls.append(done))
    assert calls == [12]
    again = load_dataset(folder.as_posix(), progress=lambda done, _: calls.append(done))
    assert calls == [12]
    assert again.fingerprint == first.fingerprint
    (file,) = (tmp_path / "cache").glob("*.images")
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)
    again = load_dataset(folder.as_posix(), progress=lambda done, _: calls.append(done))
    assert calls == [12, 12]
    assert again.fingerprint == first.fingerprint
    (folder / "train/ant/000.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    changed = load_dataset(folder.as_posix(), progress=lambda done, _: calls.append(done))
    assert calls == [12, 12, 12]
    assert changed.fingerprint != first.fingerprint
    assert changed.train_images[0].sum() == 0


def test_a_folder_without_test_split_holds_out_a_fifth_and_says_so(tmp_path: Path) -> None:
    images = list(random_images(40, 4, 4))
    folder = write_folder(tmp_path / "x", {"train/a": images[:30], "train/b": images[30:]})
    dataset = load_dataset(str(folder))
    assert dataset.name == "x/+held-out"
    assert torch.bincount(dataset.test_labels).tolist() == [6, 2]
    pixels = {image.tobytes(): int(i >= 30) for i, image in enumerate(images)}
    found = torch.cat([dataset.train_images, dataset.test_images])[:, 0].numpy()
    labels = torch.cat([dataset.train_labels, dataset.test_labels]).tolist()
    assert {image.tobytes(): label for image, label in zip(found, labels, strict=True)} == pixels
    assert load_dataset(str(folder)).name == "x/+held-out"  # from the cache as well


def test_parquet_file_with_and_without_its_test_sibling(tmp_path: Path) -> None:
    images = random_images(20, 5, 4, 3)
    encoded: list[bytes | None] = [png(image) for image in images]
    train = write_parquet(tmp_path / "train.parquet", encoded[:15], [0, 1, 2] * 5)
    alone = load_dataset(str(train))
    assert alone.name == "train.parquet+held-out"
    assert (len(alone.train_images), len(alone.test_images)) == (12, 3)
    test = write_parquet(tmp_path / "test.parquet", encoded[15:], [0, 1, 2, 0, 1])
    dataset = load_dataset(str(train))
    assert dataset.name == "train.parquet"
    rows = list(range(15))
    expected = decoded_rows(train, "image", rows)
    assert np.array_equal(dataset.train_images.numpy(), np.moveaxis(expected, 3, 1))
    assert np.array_equal(
        dataset.test_images.numpy(), np.moveaxis(decoded_rows(test, "image", [0, 1, 2, 3, 4]), 3, 1)
    )
    assert dataset.class_names == ("0", "1", "2")
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".images", ".lock"]


def test_words_as_labels_become_classes_in_alphabetical_order(tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4)]
    write_parquet(tmp_path / "data/test-0.parquet", encoded[:2], ["cat", "dog"], image="img")
    write_parquet(tmp_path / "data/train-0.parquet", encoded, ["dog", "cat"] * 5, image="img")
    dataset = load_dataset(str(tmp_path / "data"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train_labels.tolist() == [1, 0] * 5
    assert dataset.test_labels.tolist() == [0, 1]


def test_npz_files(tmp_path: Path) -> None:
    gray, colour = random_images(30, 6, 4), random_images(30, 6, 4, 3)
    labels = np.arange(30) % 3
    np.savez(
        tmp_path / "a.npz",
        train_images=colour[:20],
        train_labels=labels[:20, None],
        test_images=colour[20:],
        test_labels=labels[20:],
        class_names=np.array(["x", "y", "z"]),
    )
    a = load_dataset(str(tmp_path / "a.npz"))
    assert np.array_equal(a.train_images.numpy(), colour[:20].transpose(0, 3, 1, 2))
    assert a.train_images.is_contiguous()
    assert a.test_labels.tolist() == labels[20:].tolist()
    assert (a.name, a.class_names) == ("a.npz", ("x", "y", "z"))
    np.savez(
        tmp_path / "b.npz",
        x_train=colour.transpose(0, 3, 1, 2),
        y_train=labels,
        x_test=colour.transpose(0, 3, 1, 2)[:5],
        y_test=labels[:5],
    )
    b = load_dataset(str(tmp_path / "b.npz"))
    assert np.array_equal(b.train_images.numpy(), colour.transpose(0, 3, 1, 2))
    np.savez(tmp_path / "c.npz", images=gray, labels=labels)
    c = load_dataset(str(tmp_path / "c.npz"), resize=(3, 8))
    assert (c.name, c.image_size, len(c.test_images)) == ("c.npz+held-out", (3, 8), 6)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"pictures": np.zeros(3)}, "holds the arrays pictures: expected train_images"),
        ({"x": np.zeros((4, 3, 3))}, "expected train_images"),
        ({"x": np.zeros((4, 3, 3)), "y": np.zeros(4, int)}, "x has type float64 and shape"),
        ({"x": np.zeros((4, 3, 5, 3), np.uint8), "y": np.zeros(4, int)}, "x has type uint8 and"),
        (
            {"x": np.zeros((4, 5, 5), np.uint8), "y": np.zeros(3, int)},
            r"y has shape \(3,\): expected \(4,",
        ),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.zeros(4)}, "labels have type float64"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.array([0, 1, 9, 1])}, "largest label is 9"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.array([0, 1, -1, 1])}, "image 2 of x.npz is"),
        ({"x": np.zeros((0, 5, 5), np.uint8), "y": np.zeros(0, int)}, r"shape \(0, 5, 5\)"),
        ({"x": np.zeros((2, 5, 5), np.uint8), "y": np.array([0, 1])}, "none can be held out"),
        ({"x": np.array([object()]), "y": np.zeros(1, int)}, "without objects that need pickle"),
    ],
)
def test_unusable_npz_files(arrays: dict[str, Any], text: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(WarminitError, match=text):
        load_dataset(str(tmp_path / "x.npz"))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(tmp_path / "x.npz", x=np.array([Bomb()]), y=np.zeros(1, int))
    np.save(tmp_path / "plain.npy", np.array([Bomb()]))
    (tmp_path / "plain.npy").rename(tmp_path / "y.npz")
    for file in ("x.npz", "y.npz"):
        with pytest.raises(WarminitError, match=r"pickle"):
            load_dataset(str(tmp_path / file))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("names", "labels", "text"),
    [
        ({"image": "picture"}, [0, 1] * 5, r"0 columns of images among picture .*label \(Value\)"),
        ({"label": "kind"}, [0, 1] * 5, r"0 columns of classes among image .*kind \(Value\)"),
        ({}, [0.5, 1.0] * 5, "labels have type float64"),
        ({}, [0, None] * 5, "train row 1 of x.parquet has no label"),
        ({}, [0, 1, 2, 3, -1] * 2, "label of train row 4 of x.parquet is -1; 0 to 3 is expected"),
    ],
)
def test_columns_and_labels_that_cannot_be_used(
    names: dict[str, str], labels: list[Any], text: str, tmp_path: Path
) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4)]
    path = write_parquet(tmp_path / "x.parquet", encoded, labels, **names)
    with pytest.raises(WarminitError, match=text):
        load_dataset(str(path))


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "x")
    (folder / "test" / "cow").mkdir()
    with pytest.raises(WarminitError, match=r"test/cow' is no class: .*\(ant, bee\)"):
        load_dataset(str(folder))
    (folder / "test" / "cow").rmdir()
    (folder / "train" / "cow").mkdir()
    with pytest.raises(WarminitError, match=r"train/cow' is empty"):
        load_dataset(str(folder))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(WarminitError, match=r"nothing' cannot be read"):
        load_dataset(str(tmp_path / "nothing"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(WarminitError, match=r"broken.parquet' cannot be read"):
        load_dataset(str(tmp_path / "broken.parquet"))


def test_a_file_that_is_not_here_is_looked_for_in_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    images, labels = random_images(12, 6, 5), np.arange(12) % 2
    for place in (root, tmp_path):
        np.savez(place / "sounds.npz", images=images, labels=labels)
    monkeypatch.chdir(root)
    here = load_dataset("sounds.npz")
    monkeypatch.chdir(Path(tmp_path.anchor))
    there = load_dataset("sounds.npz", data_root=root)
    assert (there.name, there.fingerprint) == (here.name, here.fingerprint)
    # A study file that leads out of the root finds nothing.
    with pytest.raises(WarminitError, match="no data set"):
        load_dataset("../sounds.npz", data_root=root)
    with pytest.raises(WarminitError, match="no data set"):
        load_dataset("sounds.npz")
