"""Damaged study files, data files and stores: a clear error or a valid reading, never a crash.

Every input is a valid file with a few faults put into it: bytes flipped, cut out, doubled or
overwritten, and values of the format replaced by others of the wrong kind. All are drawn from a
seed, so a failure names the input that made it.
"""

import json
import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_files import folder_of, png, random_images, write_parquet
from robustness import Robustness
from study_runs import result, stored
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data.load import load_dataset
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.store.store import Store
from warminit.lab.store.stored_study import STORE_NAME
from warminit.lab.study.builtin import FOLDER, shipped_studies
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import read_analysis

VALUES = (
    "0", "-1", "1e999", "nan", "true", '""', "[]", "{}", '"../../etc/passwd"', "[[1], 2]",
    "99999999999999999999", '"\\u0000"', "1979-05-27", "0.1", '"prewarm"', "{name = 3}",
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    1e308,
    True,
    "",
    [],
    {},
    "nan",
    [[1], 2],
    {"a": {}},
    "x" * 50,
)
PIECES = (b"\x00", b"\xff\xfe", b"'", b'"', b"]", b"{", b"\n", b"=", b"\xc3\x28", b"[" * 3000)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Put up to four faults into bytes; once in ten times none."""
    found = bytearray(content)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 2, 3, 3, 4))):
        place = draw.randrange(max(1, len(found)))
        size = draw.choice((1, 1, 2, 8, 64, len(found) // 2))
        kind = draw.randrange(5)
        if kind == 0 and found:
            found[place % len(found)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del found[place : place + size]
        elif kind == 2:
            found[place:place] = found[place : place + size]
        elif kind == 3:
            found[place:place] = draw.choice(PIECES)
        else:
            found[place : place + size] = draw.randbytes(min(size, 64))
    return bytes(found)


def another_value(text: str, draw: random.Random) -> str:
    """Replace the value, the key or the heading of some lines of a TOML file."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 3)):
        number = draw.randrange(len(lines))
        key, sign, _ = lines[number].partition(" = ")
        if sign:
            value = draw.choice(VALUES)
            lines[number] = draw.choice((f"{key} = {value}", f"{key}x = 1", f"{key} =", value))
        else:
            lines[number] = draw.choice(("", "[protocol]", "[[arms]]", lines[number] * 2))
    return "\n".join(lines)


def another_json(text: str | None, draw: random.Random) -> str:
    """Replace one value at any depth of a JSON text, or put faults into the text."""
    if text is None or draw.random() < 0.3:
        return flipped((text or "{}").encode(), draw).decode(errors="replace")
    content = json.loads(text)
    place: Any = {"all": content}
    key: Any = "all"
    while draw.random() < 0.8 and isinstance(place[key], dict | list) and place[key]:
        place = place[key]
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place, dict) and draw.random() < 0.15:
            del place[key]
            return json.dumps(content)
    place[key] = draw.choice(JSON_VALUES)
    if isinstance(place, dict) and "all" in place:
        content = place["all"]
    return json.dumps(content)


