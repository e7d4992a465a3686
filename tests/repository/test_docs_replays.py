"""docs/sequential.md -> its tables of kept studies are what tools/replay_tables.py writes."""

import pytest

import replay_tables
from replay_tables import MARKS, PAGE, placed, replayed, tables

TEXT = PAGE.read_text(encoding="utf-8")
INSIDE = TEXT[TEXT.index(MARKS[0]) : TEXT.index(MARKS[1])].splitlines()


@pytest.mark.parametrize("name", ["robustness-mnist", "robustness-models"])
def test_the_rows_of_a_study_are_what_its_kept_runs_give(name: str) -> None:
    lines = [line for line in tables([replayed(name)]) if line.startswith(f"| {name} |")]
    assert lines == [line for line in INSIDE if line.startswith(f"| {name} |")]
    assert lines


def test_a_replay_runs_no_more_than_it_needs_and_pairs_what_it_runs() -> None:
    found = replayed("robustness-mnist")
    kept = {run.key for run in found.fixed.runs}
    assert {run.key for run in found.sequential.runs} < kept
    assert found.sequential.missing == 0
    ((_, _, after),) = found.pairs()
    assert len(found.sequential.runs) == 2 * after.n


def test_every_replayed_study_is_in_the_table() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in INSIDE if line.startswith("| ")]
    assert [name for name in rows if name in replay_tables.names()][
        : len(replay_tables.names())
    ] == (replay_tables.names())


@pytest.mark.full
def test_writing_the_tables_again_changes_nothing() -> None:
    lines = list(tables([replayed(name) for name in replay_tables.names()]))
    assert placed(TEXT, lines) == TEXT
