"""The store: what is written comes back, and nothing that goes wrong takes anything along."""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store_cases import PLACE, RESULT, run
from study_cases import PATIENCE, environment
from warminit.errors import WarminitError
from warminit.lab.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with one finished run."""
    path = tmp_path / "study.sqlite"
    with Store.opened(path) as store:
        store.set_about({"study": "{}"})
        store.add(run("first"), PLACE, RESULT)
    return path


def keys(path: Path) -> list[str]:
    with closing(Store.existing(path)) as store:
        return [stored.key for stored in store.runs()]


def open_to_write(path: Path) -> None:
    with Store.opened(path):
        pass


def test_a_result_comes_back_bit_for_bit(path: Path) -> None:
    with closing(Store.existing(path)) as store:
        (stored,) = store.runs()
        assert store.about("study") == "{}"
        assert store.about("nothing") is None
    assert stored.spec == run("first").spec
    assert stored.arm_parameters == {"scale": 0.1, "patches_per_image": 23}
    assert stored.environment == PLACE
    assert stored.error is None
    assert stored.result is not None
    # repr, for NaN is not equal to itself; tuples inside the arm's report become lists.
    expected = RESULT.to_dict() | {
        "init_report": {"arm": "mine", "parameters": {"scale": 0.1, "kernel": [3, 3]}, "notes": []}
    }
    assert repr(stored.result.to_dict()) == repr(expected)


def test_a_result_is_never_written_over_but_an_error_is(path: Path) -> None:
    with Store.opened(path) as store:
        store.add(run("first"), PLACE, "an error after the result")
        store.add(run("second"), PLACE, "an error before the result")
        assert store.finished_keys() == {"first"}
        store.add(run("second"), PLACE, "another error")
        assert [stored.error for stored in store.runs()] == [None, "another error"]
        store.add(run("second"), PLACE, RESULT)
        assert store.finished_keys() == {"first", "second"}
        assert [stored.error for stored in store.runs()] == [None, None]


def test_only_one_driver_and_any_number_of_readers(path: Path) -> None:
    with Store.opened(path) as store:
        with (
            pytest.raises(WarminitError, match=r"in use by another warminit process.*--out"),
            Store.opened(path),
        ):
            pass
        store.add(run("second"), PLACE, RESULT)
        assert keys(path) == ["first", "second"]
    with Store.opened(path):
        pass  # and the lock is gone with its holder


def test_what_goes_wrong_inside_is_not_taken_for_the_store_s_fault(path: Path) -> None:
    with pytest.raises(FileNotFoundError), Store.opened(path):
        Path("no such file anywhere").read_bytes()
    with Store.opened(path):
        pass


def test_a_killed_writer_s_last_runs_are_read_from_its_journal(path: Path) -> None:
    # What kill -9 leaves behind: committed runs that are not in the main file yet.
    with Store.opened(path) as store:
        store.add(run("second"), PLACE, RESULT)
        left = {name: (path.parent / name).read_bytes() for name in (path.name, f"{path.name}-wal")}
    elsewhere = path.parent / "copy"
    elsewhere.mkdir()
    for name, content in left.items():
        (elsewhere / name).write_bytes(content)
    assert keys(elsewhere / path.name) == ["first", "second"]
    with Store.opened(elsewhere / path.name) as store:
        assert store.finished_keys() == {"first", "second"}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_newer_schema_is_refused_and_untouched(path: Path, journal: str) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA journal_mode = {journal}")
        newer.execute("PRAGMA user_version = 2")
        before = path.read_bytes()
        journal_file = path.with_name(f"{path.name}-wal")
        logged = journal_file.read_bytes() if journal_file.exists() else b""
        for opening in (open_to_write, Store.existing):
            with pytest.raises(
                WarminitError, match="newer warminit: schema 2, and this version knows"
            ):
                opening(path)
            assert path.read_bytes() == before
            assert (journal_file.read_bytes() if journal_file.exists() else b"") == logged


def test_a_newer_schema_in_a_dead_writer_s_journal_is_untouched(path: Path) -> None:
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")  # committed, and in the journal only
    names = (path.name, f"{path.name}-wal")
    left = {name: (path.parent / name).read_bytes() for name in names}
    newer.close()
    elsewhere = path.parent / "copy"
    elsewhere.mkdir()
    for name, content in left.items():
        (elsewhere / name).write_bytes(content)
    with pytest.raises(WarminitError, match="newer warminit"), Store.opened(elsewhere / path.name):
        pass
    assert {name: (elsewhere / name).read_bytes() for name in names} == left


def test_another_program_s_file_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(WarminitError, match="of another program, with photos"), Store.opened(path):
        pass
    assert path.read_bytes() == before


def test_an_absent_or_empty_study_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with pytest.raises(WarminitError, match=r"no study at .*Pass a folder"):
        Store.existing(path)
    path.touch()  # a driver that was killed just then
    with pytest.raises(WarminitError, match="holds no study: expected"):
        Store.existing(path)
    with Store.opened(path) as store:
        assert store.runs() == ()


def damage(kind: str, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if kind == "other content":
        content[:] = b"these are notes, not a database" * 40
    elif kind == "cut off":
        del content[len(content) * 2 // 3 :]
    elif kind == "header lost":
        content[:100] = bytes(100)
    elif kind == "page lost":
        content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["other content", "cut off", "header lost", "page lost"])
def test_a_damaged_file_is_refused_and_untouched(path: Path, kind: str) -> None:
    damage(kind, path)
    before = path.read_bytes()
    for opening in (open_to_write, keys):
        with pytest.raises(WarminitError, match=r"damaged, or no warminit study.*--out"):
            opening(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("column", ["spec", "result", "environment"])
def test_a_damaged_row_is_named(path: Path, column: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE runs SET {column} = substr({column}, 1, 20)")
    with (
        closing(Store.existing(path)) as store,
        pytest.raises(WarminitError, match="is damaged: run first cannot be read"),
    ):
        store.runs()


# ---------------------------------------------------------------- disks
def add_many(store: Store) -> None:
    for number in range(50):
        store.add(run(f"run {number}"), PLACE, RESULT)


def test_a_full_disk_loses_nothing_that_was_finished(path: Path) -> None:
    with Store.opened(path) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(
            WarminitError, match=r"is full\. Free some space .*finished runs are kept"
        ):
            add_many(store)
        kept = store.finished_keys()
    assert "first" in kept
    with Store.opened(path) as store:  # there is room again: it goes on
        assert store.finished_keys() == kept
        store.add(run("one more"), PLACE, RESULT)
    assert set(keys(path)) == kept | {"one more"}


FILL = """
import resource, sys
from pathlib import Path
from store_cases import RESULT, PLACE, run
from warminit.errors import WarminitError
from warminit.lab.store.store import Store
path = Path(sys.argv[1])
if sys.argv[2] == "file":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
number = 0
try:
    with Store.opened(path) as store:
        while True:
            store.add(run(f"run {number:04}"), PLACE, RESULT)
            number += 1
