"""A run's final weights -> a file by its key; the run is the same with it and without."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cli_cases import invoke, plain
from study_cases import facts, tiny_study, write_data
from warminit.lab.engines.driver import run_study
from warminit.lab.engines.job import DataSource
from warminit.lab.networks.build import build_model
from warminit.lab.runs.weights import save_weights, weights_digest


def test_a_run_keeps_its_weights_by_its_key_and_is_the_same(tmp_path: Path) -> None:
    study = tiny_study(write_data(tmp_path), seeds=1)
    source = DataSource(weights=tmp_path / "weights")
    kept = run_study(study, tmp_path / "one", source, workers=1)
    without = run_study(study, tmp_path / "other", workers=1)
    assert [facts(run) for run in kept] == [facts(run) for run in without]
    files = {file.stem: file for file in (tmp_path / "weights").iterdir()}
    assert files.keys() == {run.key for run in kept}
    for run in kept:
        assert run.result is not None
        model = build_model("simplecnn", 1, (8, 8), 4)
        model.load_state_dict(load_file(files[run.key]))
        assert weights_digest(model) == run.result.weights_digest


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    model.register_module("again", model[0])  # shared weights are written by both names
    for name in ("a", "b"):
        save_weights(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert load_file(tmp_path / "a").keys() == model.state_dict().keys()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


def test_runs_without_weights_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(monkeypatch, tmp_path)
    data = write_data(tmp_path)
    (tmp_path / "study.toml").write_text(
        f'name = "tiny"\ndatasets = ["{data.name}"]\narms = ["torch-default"]\nseeds = 2\n'
        "[protocol]\nsteps = 2\nbatch_size = 16\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ("run", "study.toml", "--workers", "1", "--quiet")
    first = invoke(*command, "--seeds", "1")
    assert first.exit_code == 0, first.output
    assert "Weights" not in first.output
    second = invoke(*command, "--save-weights")
    assert second.exit_code == 0, second.output
    assert "Weights: warminit-results/tiny/weights\n1 finished run without" in second.output
    assert len(list((tmp_path / "warminit-results/tiny/weights").iterdir())) == 1
    cluster = invoke(*command, "--save-weights", "--engine", "ray")
    assert cluster.exit_code == 2
    assert "keep weights on this machine" in cluster.output
