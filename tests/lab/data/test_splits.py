"""folders, files -> splits and classes: each image once, in its own split, or one error."""

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dataset_files import folder_of, png, random_images, write_folder, write_parquet
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data.load import ImageDataset, load_dataset

GRAY = {"train": 10, "test": 200, "validation": 100}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WARMINIT_DATA", raising=False)


def plain(value: int) -> NDArray[Any]:
    return np.full((4, 4), value, np.uint8)


def folder_with(root: Path, splits: dict[str, str]) -> Path:
    """Write {"Test": "test"} as root/Test/{a,b}/*.png, whose pixels say which split they are."""
    return write_folder(
        root,
        {f"{name}/{c}": [plain(GRAY[split])] * 3 for name, split in splits.items() for c in "ab"},
    )


def parquet_of(path: Path, value: int, number: int = 6) -> Path:
    return write_parquet(path, [png(plain(value))] * number, [0, 1] * (number // 2))


def check(dataset: ImageDataset, test: str) -> None:
    assert len(dataset.train_images) == len(dataset.test_images) == 6
    assert set(dataset.train_images.unique().tolist()) == {GRAY["train"]}
    assert set(dataset.test_images.unique().tolist()) == {GRAY[test]}
    assert not dataset.name.endswith("+held-out")


@pytest.mark.parametrize(
    ("train", "test", "split"),
    [
        ("Train", "Test", "test"),
        ("train", "TEST", "test"),
        ("training", "testing", "test"),
        ("train_images", "test_images", "test"),
        ("train", "eval", "validation"),
        ("Training", "Validation", "validation"),
        ("train", "val", "validation"),
        ("train", "valid", "validation"),
        ("train", "dev", "validation"),
        ("train", "evaluation", "validation"),
    ],
)
@pytest.mark.parametrize("kind", ["folders", "hub", "file"])
def test_split_names_in_any_case_and_their_synonyms(
    train: str, test: str, split: str, kind: str, tmp_path: Path
) -> None:
    place = tmp_path / "x"
    if kind == "folders":
        folder_with(place, {train: "train", test: split})
    else:
        for name, value in ((train, GRAY["train"]), (test, GRAY[split])):
            parquet_of(place / f"{name}-0.parquet", value)
    if kind == "file":
        train_word = train.split("_", maxsplit=1)[0]
        place = (place / f"{train}-0.parquet").rename(place / f"{train_word}-0.parquet")
        test_file = place.with_name(f"{test}-0.parquet")
        test_file.rename(place.with_name(f"{test.split('_', maxsplit=1)[0]}-0.parquet"))
    dataset = load_dataset(str(place))
    check(dataset, split)
    said = f"test images are of the split '{dataset.test_split}'" in dataset.describe()
    assert said == (split == "validation")


def test_the_test_split_goes_before_validation_which_is_said(tmp_path: Path) -> None:
    splits = {"train": "train", "val": "validation", "test": "test"}
    folder = folder_with(tmp_path / "x", splits)
    with pytest.warns(WarminitWarning, match=r"x': 'val' is not read; 'test' is the test split"):
        check(load_dataset(str(folder)), "test")
    for name in ("train", "validation", "test"):
        parquet_of(tmp_path / "y" / f"{name}.parquet", GRAY[name])
    with pytest.warns(WarminitWarning, match=r"'validation' is not read; 'test' is the test"):
        check(load_dataset(str(tmp_path / "y")), "test")


def test_names_that_say_train_hide_no_other_image(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("bus", "train"):
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(random_images(10, 4, 4)):
            stem = f"next_to_train_{i}" if i < 2 else f"test_street_{i}"
            (folder / name / f"{stem}.png").write_bytes(png(image))
    (folder / "README.md").write_text("who made them")
    dataset = load_dataset(str(folder))
    assert (dataset.name, dataset.class_names) == ("photos/+held-out", ("bus", "train"))
    assert len(dataset.train_images) + len(dataset.test_images) == 20
    inside = write_folder(
        tmp_path / "y", {"archive/a": [plain(1)] * 5, "archive/b": [plain(2)] * 5}
    )
    assert len(load_dataset(str(inside)).train_images) == 8


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("more/a/0.png", "more' belongs to no split, but test, train do"),
        ("stray.png", "stray.png' belongs to no split"),
        (
            "Training/a/0.png",
            "has the splits 'Training' and 'train': expected one train",
        ),
        ("val/c/0.png", None),
        ("archive.zip", "archive.zip' belongs to no split"),
        ("train/stray.png", "stray.png' is no class"),
        ("test/a/deeper/0.png", "test/a' is empty or holds a folder"),
        ("train/link", "link' cannot be read: expected a file"),
    ],
)
def test_whatever_is_not_read_is_named(extra: str, text: str | None, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "x", {"train": "train", "test": "test"})
    place = folder / extra
    place.parent.mkdir(parents=True, exist_ok=True)
    if extra.endswith("link"):
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.write_bytes(png(plain(1)))
    if text is None:
        with pytest.warns(WarminitWarning, match="'val' is not read"):
            load_dataset(str(folder))
    else:
        with pytest.raises(WarminitError, match=text):
            load_dataset(str(folder))


@pytest.mark.parametrize(
    ("folders", "text"),
    [
        (("set1/a", "set1/b", "set2/a", "set2/b"), "'set1', 'set2': which is the training and"),
        (("train", "test"), "holds images in test, train without a folder for each class"),
        (("test/a", "test/b"), "has the splits 'test': expected 'train'"),
    ],
)
def test_folders_that_say_no_split_or_no_class(
    folders: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    write_folder(tmp_path / "x", {name: [plain(1)] * 3 for name in folders})
    with pytest.raises(WarminitError, match=text):
        load_dataset(str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (("train.parquet", "extra.parquet"), "extra.parquet' names no split"),
        (
            ("one/train.parquet", "two/train.parquet"),
            "holds data in '.*one', '.*two': expected only one",
        ),
        (("one/a.parquet", "two/a.parquet"), "holds data in '.*one', '.*two': expected only one"),
        (("train.parquet", "test.parquet", "cat.png"), "cannot be read: expected images in one"),
        (("train.parquet", "test.bin"), "cannot be read: expected images in one"),
        (("notes.txt",), "found no file"),
    ],
)
def test_parquet_files_that_would_not_be_read(
    files: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    for name in files:
        parquet_of(tmp_path / "x" / name, 1)
    with pytest.raises(WarminitError, match=text):
        load_dataset(str(tmp_path / "x"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_images_beside_their_metadata(tmp_path: Path) -> None:
    images = random_images(14, 4, 4)
    for split, part in (("train", images[:10]), ("Test", images[10:])):
        (tmp_path / "x" / split).mkdir(parents=True)
        for i, image in enumerate(part):
            (tmp_path / f"x/{split}/{i}.png").write_bytes(png(image))
        lines = [f"{i}.png,{'ab'[i % 2]}\n" for i in range(len(part))]
        (tmp_path / f"x/{split}/metadata.csv").write_text("file_name,label\n" + "".join(lines))
    dataset = load_dataset(str(tmp_path / "x"))
    assert np.array_equal(dataset.train_images[:, 0].numpy(), images[:10])
    assert np.array_equal(dataset.test_images[:, 0].numpy(), images[10:])
    assert dataset.train_labels.tolist() == [0, 1] * 5
    (tmp_path / "x/Test/unlisted.png").write_bytes(png(images[0]))
    with pytest.raises(WarminitError, match=r"unlisted.png' is not in its folder's metadata"):
        load_dataset(str(tmp_path / "x"))
    gc.collect()  # `datasets` leaves the metadata's file open


def test_shards_are_read_in_name_order(tmp_path: Path) -> None:
    images = random_images(12, 4, 4)
    for shard in range(3):
        encoded: list[bytes | None] = [png(image) for image in images[4 * shard :][:4]]
        write_parquet(tmp_path / f"x/data/Train-{shard}-of-3.parquet", encoded, [0, 1] * 2)
    parquet_of(tmp_path / "x/data/Test-0-of-1.parquet", GRAY["test"])
    dataset = load_dataset(str(tmp_path / "x"))
    assert np.array_equal(dataset.train_images[:, 0].numpy(), images)


def test_a_class_that_is_absent_from_one_split_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "x")
    for file in (folder / "test" / "bee").iterdir():
        file.unlink()
    (folder / "test" / "bee").rmdir()
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(WarminitWarning, match=r"^x/: no test image of bee\.$"):
            load_dataset(str(folder))
    np.savez(
        tmp_path / "y.npz",
        train_images=random_images(4, 3, 3),
        train_labels=np.array([0, 1, 0, 1]),
        test_images=random_images(3, 3, 3),
        test_labels=np.array([0, 1, 2]),
        class_names=np.array([b"cat", "d\u00fc".encode(), b"cow"]),
    )
    with pytest.warns(WarminitWarning, match=r"^y.npz: no training image of cow\.$"):
        assert load_dataset(str(tmp_path / "y.npz")).class_names == ("cat", "d\u00fc", "cow")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (np.array("cat,dog"), r"class_names has shape \(\)"),
        (np.array([["cat", "dog"]]), r"class_names has shape \(1, 2\)"),
        (np.array(["cat", "cat"]), "one name twice"),
        (np.array([b"caf\xe9", b"dog"]), "'utf-8' codec can't decode"),
    ],
)
def test_class_names_that_cannot_be_used(names: NDArray[Any], text: str, tmp_path: Path) -> None:
    labels = np.arange(10) % 2
    np.savez(tmp_path / "x.npz", images=random_images(10, 3, 3), labels=labels, class_names=names)
    with pytest.raises(WarminitError, match=rf"'x.npz': .*{text}.*one name per class"):
        load_dataset(str(tmp_path / "x.npz"))


def test_labels_of_bytes_are_words(tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4)]
    path = write_parquet(tmp_path / "x.parquet", encoded, [b"dog", b"cat"] * 5)
    assert load_dataset(str(path)).class_names == ("cat", "dog")
    path = write_parquet(tmp_path / "y.parquet", encoded, [b"caf\xe9", b"cat"] * 5)
    with pytest.raises(WarminitError, match=r"has the label b'caf\\xe9': expected text in UTF-8"):
        load_dataset(str(path))


