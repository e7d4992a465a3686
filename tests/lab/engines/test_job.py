"""a data set's name -> the data set, loaded once in a process while it is held and unchanged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli_cases import invoke, plain, stubbed
from study_cases import write_data
from warminit.errors import WarminitWarning
from warminit.lab.data.load import load_source
from warminit.lab.engines import job
from warminit.lab.engines.job import DataSource


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the data sets that are loaded, one a load."""
    found: list[str] = []

    def counted(source: Any, *arguments: Any, **options: Any) -> Any:
        found.append(source.name)
        return load_source(source, *arguments, **options)

    monkeypatch.setattr("warminit.lab.engines.job.load_source", counted)
    return found


def test_a_command_loads_each_data_set_once_and_writes_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: list[str]
) -> None:
    plain(monkeypatch, tmp_path)
    stubbed(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    options = ("--arms", "torch-default,he-normal", "--seeds", "2", "--steps", "4", "--quiet")
    assert invoke("compare", "--datasets", "digits", *options, "--dry-run").exit_code == 0
    assert loads == ["digits"]
    loads.clear()
    ran = invoke("compare", "--datasets", "digits", *options, "--out=~/found")
    assert ran.exit_code == 0, ran.output
    assert loads == ["digits"]
    for command in ("export", "report"):
        assert invoke(command, "~/found", f"--out=~/{command}.file").exit_code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["home"]
    home = sorted(each.name for each in (tmp_path / "home").iterdir())
    assert home == ["export.file", "found", "report.file"]


def test_what_is_held_is_given_again_until_it_changes(tmp_path: Path, loads: list[str]) -> None:
    path, source = write_data(tmp_path), DataSource()
    held = source.load(str(path))
    assert source.load(str(path)) is held
    assert loads == ["tiny.npz"]
    validated = source.load(str(path), 8)
    assert (len(validated.test_images), source.load(str(path), 8)) == (8, validated)
    assert DataSource(resize=4).load(str(path)).image_size == (4, 4)
    assert loads == ["tiny.npz"] * 3
    with np.load(path) as archive:
        changed = dict(archive)
    changed["train_images"][0] ^= 255
    np.savez(path, **changed)
    assert source.load(str(path)).fingerprint != held.fingerprint
    del held
    source.load(str(path))
    assert loads == ["tiny.npz"] * 5


def test_a_worker_does_not_repeat_what_the_driver_said(tmp_path: Path) -> None:
    path = write_data(tmp_path, n_test=3)
    with pytest.warns(WarminitWarning, match=r"tiny.npz: no test image of 3\."):
        DataSource().load(str(path))
    assert len(job._loaded(DataSource(), str(path), 0).test_images) == 3
