"""folders, parquet, .npz and hub ids -> data sets or clear errors; decoding in workers."""

import os
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_files import decoded_rows, folder_of, png, random_images, write_folder, write_parquet
from warminit.errors import WarminitError
from warminit.lab import sources
from warminit.lab.datasets import load_dataset


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
        ({"pictures": np.zeros(3)}, "holds the arrays pictures; wanted are train_images"),
        ({"x": np.zeros((4, 3, 3))}, "wanted are train_images"),
        ({"x": np.zeros((4, 3, 3)), "y": np.zeros(4, int)}, "x has type float64 and shape"),
        ({"x": np.zeros((4, 3, 5, 3), np.uint8), "y": np.zeros(4, int)}, "x has type uint8 and"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.zeros(3, int)}, r"y has shape \(3,\); \(4,"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.zeros(4)}, "labels have type float64"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.array([0, 1, 9, 1])}, "largest label is 9"),
        ({"x": np.zeros((4, 5, 5), np.uint8), "y": np.array([0, 1, -1, 1])}, "image 2 of x.npz is"),
        ({"x": np.zeros((0, 5, 5), np.uint8), "y": np.zeros(0, int)}, r"shape \(0, 5, 5\)"),
        ({"x": np.zeros((2, 5, 5), np.uint8), "y": np.array([0, 1])}, "none can be held out"),
        ({"x": np.array([object()]), "y": np.zeros(1, int)}, "objects that need pickle are never"),
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
        ({}, [0, None] * 5, "no label in row 1"),
        ({}, [0, 1, 2, 3, -1] * 2, "label of train row 4 of x.parquet is -1; 0 to 3 is wanted"),
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fashion_mnst", "name='fashion_mnst' is no data set.*Did you mean 'fashion-mnist'"),
        ("no/such/folder", "no file or folder '.*no/such/folder' exists"),
        ("missing/file.npz", "no file or folder"),
        ("", "name='' names no data set. Give one of mnist, fashion-mnist, cifar10"),
        (None, "name=None names no data set"),
    ],
)
def test_unknown_names(name: Any, text: str) -> None:
    with pytest.raises(WarminitError, match=text):
        load_dataset(name)


def test_files_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(WarminitError, match=r"another kind than .npz and .parquet"):
        load_dataset(str(tmp_path / "x.csv"))


def test_absent_data_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = re.escape(str((tmp_path / "uoft-cs" / "cifar100").resolve()))
    with pytest.raises(WarminitError, match=f"data not available: name='cifar100' .*{place}"):
        load_dataset("cifar100", data_root=tmp_path)
    monkeypatch.setenv("WARMINIT_DATA", str(tmp_path))
    with pytest.raises(WarminitError, match=r"data not available.*unset WARMINIT_DATA"):
        load_dataset("somebody/something")


def hub_folder(root: Path, hub_id: str, configuration: str) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4)]
    folder = root / hub_id / configuration
    write_parquet(folder / "train-00000-of-00001.parquet", encoded[:7], [0, 1] * 3 + [9])
    write_parquet(folder / "test-00000-of-00001.parquet", encoded[7:], [0, 1, 9])


def test_hub_layout_without_a_card_and_with_configurations(tmp_path: Path) -> None:
    hub_folder(tmp_path, "ylecun/mnist", "mnist")
    dataset = load_dataset("ylecun/mnist", data_root=tmp_path)
    assert (dataset.name, dataset.partial, dataset.n_classes) == ("mnist", True, 10)
    hub_folder(tmp_path, "some/set.v2", "one")
    hub_folder(tmp_path, "some/set.v2", "two")
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        f"  - split: test\n    path: {name}/test-*\n"
        for name in ("one", "two")
    )
    (tmp_path / "some/set.v2/README.md").write_text(card + "---\n")
    dataset = load_dataset("some/set.v2:two", data_root=tmp_path)
    assert (dataset.name, len(dataset.train_images)) == ("some/set.v2:two", 7)
    with pytest.raises(WarminitError, match=r"'one', 'two'.*owner/name:configuration"):
        load_dataset("some/set.v2", data_root=tmp_path)


def test_the_hub_is_asked_for_the_papers_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: list[Any] = []

    def hub(path: str, configuration: str | None, **options: Any) -> Any:
        asked.append((path, configuration, options))
        if path != "uoft-cs/cifar100":
            raise ConnectionError("Couldn't reach it on the Hub")
        image = {"bytes": png(random_images(1, 4, 4, 3)[0]), "path": None}
        columns = {"img": [image] * 4, "fine_label": [0, 99, 1, 1], "coarse_label": [1, 2, 3, 3]}
        split = datasets.Dataset.from_dict(columns).cast_column("img", datasets.Image())
        return datasets.DatasetDict({"train": split, "test": split})

    monkeypatch.setattr(datasets, "load_dataset", hub)
    dataset = load_dataset("cifar100")
    assert asked == [("uoft-cs/cifar100", "cifar100", {"data_files": None, "cache_dir": None})]
    assert dataset.partial
    assert dataset.train_labels.tolist() == [0, 99, 1, 1]
    assert (dataset.class_names[0], dataset.class_names[99]) == ("apple", "worm")
    load_dataset("cifar100")
    assert len(asked) == 1  # the second time it is not even asked
    with pytest.raises(WarminitError, match=r"data not available: name='svhn'.*Couldn't reach"):
        load_dataset("svhn")
    assert asked[-1][:2] == ("ufldl-stanford/svhn", "cropped_digits")
    with pytest.raises(WarminitError, match=r"data not available"):
        load_dataset("owner/name:configuration")
    assert asked[-1][:2] == ("owner/name", "configuration")


def test_published_class_names_are_complete() -> None:
    counts = {name: len(known.class_names) for name, known in sources.PUBLISHED.items()}
    assert counts == {"mnist": 10, "fashion-mnist": 10, "cifar10": 10, "svhn": 10, "cifar100": 100}
    fine = sources.PUBLISHED["cifar100"].class_names
    assert list(fine) == sorted(set(fine))
