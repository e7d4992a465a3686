"""the key `sequential` of a study: its short forms, the seeds it plans, what it refuses."""

import tomllib
from typing import Any

import pytest

from warminit.errors import WarminitError
from warminit.lab.study.builtin import changed_study
from warminit.lab.study.study import Study, default_seeds
from warminit.lab.study.toml import study_toml


def create(**values: Any) -> Study:
    return Study.create(
        **{"name": "a", "datasets": ["digits"], "arms": ["torch-default", "he-normal"], **values}
    )


@pytest.mark.parametrize(
    ("values", "seeds", "margin"),
    [
        ({"sequential": True}, default_seeds(18), 0.001),
        ({"sequential": True, "seeds": 6}, default_seeds(6), 0.001),
        ({"sequential": {"margin": 0.002}, "seeds": 18}, default_seeds(18), 0.002),
        ({"sequential": {"max_seeds": 9}, "margin": 0.003}, default_seeds(9), 0.003),
        ({"sequential": {"max_seeds": 3}, "margin": 0.003}, default_seeds(3), 0.003),
        ({"sequential": {"max_seeds": 5}, "seeds": [3, 7]}, (3, 7, 42, 13, 99), 0.001),
    ],
)
def test_seeds_are_planned_up_to_the_maximum(
    values: dict[str, Any], seeds: tuple[int, ...], margin: float
) -> None:
    study = create(**values)
    design = study.design()
    assert design is not None
    assert study.seeds == seeds
    assert (design.max_seeds, design.margin, study.margin) == (len(seeds), margin, margin)
    # Written out and read again it is the same study.
    assert create(**tomllib.loads(study_toml(study))) == study
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_the_family_is_every_comparison_of_the_study() -> None:
    study = create(
        datasets=["digits", "mnist"],
        models=["simplecnn", "resnet20"],
        arms=["torch-default", "he-normal", "dirac"],
        sequential=True,
    )
    design = study.design()
    assert design is not None
    assert design.family == 8
    assert create(sequential=False).design() is None


def test_a_number_of_seeds_changes_the_maximum() -> None:
    study = create(sequential={"looks": [4, 18], "futility": 0})
    changed = changed_study(study, seeds=4)
    assert changed.seeds == default_seeds(4)
    assert changed.sequential is not None
    assert (changed.sequential.futility, changed.sequential.looks) == (0, ())
    assert changed_study(study, seeds=[3, 4]).seeds == (3, 4, *default_seeds(16))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"sequential": 3}, "sequential=3: expected true, or a table"),
        ({"sequential": {"max_seed": 3}}, "sequential.max_seed: unknown key. Did you mean"),
        ({"sequential": {"margin": 0.1}, "margin": 0.2}, "sequential.margin=0.1: expected"),
        ({"sequential": {"max_seeds": 3}, "seeds": [1, 2, 3, 4]}, "seeds=4: expected at most"),
        ({"sequential": {"looks": [5, 4]}}, "looks=(5, 4): expected rising numbers"),
        ({"sequential": {"method": "z"}}, "sequential.method: Input should be 't' or 'betting'"),
        ({"sequential": True, "seeds": 1}, "max_seeds=1: expected a whole number from 2 to 100"),
        ({"sequential": True, "arms": ["torch-default"]}, "expected an arm beside the baseline"),
    ],
)
def test_what_is_no_design_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(WarminitError) as caught:
        create(**values)
    assert text in str(caught.value)
