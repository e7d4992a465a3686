"""Analysis -> files: read back with pandas and json, columns worked out by hand."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from study_runs import result, scored, small_study, stored
from warminit.errors import WarminitError
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.export import export, to_json, to_latex
from warminit.lab.verdict.rows import run_rows, summary


@pytest.fixture
def analysis() -> Analysis:
    study = small_study(arms=["torch-default", "prewarm"], seeds=2)
    first, second = study.seeds
    return analyse(
        study,
        stored(
            study,
            {
                ("torch-default", first): result(0.80, curve=[0.40, 0.60, 0.76, 0.80]),
                ("torch-default", second): result(0.90, curve=[0.50, 0.76, 0.85, 0.90]),
                ("prewarm", first): result(
                    0.92,
                    curve=[0.5, 0.84, 0.86, 0.92],
                    top5_accuracy=0.99,
                    train_loss=[math.nan, 1],
                ),
                ("prewarm", second): "Traceback\nRuntimeError: broke",
            },
        ),
        partial=["digits"],
    )


def test_columns_of_a_run_by_hand(analysis: Analysis) -> None:
    rows = {(row["arm"], row["seed"]): row for row in run_rows(analysis)}
    row = rows["prewarm", 42]
    assert row["partial"] is True
    assert row["accuracy"] == row["accuracy_at_100_percent"] == 0.92
    assert [row[f"accuracy_at_{share}_percent"] for share in (25, 50, 75)] == [0.5, 0.84, 0.86]
    assert row["steps_to_accuracy_0.5"] == 50
    assert row["steps_to_accuracy_0.9"] == 200
    assert row["steps_to_accuracy_0.95"] is None
    # The baseline's mean final accuracy is (0.80 + 0.90) / 2 = 0.85, first passed at step 150.
    assert row["steps_to_baseline"] == 150
    assert row["accuracy_area"] == pytest.approx((0.5 + 0.84 + 0.86 + 0.92) / 4)
    assert (row["init_seconds"], row["train_seconds"]) == (0.25, 3.5)
    assert row["top5_accuracy"] == 0.99
    assert rows["prewarm", 7]["error"].endswith("broke")
    assert "accuracy" not in rows["prewarm", 7]


def test_accuracy_at_a_share_is_never_of_a_later_step() -> None:
    # Evaluations at 60, 120, 180 and 200 of 200 steps: at 25 % (50) nothing is measured yet, and
    # at 75 % (150) the last is that of step 120.
    study = small_study(arms=["torch-default"], seeds=1)
    one = result(0.9, curve=[0.1, 0.2, 0.3, 0.9], steps=[60, 120, 180, 200])
    (row,) = run_rows(analyse(study, stored(study, {("torch-default", 42): one})))
    shares = [row[f"accuracy_at_{share}_percent"] for share in (25, 50, 75, 100)]
    assert shares == [None, 0.1, 0.2, 0.9]


def test_a_run_without_curves_is_exported_too() -> None:
    study = small_study(arms=["torch-default"], seeds=1)
    bare = result(0.9, curve=[], steps=[], train_loss=[])
    bare = type(bare).from_dict(bare.to_dict() | {"eval_metrics": {}})
    (row,) = run_rows(analyse(study, stored(study, {("torch-default", 42): bare})))
    assert row["accuracy"] == 0.9
    assert "train_loss" not in row
    assert "accuracy_area" not in row


def test_csv_and_parquet_hold_the_same_rows(analysis: Analysis, tmp_path: Path) -> None:
    csv = pd.read_csv(export(analysis, tmp_path / "r.csv", "csv"))
    parquet = pd.read_parquet(export(analysis, tmp_path / "r.parquet", "parquet"))
    assert len(csv) == len(parquet) == 4
    assert list(csv.columns) == list(parquet.columns)
    assert csv["accuracy"].tolist()[:3] == parquet["accuracy"].tolist()[:3]
    steps = parquet["steps_to_accuracy_0.5"]
    assert str(steps.dtype) == "Int64"
    assert steps.dropna().tolist() == [100, 50, 50]
    assert csv["error"].isna().sum() == 3


def test_json_holds_everything_and_is_json(analysis: Analysis, tmp_path: Path) -> None:
    path = export(analysis, tmp_path / "r.json", "json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert content["partial"] == ["digits"]
    assert content["study"]["name"] == "small"
    by_seed = {(r["spec"]["arm"]["name"], r["spec"]["seed"]): r for r in content["runs"]}
    assert by_seed["prewarm", 42]["result"]["train_loss"] == [None, 1]
    assert content["comparisons"][0]["mean_difference"] == pytest.approx(0.12)
    assert content["failed"] == [
        {
            "dataset": "digits",
            "model": "simplecnn",
            "arm": "prewarm",
            "seed": 7,
            "error": "RuntimeError: broke",
        }
    ]


def test_json_that_is_written_run_by_run_is_laid_out_as_one(analysis: Analysis) -> None:
    nothing = analyse(analysis.study, [])
    for each, n_runs in (
        (analysis, 4),
        (replace(analysis, runs=analysis.runs[:1]), 1),
        (nothing, 0),
    ):
        text = to_json(each)
        assert text == json.dumps(json.loads(text), indent=1) + "\n"
        assert len(json.loads(text)["runs"]) == n_runs


def test_latex_is_a_table_that_compiles_in_form() -> None:
    study = small_study(
        arms=["torch-default", {"name": "prewarm", "patches_per_image": 16}], seeds=3
    )
    runs = scored(
        study,
        {"torch-default": [0.7, 0.72, 0.71], "prewarm(patches_per_image=16)": [0.8, 0.82, 0.815]},
    )
    text = to_latex(analyse(study, runs))
    assert text.startswith(r"\begin{tabular}")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 3
    columns = re.match(r"\\begin{tabular}{(\w+)}", text)
    assert columns is not None
    assert all(line.count(" & ") == len(columns[1]) - 1 for line in lines)
    assert r"prewarm(patches\_per\_image=16)" in lines[2]
    assert not re.search(r"(?<!\\)[_%#]", text.replace(r"\\", ""))
    # (0.8 - 0.7, 0.82 - 0.72, 0.815 - 0.71) is 0.1, 0.1, 0.105: mean 10.17 points, p < 0.01.
    assert "+10.17" in lines[2]
    assert "***" in lines[2]


def test_the_summary_names_verdicts_and_what_is_missing(analysis: Analysis) -> None:
    content = summary(analysis)
    assert content["missing_runs"] == 0
    assert len(content["verdicts"]) == 1
    assert [cell["partial"] for cell in content["cells"]] == [True, True]


def test_an_unknown_format_names_the_nearest(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(
        WarminitError, match=r"format='parkett': expected csv, .*\. Did you mean 'parquet'\?"
    ):
        export(analysis, tmp_path / "r", "parkett")


def test_a_file_that_cannot_be_written_is_named(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    target = tmp_path / "taken" / "r.csv"
    with pytest.raises(WarminitError, match=r"r\.csv cannot be written: .*--out"):
        export(analysis, target, "csv")


def test_a_failed_write_leaves_the_old_file_and_no_other(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(analysis, tmp_path / "r.csv", "csv")
    before = path.read_bytes()

    def half(self: pd.DataFrame, target: Path, **options: object) -> None:
        Path(target).write_text("half of", encoding="utf-8")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(WarminitError, match="No space left"):
        export(analysis, path, "csv")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["r.csv"]
