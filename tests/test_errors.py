"""An error's text and its fields say the same, also in another process."""

import pickle

import pytest

from warminit.errors import WarminitError, unknown
from warminit.lab.study.builtin import load_study


def test_errors_carry_what_they_name() -> None:
    with pytest.raises(WarminitError) as told:
        load_study("tabel3")
    fault = told.value
    assert (fault.name, fault.value, fault.next_step) == (
        "study",
        "'tabel3'",
        "Did you mean 'table3'?",
    )
    assert str(fault) == f"study='tabel3': expected {fault.expected}. {fault.next_step}"
    # A worker process sends its errors by pickle.
    again = pickle.loads(pickle.dumps(fault))
    assert (type(again), str(again), again.name) == (type(fault), str(fault), "study")


def test_an_unknown_name_among_many_lists_no_others() -> None:
    many = [f"arm-{number}" for number in range(40)]
    assert str(unknown("arm", "arm-411", many)) == (
        "arm='arm-411': expected one of 40 names, for example 'arm-0'. Did you mean 'arm-11'?"
    )
    assert str(unknown("arm", "x", ["a", "b", "c"])) == "arm='x': expected a, b or c."