except WarminitError as error:
    print(number, error)
"""


def in_process(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environment(),
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit of file sizes")
def test_a_write_that_the_system_refuses_loses_nothing_that_was_finished(path: Path) -> None:
    number, _, text = in_process(FILL, str(path), "file").partition(" ")
    assert "finished runs are kept" in text
    assert keys(path) == ["first", *(f"run {n:04}" for n in range(int(number)))]
    assert int(number) > 3


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a file system of 300 kB, where the tests may."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        folder.rmdir()
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_file_system_that_fills_up_loses_nothing_that_was_finished(small_disk: Path) -> None:
    path = small_disk / "study.sqlite"
    number, _, text = in_process(FILL, str(path), "disk").partition(" ")
    assert "finished runs are kept" in text
    assert keys(path) == [f"run {n:04}" for n in range(int(number))]
    assert int(number) > 3


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WarminitError, match=r"cannot be read or written.*--out"),
        Store.opened(tmp_path / "file" / "study.sqlite"),
    ):
        pass


OPEN = """
import os, sys
from pathlib import Path
from warminit.errors import WarminitError
from warminit.lab.store.store import Store
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
path = Path(sys.argv[1])
try:
    with Store.opened(path):
        print("opened")
except WarminitError as error:
    print(error)
print([run.key for run in Store.existing(path).runs()])
"""


def test_a_read_only_folder_is_read_but_not_written(path: Path) -> None:
    # Not below tmp_path, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp())
    try:
        content = path.read_bytes()
        (folder / "study.sqlite").write_bytes(content)
        folder.chmod(0o555)
        refused, read = in_process(OPEN, str(folder / "study.sqlite")).strip().splitlines()
        assert "Permission denied" in refused
        assert refused.endswith("Check the folder and its permissions, or give another with --out.")
        assert read == "['first']"
        assert (folder / "study.sqlite").read_bytes() == content
        assert {entry.name for entry in folder.iterdir()} == {"study.sqlite"}
    finally:
        folder.chmod(0o755)
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
