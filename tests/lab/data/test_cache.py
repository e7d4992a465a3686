"""the cache file: whole or rebuilt, whatever is cut, flipped, killed, raced or full."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustness import Robustness
from warminit.errors import WarminitError
from warminit.lab.data import cache
from warminit.lab.data.arrays import ImageArrays
from warminit.lab.data.cache import cached_arrays, read_cache

# Written by a process of its own, which can be killed and raced: 40,000 small gray images whose
# every pixel and label says which of the two keys they were made for.
WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from warminit.lab.data.arrays import ImageArrays
from warminit.lab.data.cache import cached_arrays

def writer(value, log, pause):
    def build(allocate, scratch):
        with open(log, "a") as file:
            file.write("built\\n")
        images = allocate((40_000, 1, 16, 16))
        images[:20_000] = value
        time.sleep(pause)
        images[20_000:] = value
        labels = np.full(40_000, value)
        return ImageArrays(images[:30_000], labels[:30_000], images[30_000:], labels[30_000:],
                           ("a", "b", "c")).measured()
    return build

path, log, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if mode == "race":
    while time.time() < float(sys.argv[4]):
        pass
    found = cached_arrays(path, "key 1", writer(1, log, 0.3))
    print(int(found.train_images.sum()), int(found.test_labels.sum()))
else:
    for turn in range(1_000_000):
        cached_arrays(path, f"key {turn % 2 + 1}", writer(turn % 2 + 1, log, 0.01))
"""


def small_build(value: int = 7) -> Callable[..., ImageArrays]:
    def build(allocate: cache.Allocate, scratch: Path) -> ImageArrays:
        images = allocate((5, 1, 4, 3))
        images[:] = np.arange(60, dtype=np.uint8).reshape(5, 1, 4, 3) + value
        labels = np.array([0, 1, 2, 0, 1])
        return ImageArrays(
            images[:3], labels[:3], images[3:], labels[3:], ("a", "b", "é"), test_split="val"
        ).measured()

    return build


def refuse(*_: Any) -> ImageArrays:
    raise AssertionError("built again, though the cache is whole")


def same(one: ImageArrays, two: ImageArrays) -> bool:
    facts = ("class_names", "mean", "std", "fingerprint", "test_split")
    return all(getattr(one, name) == getattr(two, name) for name in facts) and all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in zip(one.arrays(), two.arrays(), strict=True)
    )


def in_memory(value: int = 7) -> ImageArrays:
    return small_build(value)(lambda shape: np.zeros(shape, np.uint8), Path())


def test_what_was_built_comes_back_and_is_not_built_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "x.images"
    assert same(cached_arrays(path, "key", small_build()), in_memory())
    assert same(cached_arrays(path, "key", refuse), in_memory())
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.images", "x.images.lock"]


def test_writing_to_the_arrays_never_reaches_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.images"
    found = cached_arrays(path, "key", small_build())
    found.train_images[:] = 0
    found.train_labels[:] = 2
    assert same(cached_arrays(path, "key", refuse), in_memory())


def test_another_key_or_format_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.images"
    cached_arrays(path, "key", small_build(1))
    assert same(cached_arrays(path, "other key", small_build(2)), in_memory(2))
    assert read_cache(path, "key") is None
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + "1")
    assert read_cache(path, "other key") is None


def test_a_larger_second_allocation_replaces_the_first(tmp_path: Path) -> None:
    def build(allocate: cache.Allocate, scratch: Path) -> ImageArrays:
        allocate((5, 1, 40, 30))[:] = 9  # gray, until a colour image comes
        return small_build()(allocate, scratch)

    assert same(cached_arrays(tmp_path / "x.images", "key", build), in_memory())


def test_every_flipped_byte_and_every_cut_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.images"
    cached_arrays(path, "key", small_build())
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert read_cache(path, "key") is None, f"byte {position} flipped, and not seen"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_cache(path, "key") is None, f"cut to {length} bytes, and not seen"
    for damaged in (whole + b"\0", bytes(len(whole)), b"\0" * 32 + whole[32:]):
        path.write_bytes(damaged)
        assert read_cache(path, "key") is None
    assert same(cached_arrays(path, "key", small_build()), in_memory())
    assert path.read_bytes() == whole


def test_a_failing_build_leaves_nothing_and_its_error_is_kept(tmp_path: Path) -> None:
    def build(allocate: cache.Allocate, scratch: Path) -> ImageArrays:
        allocate((5, 1, 4, 3))
        (scratch / "copy").write_text("of the source")
        raise KeyError("from the build")

    with pytest.raises(KeyError, match=r"from the build"):
        cached_arrays(tmp_path / "x.images", "key", build)
    assert [file.name for file in tmp_path.iterdir()] == ["x.images.lock"]


def test_a_full_disk_and_a_bad_folder_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WarminitError, match=r"cache_dir=.*file' cannot hold.*WARMINIT_CACHE"):
        cached_arrays(tmp_path / "file" / "x.images", "key", small_build())

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(WarminitError, match=r"cannot hold the decoded images.*No space left"):
        cached_arrays(tmp_path / "x.images", "key", small_build())
    assert not (tmp_path / "x.images").exists()


def test_folder_is_the_argument_then_the_environment_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "environment"))
    assert cache.cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache.cache_folder(None) == tmp_path / "environment"
    monkeypatch.delenv("WARMINIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache.cache_folder(None).name == "warminit"


def kill_writers(folder: Path, kills: int, seed: int) -> None:
    """Kill a writer at random moments; after each, one whole cache is there, never a mixed one."""
    path, log = folder / "x.images", folder / "log"
    moments = np.random.default_rng(seed).uniform(0, 0.2, kills)
    for moment in moments:
        log.write_text("")
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path, log, "loop"])
        while len(log.read_text().splitlines()) < 2 and writer.poll() is None:
            time.sleep(0.005)  # until its second build has begun, so that the first is whole
        time.sleep(moment)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        found = {value: read_cache(path, f"key {value}") for value in (1, 2)}
        whole = {value: arrays for value, arrays in found.items() if arrays is not None}
        assert len(whole) == 1  # the last build that was finished, under its own key
        for value, arrays in whole.items():
            assert all(np.all(array == value) for array in arrays.arrays())
    assert same(cached_arrays(path, "key", small_build()), in_memory())
    assert sorted(file.name for file in folder.iterdir()) == ["log", "x.images", "x.images.lock"]


def test_a_killed_writer_leaves_no_cache_that_is_not_whole(tmp_path: Path) -> None:
    kill_writers(tmp_path, 5, seed=0)


@pytest.mark.full
def test_thirty_killed_writers(tmp_path: Path, robustness: Robustness) -> None:
    kill_writers(tmp_path, 30, seed=1)
    robustness.record("cache_writers_killed", {"kills": 30, "damaged_caches_used": 0})


def test_two_processes_at_once_build_once_and_read_the_same(tmp_path: Path) -> None:
    path, log = tmp_path / "x.images", tmp_path / "log"
    start = str(time.time() + 1.0)
    command = [sys.executable, "-c", WRITER, str(path), str(log), "race", start]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {racer.communicate()[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert answers == {f"{30_000 * 256} {10_000}\n"}
    assert log.read_text() == "built\n"
