"""filters <-> a file with their report; `warminit filters` and what a model then computes with."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from torch import nn
from typer.testing import CliRunner

import warminit
from warminit import (
    InitReport,
    WarminitError,
    WarminitWarning,
    load_filters_,
    prewarm_,
    prewarm_filters,
    save_filters,
)
from warminit.cli import app
from warminit.lab.data.load import load_dataset


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand(16, channels, 12, 12, generator=torch.Generator().manual_seed(1))


def fresh(channels: int = 3, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = nn.Conv2d(channels, 16, 3, **options)
        return nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---------------------------------------------------------------- the way there and back
def test_conditioned_filters_come_back_with_their_report(tmp_path: Path) -> None:
    model = fresh()
    report = prewarm_(model, images(), seed=3)
    saved = save_filters(
        model[0].weight[: report.filters_set], tmp_path / "bank.safetensors", report,
        metadata={"dataset": "mine"},
    )  # fmt: skip
    other = fresh()
    parameter = other[0].weight
    back = load_filters_(other, saved)
    assert other[0].weight is parameter
    assert unchanged(other, weights(model))  # all of it: the rest was the same fresh draw
    assert (back.method, back.seed, back.filters_set, back.layer) == ("prewarm", 3, 8, "0")
    assert back.provenance == report.provenance
    told = {"file": "bank.safetensors", "dataset": "mine"}
    assert back.parameters == {**report.parameters, **told}
    assert "dataset" in str(back)


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    # Read without torch and without the package: what anyone else would read.
    filters = torch.arange(2 * 3 * 5 * 5, dtype=torch.float32).reshape(2, 3, 5, 5)
    report = InitReport("mine", "0", "named", 2, 4, {"size": (5, 5)}, 7, 1.5, {"size": "why"})
    path = save_filters(filters.transpose(2, 3), tmp_path / "a.safetensors", report)
    (array,) = safetensors.numpy.load_file(path).values()
    assert np.array_equal(array, filters.transpose(2, 3).numpy())
    with safetensors.safe_open(path, framework="np") as file:
        texts = file.metadata()
    assert texts["format"] == "pt"
    assert texts["warminit"] == warminit.__version__
    read = json.loads(texts["report"])
    assert (read["method"], read["seed"], read["parameters"]) == ("mine", 7, {"size": [5, 5]})
    assert "seconds" not in read
    again = save_filters(filters.transpose(2, 3), tmp_path / "b.safetensors", report)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_kept_in_the_file_and_in_the_model(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    filters = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    path = save_filters(filters.to(dtype), tmp_path / "bank.safetensors")
    model = fresh().to(torch.bfloat16)
    load_filters_(model, path)
    assert model[0].weight.dtype == torch.bfloat16
    assert torch.equal(model[0].weight[:4], filters.to(dtype).to(torch.bfloat16))


@pytest.mark.parametrize(("dims", "layer"), [(1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d)])
def test_one_to_three_dimensions(tmp_path: Path, dims: int, layer: Any) -> None:
    filters = torch.randn(3, 2, *(3,) * dims, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        model = layer(2, 4, 3)
    load_filters_(model, save_filters(filters, tmp_path / "bank.safetensors"))
    assert torch.equal(model.weight[:3], filters)


def test_a_whole_grouped_weight_fits_and_a_part_of_it_does_not(tmp_path: Path) -> None:
    model = fresh(4, groups=2)
    bank = torch.randn(16, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    load_filters_(model, save_filters(bank, tmp_path / "whole.safetensors"))
    assert torch.equal(model[0].weight, bank)
    path = save_filters(bank[:8], tmp_path / "part.safetensors")
    before = weights(model)
    with pytest.raises(WarminitError, match="holds 8 filters, and 0 has 16 in 2 groups"):
        load_filters_(model, path)
    assert unchanged(model, before)


def test_a_larger_bank_gives_its_first_filters_and_says_so(tmp_path: Path) -> None:
    bank = torch.randn(20, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    model = fresh()
    report = load_filters_(model, save_filters(bank, tmp_path / "bank.safetensors"))
    assert torch.equal(model[0].weight, bank[:16])
    assert "the first 16 of 20 filters fit into the layer" in report.notes


def test_a_named_layer_and_a_trained_one(tmp_path: Path) -> None:
    bank = torch.randn(4, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    path = save_filters(bank, tmp_path / "bank.safetensors")
    model = fresh()
    with torch.no_grad():
        model[3].weight.fill_(1.0)
    with pytest.warns(WarminitWarning, match="3 looks trained"):
        report = load_filters_(model, path, "3")
    assert torch.equal(model[3].weight[:4], bank)
    assert report.method == "filters of a file"


def test_no_global_generator_is_touched(tmp_path: Path) -> None:
    path = save_filters(torch.rand(4, 3, 3, 3), tmp_path / "bank.safetensors")
    model, before = fresh(), torch.get_rng_state()
    load_filters_(model, path)
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- what does not fit
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((4, 1, 3, 3), "holds filters of 1 channels, and 0 takes 3. Make them from images of 3"),
        ((4, 3, 5, 5), r"of kernel size \(5, 5\), and 0 has \(3, 3\)"),
        ((4, 3, 3), r"of kernel size \(3,\), and 0 has \(3, 3\)"),
    ],
)
def test_what_does_not_fit_names_both_values(
    tmp_path: Path, shape: tuple[int, ...], said: str
) -> None:
    path = save_filters(torch.rand(shape), tmp_path / "bank.safetensors")
    model = fresh()
    before = weights(model)
    with pytest.raises(WarminitError, match=said):
        load_filters_(model, path)
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (
            torch.rand(3, 3),
            r"filters=\(3, 3\) torch.float32: expected a dense floating point tensor",
        ),
        (
            torch.ones(2, 1, 3, 3, dtype=torch.int64),
            "torch.int64: expected a dense floating point tensor",
        ),
        (torch.full((2, 1, 3, 3), float("nan")), "values that are not finite"),
        ("a path", "filters=a path: expected a dense floating point tensor"),
    ],
)
def test_what_cannot_be_saved(tmp_path: Path, filters: Any, said: str) -> None:
    with pytest.raises(WarminitError, match=said):
        save_filters(filters, tmp_path / "bank.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metadata", [{"report": "mine"}, {"count": 3}])
def test_metadata_are_texts_under_other_names(tmp_path: Path, metadata: Any) -> None:
    (name,) = metadata
    with pytest.raises(WarminitError, match=f"metadata: '{name}'=.* expected texts under names"):
        save_filters(torch.rand(2, 1, 3, 3), tmp_path / "bank.safetensors", metadata=metadata)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WarminitError, match="cannot be written"):
        save_filters(torch.rand(2, 1, 3, 3), tmp_path / "none" / "bank.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read as safetensors"),
        (b"not a file of tensors", "cannot be read as safetensors"),
        ({"weight": torch.rand(2)}, "holds weight, and no tensor 'filters'"),
        ({"filters": torch.rand(2)}, r"no tensor 'filters' of \(n, C, \*K\) values"),
    ],
)
def test_files_of_others(tmp_path: Path, content: Any, said: str) -> None:
    import safetensors.torch

    path = tmp_path / "bank.safetensors"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else safetensors.torch.save(content))
    model = fresh()
    before = weights(model)
    with pytest.raises(WarminitError, match=said):
        load_filters_(model, path)
    assert unchanged(model, before)


def test_a_damaged_report(tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "bank.safetensors"
    tensors = {"filters": torch.rand(2, 3, 3, 3)}
    path.write_bytes(safetensors.torch.save(tensors, {"report": "{"}))
    with pytest.raises(WarminitError, match="has a damaged report"):
        load_filters_(fresh(), path)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_filters(torch.rand(2, 3, 3, 3), tmp_path / "bank.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for call in (
        lambda: save_filters(torch.rand(2, 3, 3, 3), path),
        lambda: load_filters_(fresh(), path),
    ):
        with pytest.raises(WarminitError, match=r'pip install "warminit\[filters\]"'):
            call()


def test_the_names_are_public() -> None:
    assert {"save_filters", "load_filters_"} <= set(warminit.__all__)


# ---------------------------------------------------------------- the command
@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WARMINIT_DATA", raising=False)
    return tmp_path


def test_the_command_writes_what_prewarm_filters_makes(here: Path) -> None:
    ended = CliRunner().invoke(app, ["filters", "digits", "--seed", "2", "--n-images", "64"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.splitlines()[-1] == "digits-prewarm.safetensors: 16 x 1 x 3 x 3"
    data = load_dataset("digits")
    # The images by hand: standardized by the training split, drawn with the seed.
    chosen = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(2))
    batch = (data.train_images[chosen[:64]] / 255 - data.mean[0]) / data.std[0]
    wanted = prewarm_filters(batch, 32, 3, mean=data.mean, std=data.std, seed=2)
    (array,) = safetensors.numpy.load_file(here / "digits-prewarm.safetensors").values()
    assert np.array_equal(array, wanted.numpy())


def test_the_command_answers_in_json_and_the_model_takes_the_file(here: Path) -> None:
    arguments = [
        "filters", "digits", "--arm", "whitening", "--kernel-size", "5", "--out-channels", "8",
        "--out", "mine.safetensors", "--json",
    ]  # fmt: skip
    said = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert (said["file"], said["shape"]) == ("mine.safetensors", [4, 1, 5, 5])
    assert said["fingerprint"] == load_dataset("digits").fingerprint
    assert said["method"] == "whitening"
    first = (here / "mine.safetensors").read_bytes()
    CliRunner().invoke(app, arguments)
    assert (here / "mine.safetensors").read_bytes() == first  # the same command, the same bytes
    with torch.random.fork_rng():
        model = nn.Conv2d(1, 16, 5)
    report = load_filters_(model, here / "mine.safetensors")
    assert (report.method, report.filters_set) == ("whitening", 4)
    assert report.parameters["dataset"] == "digits"


def test_the_command_takes_as_many_images_as_there_are(here: Path) -> None:
    ended = CliRunner().invoke(app, ["filters", "digits", "--n-images", "9999", "--json"])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["images"] == "1438"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digit"], "Did you mean 'digits'?"),
        (["digits", "--arm", "prewram"], "Did you mean 'prewarm'?"),
        (["digits", "--out", "none/a.safetensors"], "cannot be written"),
    ],
)
def test_the_command_says_what_is_wrong(here: Path, arguments: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, ["filters", *arguments])
    assert ended.exit_code == 2
    assert said in ended.output
    assert not list(here.iterdir())
