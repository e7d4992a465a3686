"""a data root that is a URL -> the same data set as from a folder, fetched once, never stale."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dataset_files import png, random_images, write_parquet
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data import remote
from warminit.lab.data.load import load_dataset

TRAIN = "ylecun/mnist/mnist/train-00000-of-00001.parquet"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WARMINIT_DATA", raising=False)
    return tmp_path / "cache"


def write_hub(root: Path, *, seed: int = 0) -> Path:
    encoded: list[bytes | None] = [png(image) for image in random_images(10, 4, 4, seed=seed)]
    write_parquet(root / TRAIN, encoded[:7], [0, 1] * 3 + [9])
    write_parquet(root / TRAIN.replace("train", "test"), encoded[7:], [0, 1, 9])
    return root


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return a data root with the same files, on each of two file systems."""
    folder = write_hub(tmp_path / "there")
    if request.param == "file":
        yield folder.as_uri()
        return
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/there/", recursive=True)
    yield "memory://there"
    memory.rm("/there", recursive=True)


def test_a_url_gives_the_same_data_set_as_the_folder(url: str, tmp_path: Path) -> None:
    from_url = load_dataset("mnist", data_root=url)
    from_folder = load_dataset("mnist", data_root=tmp_path / "there")
    assert from_url.fingerprint == from_folder.fingerprint
    assert from_url.describe() == from_folder.describe()
    assert load_dataset("mnist", data_root=f"{url}/").fingerprint == from_folder.fingerprint


def test_only_what_changed_is_fetched_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    fetch = remote._fetch

    def counted(there: Any, path: str, target: Path, whole: str) -> None:
        fetched.append(target.name)
        fetch(there, path, target, whole)

    monkeypatch.setattr(remote, "_fetch", counted)
    first = load_dataset("mnist", data_root=url)
    assert len(fetched) == 2
    load_dataset("mnist", data_root=url)
    assert len(fetched) == 2
    changed = write_hub(tmp_path / "changed", seed=1) / TRAIN
    with fsspec.open(f"{url}/{TRAIN}", "wb") as file:
        file.write(changed.read_bytes())
    assert load_dataset("mnist", data_root=url).fingerprint != first.fingerprint
    assert fetched[2:] == [Path(TRAIN).name]
    there, path = fsspec.core.url_to_fs(f"{url}/{TRAIN.replace('train', 'test')}")
    there.rm(path)
    with pytest.warns(WarminitWarning, match=r"^mnist: no test image of 1, 9\.$"):
        held_out = load_dataset("mnist", data_root=url)
    assert held_out.name == "mnist+held-out"
    assert len(fetched) == 3


def test_callers_that_fetch_at_once_fetch_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = write_hub(tmp_path / "there").as_uri()
    fetched: list[str] = []
    fetch = remote._fetch

    def slow(there: Any, path: str, target: Path, whole: str) -> None:
        fetched.append(path)
        time.sleep(0.05)
        fetch(there, path, target, whole)

    monkeypatch.setattr(remote, "_fetch", slow)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(remote.fetched_folder, [url] * 4, ["ylecun/mnist"] * 4))
    assert len(folders) == 1
    assert len(fetched) == 2


def test_a_fetch_that_breaks_off_leaves_no_file_to_trust(
    url: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_self: Any, _path: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(b"PAR1")
        raise OSError("the connection was reset")

    there, _ = fsspec.core.url_to_fs(url)
    with monkeypatch.context() as patch:
        patch.setattr(type(there), "get_file", breaks)
        with pytest.raises(
            WarminitError, match=r"data not available: .* could not be fetched \(the connection"
        ):
            load_dataset("mnist", data_root=url)
    assert not [path for path in own_cache.rglob("*.parquet*") if path.is_file()]
    assert len(load_dataset("mnist", data_root=url).train_labels) == 7


@pytest.mark.parametrize(
    ("root", "text"),
    [
        ("memory://nowhere", "data not available: 'memory://nowhere/ylecun/mnist' could not be"),
        ("nothing://bucket", "data_root='nothing://bucket' cannot be read: Protocol not known"),
    ],
)
def test_a_data_root_that_is_not_there_is_one_clear_error(root: str, text: str) -> None:
    with pytest.raises(WarminitError) as error:
        load_dataset("mnist", data_root=root)
    assert text in str(error.value)


def test_a_listing_that_leads_out_of_the_folder_is_refused(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(type(memory), "find", lambda *_: ["/there/ylecun/mnist/../../evil"])
    monkeypatch.setattr(type(memory), "ukey", lambda *_: "1")
    with pytest.raises(WarminitError, match=r"lists '\.\./\.\./evil', which leads out"):
        load_dataset("mnist", data_root="memory://there")
    assert not own_cache.exists()


def test_a_cache_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "file"))
    url = write_hub(tmp_path / "there").as_uri()
    with pytest.raises(WarminitError, match=r"the cache folder .* cannot hold the files of"):
        load_dataset("mnist", data_root=url)


def test_names_of_folders_are_no_urls() -> None:
    assert not any(remote.is_url(each) for each in ("/a", "a/b", "C:/a", "", Path("a")))
    assert remote.is_url("gs://a")
    assert all(remote.is_url(f"{each}://a") for each in ("s3", "memory", "https"))