def test_differing_parquet_files_say_in_what(tmp_path: Path) -> None:
    train = parquet_of(tmp_path / "train.parquet", 1)
    encoded: list[bytes | None] = [png(plain(1))] * 4
    for labels, names, text in (
        (
            [0, 1] * 2,
            {"image": "img"},
            r"'train.parquet' has the columns image .*'test.parquet' has img",
        ),
        (list("abab"), {}, r"label \(int64\), and 'test.parquet' has .*label \((large_)?string\)"),
        ([], {}, "'test.parquet' has no rows"),
    ):
        write_parquet(tmp_path / "test.parquet", encoded[: len(labels)], labels, **names)
        with pytest.raises(WarminitError, match=text):
            load_dataset(str(train))
    write_parquet(tmp_path / "test.parquet", encoded, [0, 1, None, 1])
    with pytest.raises(WarminitError, match=r"^test row 2 of train.parquet has no label"):
        load_dataset(str(train))


def test_the_cache_sees_what_is_read_behind_links(tmp_path: Path) -> None:
    store, data = folder_of(tmp_path / "store"), tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        (data / split).symlink_to(store / split)
    first = load_dataset(str(data))
    assert first.fingerprint == load_dataset(str(store)).fingerprint
    (store / "train/ant/000.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    (store / "train/bee/new.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    second = load_dataset(str(data))
    assert len(second.train_images) == 7
    assert second.train_images[0].sum() == 0
    (store / "train/ant/loop").symlink_to(store)
    with pytest.raises(WarminitError, match=r"loop.*is a link to a folder that holds it"):
        load_dataset(str(store))


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "x")
    expected = load_dataset(str(folder)).fingerprint
    inside = os.fsencode(folder / "train/ant")
    (folder / "train/ant/000.png").rename(os.fsdecode(inside + b"/000\xe9.png"))
    assert load_dataset(str(folder)).fingerprint == expected
    (folder / "train/ant/002.png").write_bytes(b"broken")
    (folder / "train/ant/002.png").rename(os.fsdecode(inside + b"/002\xe9.png"))
    with pytest.raises(WarminitError, match=r"image '.*/002\\udce9.png' cannot be used"):
        load_dataset(str(folder))
    (folder / "train/ant").rename(os.fsdecode(inside + b"\xe9"))
    with pytest.raises(WarminitError, match=r"the name 'ant\\udce9' is not UTF-8"):
        load_dataset(str(folder))
    folder.rename(os.fsdecode(os.fsencode(folder) + b"\xe9"))
    with pytest.raises(WarminitError, match=r"the name 'x\\udce9' is not UTF-8"):
        load_dataset(os.fsdecode(os.fsencode(tmp_path) + b"/x\xe9"))


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WARMINIT_CACHE", "~/kept")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder_of(tmp_path / "home" / "pictures")
    load_dataset("~/pictures")
    load_dataset("~/pictures", cache_dir="~/elsewhere")
    for name in ("train", "test"):
        parquet_of(tmp_path / f"home/hub/some/set/{name}.parquet", GRAY[name])
    check(load_dataset("some/set", data_root="~/hub"), "test")
    assert sorted(each.name for each in (tmp_path / "home").iterdir()) == [
        "elsewhere", "hub", "kept", "pictures",
    ]  # fmt: skip
    assert not list((tmp_path / "work").iterdir())
    with pytest.raises(
        WarminitError, match=r"path='~nobody-of-this-name/x': expected a known home folder"
    ):
        load_dataset("~nobody-of-this-name/x")
