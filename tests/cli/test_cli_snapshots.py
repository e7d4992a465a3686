"""every command and every `--help` -> its output at 80 columns, compared with tests/cli/snapshots.

A changed text is looked at and then written anew, all of them or some:

    WARMINIT_SNAPSHOTS=write python -m pytest tests/cli/test_cli_snapshots.py [-k compare]
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from cli_cases import failing, invoke, plain, stubbed
from dataset_files import png, write_parquet
from warminit.cli import app
from warminit.lab.data.load import load_dataset

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("WARMINIT_SNAPSHOTS") == "write"
GROUP: Any = typer.main.get_command(app)
COMMANDS = tuple(GROUP.commands)

SMALL = (
    "compare", "--datasets", "digits", "--seeds", "4", "--arms",
    "torch-default,prewarm,norm-matched-random",
)  # fmt: skip

MASKS = (
    (r"^(\[\d+/\d+, )\d+ s\]", r"\g<1>0 s]"),  # seconds since the study began
    (r"about [\d hmins]+, from", "about 0 s, from"),
    (r"about [\d.]+ MB", "about 0.0 MB"),
    (r"\d+ % of it for evaluations", "0 % of it for evaluations"),
)
"""What differs from machine to machine: times, and sizes that follow from them."""


def masked(text: str) -> str:
    for found, shown in MASKS:
        text = re.sub(found, shown, text, flags=re.MULTILINE)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def held(name: str, text: str) -> None:
    """Compare a text with its snapshot, or write it; no line may be wider than the terminal."""
    assert [line for line in text.splitlines() if len(line) > 80] == []
    file = SNAPSHOTS / f"{name}.txt"
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.is_file(), f"no snapshot {file.name}; WARMINIT_SNAPSHOTS=write makes it"
    assert text == file.read_text("utf-8")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain(monkeypatch, tmp_path)
    (tmp_path / "hub").mkdir()


# ---------------------------------------------------------------- help
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str) -> None:
    ended = invoke(*command.split(), "--help")
    assert ended.exit_code == 0
    if command:  # an example that is broken into lines cannot be copied
        examples = GROUP.commands[command].epilog.splitlines()
        assert {line.strip() for line in examples} <= {
            line.strip() for line in ended.output.splitlines()
        }
    held(f"help-{command}" if command else "help", masked(ended.output))


# ---------------------------------------------------------------- what needs no runs
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("arms", ("arms",)),
        ("models", ("models",)),
        ("datasets", ("datasets",)),
        ("datasets-at-a-root", ("datasets", "--data-root", "hub")),
        ("rules", ("rules",)),
        ("rules-of-a-larger-layer", ("rules", "--out-channels", "64", "--kernel-size", "5")),
        ("filters", ("filters", "fashion-mini")),
        ("filters-whitening", ("filters", "digits", "--arm", "whitening", "--out", "mine.st")),
        ("reproduce-table1", ("reproduce", "table1", "--data-root", "hub")),
        ("reproduce-table2", ("reproduce", "table2", "--data-root", "hub")),
        ("reproduce-table3", ("reproduce", "table3", "--data-root", "hub")),
        ("reproduce-grid", ("reproduce", "grid", "--data-root", "hub")),
        ("dry-run", ("run", "demo", "--steps", "3", "--batch-size", "8", "--dry-run")),
    ],
)
def test_without_runs(
    name: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor: Callable[..., str] = lambda *_: "a processor, 1 thread"  # noqa: E731
    monkeypatch.setattr("warminit.lab.paper.rules_tables.processor", processor)
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.output
    held(name, masked(ended.output))


def test_diagnose() -> None:
    ended = invoke("diagnose", "--datasets", "digits", "--arms", "torch-default,prewarm")
    assert ended.exit_code == 0, ended.output
    # Its numbers are computed in float32: the last digits, and how many there are, may differ.
    text = re.sub(r" +\d+\.\d+", lambda found: "#.##".rjust(len(found[0])), ended.output)
    held("diagnose", masked(text))


# ---------------------------------------------------------------- studies
def test_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch)
    ended = invoke(*SMALL)
    assert ended.exit_code == 0, ended.output
    held("compare", masked(ended.output))
    again = invoke(*SMALL, "--quiet")
    held("compare-quiet", masked(again.output))
    for command, *more in (("report",), ("export",), ("export", "--format", "latex")):
        ended = invoke(command, "compare", *more)
        held("-".join([command, *more[1:]]), masked(ended.output))


def test_compare_with_a_failing_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch, outcome=failing("prewarm", "Traceback\nRuntimeError: out of memory"))
    ended = invoke(*SMALL)
    assert ended.exit_code == 1
    held("compare-failed", masked(ended.output))


def test_compare_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch, stop_after=5)
    ended = invoke("compare", "--seeds", "3", "--arms", "torch-default,prewarm")
    assert ended.exit_code == 130
    held("compare-interrupted", masked(ended.output))


def test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch)
    ended = invoke("run", "control", "--datasets", "digits", "--rule-derived", "--seeds", "2")
    assert ended.exit_code == 0, ended.output
    held("run", masked(ended.output))


@pytest.mark.parametrize("table", ["table3", "grid"])
def test_reproduce_what_trains(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("hub/zalando-datasets/fashion_mnist/fashion_mnist")
    images = load_dataset("fashion-mini")
    labels = images.train_labels.tolist()
    held_out = [500 + labels[500:].index(label) + skip for label in range(10) for skip in (0, 1)]
    rows = [*range(500), *held_out]  # every class is in the test split
    encoded: list[bytes | None] = [png(image) for image in images.train_images[rows, 0].numpy()]
    labels = [labels[row] for row in rows]
    write_parquet(folder / "train-00000-of-00001.parquet", encoded[:500], labels[:500])
    write_parquet(folder / "test-00000-of-00001.parquet", encoded[500:], labels[500:])
    stubbed(monkeypatch)
    ended = invoke(
        "reproduce", table, "--datasets", "fashion-mnist", "--data-root", "hub", "--quiet",
        "--seeds", "2",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    held(f"reproduce-{table}-partial", masked(ended.output))


# ---------------------------------------------------------------- the folder itself
def test_no_snapshot_is_left_over() -> None:
    text = Path(__file__).read_text("utf-8")
    for file in SNAPSHOTS.glob("*.txt"):
        known = file.stem in text or file.stem.removeprefix("help-") in COMMANDS
        assert known or file.stem == "export-latex" or "-partial" in file.stem, file
