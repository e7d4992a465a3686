"""names and hub ids -> the folder or the hub that is read, or an error that says where it was."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from dataset_files import png, random_images, write_parquet
from warminit.errors import WarminitError
from warminit.lab.data import sources
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fashion_mnst", "name='fashion_mnst' is no data set.*Did you mean 'fashion-mnist'"),
        ("no/such/folder", "no file or folder '.*no/such/folder' exists"),
        ("missing/file.npz", "no file or folder"),
        ("", "name='': expected a data set. Pass one of mnist, fashion-mnist, cifar10"),
        (None, "name=None: expected a data set"),
    ],
)
def test_unknown_names(name: Any, text: str) -> None:
    with pytest.raises(WarminitError, match=text):
        load_dataset(name)


def test_files_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(WarminitError, match=r"expected a .npz or .parquet file"):
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