def outcome(read: Callable[[], object]) -> str:
    """Return how reading went; whatever is no reading and no clear error goes through."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WarminitWarning)  # a class without a test image
            read()
    except WarminitError as error:
        text = str(error)
        assert len(text) > 20, f"an error that says nothing: {text!r}"
        return "refused"
    return "read"


def count(n: int, once: Callable[[random.Random], str]) -> dict[str, int]:
    counts = {"inputs": n, "read": 0, "refused": 0}
    for seed in range(n):
        try:
            counts[once(random.Random(seed))] += 1
        except Exception as error:
            raise AssertionError(f"input {seed}: {type(error).__name__}: {error}") from error
    return counts


def study_files(n: int, folder: Path) -> dict[str, int]:
    texts = [(FOLDER / f"{name}.toml").read_text("utf-8") for name in shipped_studies()]
    path = folder / "study.toml"

    def once(draw: random.Random) -> str:
        text = draw.choice(texts)
        changed = another_value(text, draw).encode() if draw.random() < 0.6 else text.encode()
        path.write_bytes(flipped(changed, draw) if draw.random() < 0.5 else changed)
        return outcome(lambda: Study.from_toml(path))

    return count(n, once)


def data_files(n: int, folder: Path) -> dict[str, int]:
    """Both kinds of single files, and image folders; a refused one leaves nothing in the cache."""
    cache = folder / "cache"
    images, labels = random_images(12, 5, 4, 3), np.arange(12) % 3
    np.savez(folder / "good.npz", images=images, labels=labels)
    write_parquet(folder / "good.parquet", [png(image) for image in images], labels.tolist())
    originals = {path.suffix: path.read_bytes() for path in folder.glob("good.*")}
    pictures = folder_of(folder / "pictures")

    def once(draw: random.Random) -> str:
        kind = draw.choice((".npz", ".npz", ".parquet", "folder"))
        path = folder / f"bad{kind}"
        if kind == "folder":
            path = pictures
            victim = draw.choice(sorted(pictures.rglob("*.png")))
            kept = victim.read_bytes()
            victim.write_bytes(flipped(kept, draw))
        else:
            path.write_bytes(flipped(originals[kind], draw))
        try:
            found = outcome(lambda: load_dataset(str(path), cache_dir=cache))
        finally:
            if kind == "folder":
                victim.write_bytes(kept)
        if found == "refused":
            left = [path for path in cache.glob("*") if path.suffix != ".lock"]
            assert not left, "a refused file has left something in the cache"
        shutil.rmtree(cache, ignore_errors=True)
        return found

    return count(n, once)


def stores(n: int, folder: Path) -> dict[str, int]:
    study = Study.create(name="f", datasets=["fashion-mini"], arms=["torch-default", "prewarm"])
    results: dict[tuple[str, int], Any] = {
        (arm.label, seed): result(0.5 + seed % 7 / 100) for arm in study.arms for seed in (42, 7)
    }
    good = folder / "good"
    runs = stored(study, results)
    with Store.opened(good / STORE_NAME) as store:
        about = {"study": study.model_dump_json(), "keys": json.dumps([run.key for run in runs])}
        store.set_about(about)
        for run in runs:
            assert run.result is not None
            planned = PlannedRun(run.spec, run.arm_parameters, run.key)
            store.add(planned, run.environment, run.result)
    original = (good / STORE_NAME).read_bytes()
    bad = folder / "bad"
    bad.mkdir()

    def once(draw: random.Random) -> str:
        path = bad / STORE_NAME
        for each in bad.iterdir():
            each.unlink()
        path.write_bytes(flipped(original, draw) if draw.random() < 0.5 else original)
        if path.read_bytes() == original:
            with closing(sqlite3.connect(path)) as connection, connection:
                table, key, column = draw.choice(
                    [("about", "name", "value")]
                    + [("runs", "key", c) for c in ("spec", "arm_parameters", "environment")]
                    + [("runs", "key", "result")] * 3
                )
                name, text = draw.choice(
                    connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
                )
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {key} = ?",
                    (another_json(text, draw), name),
                )
        before = path.read_bytes()
        found = outcome(lambda: read_analysis(bad, allow_mixed=True))
        assert path.read_bytes() == before, "reading has written to the store"
        return found

    return count(n, once)


FUZZERS = {"study files": study_files, "data files": data_files, "stores": stores}


@pytest.mark.parametrize("kind", FUZZERS)
def test_a_sample_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    counts = FUZZERS[kind](60, tmp_path)
    # Faults that all files survive, or none, would show nothing.
    assert counts["read"] > 2
    assert counts["refused"] > 10


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, 170), (8, 1), (10, 8), (10, 99)],
    ids=["version", "locked", "packed", "?"],
)
def test_an_archive_that_cannot_be_unpacked_is_refused(
    tmp_path: Path, place: int, value: int
) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=random_images(3, 5, 4, 3), labels=np.arange(3))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value  # the first entry of its directory
    path.write_bytes(content)
    assert outcome(lambda: load_dataset(str(path), cache_dir=tmp_path / "cache")) == "refused"


@pytest.mark.full
@pytest.mark.parametrize("kind", FUZZERS)
def test_ten_thousand_are_read_or_refused(
    kind: str, tmp_path: Path, robustness: Robustness
) -> None:
    counts = FUZZERS[kind](4000, tmp_path)
    robustness.record(f"fuzzed {kind}", counts)
    assert counts["read"] + counts["refused"] == 4000
