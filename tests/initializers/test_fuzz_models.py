"""Models that disturb themselves and raise at a drawn step: what is the caller's stays."""

import warnings
from collections import Counter

import pytest

from faulty_models import Case, drawn_case, everything
from robustness import Robustness
from warminit import init_
from warminit.errors import WarminitError
from warminit.initializers import method_names

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = list(method_names())


def outcome(case: Case) -> str:
    """Arm the fault, call once, and compare everything with before."""
    options = {} if case.arm == "small-head" else dict(case.options)
    before, but_weights = everything(case), everything(case, weights=False)
    case.inner.fault.armed = True
    found, error = "set", None
    try:
        with warnings.catch_warnings(action="ignore"):
            init_(case.model, case.images, case.arm, **options)
    except WarminitError as refused:
        found, error = "refused", refused
    except (KeyboardInterrupt, SystemExit):  # those that are injected
        found = "stopped"
    case.inner.fault.armed = False
    if error is not None:
        assert len(str(error)) > 20
    after = everything(case, weights=found != "set")
    assert after == (but_weights if found == "set" else before), found
    return found


def count(n: int) -> Counter[str]:
    counts: Counter[str] = Counter(models=n, set=0, refused=0, stopped=0)
    for seed in range(n):
        case = drawn_case(seed, METHODS)
        try:
            counts[outcome(case)] += 1
        except BaseException as error:
            fault = case.inner.fault
            raise AssertionError(
                f"model {seed}, {case.arm}, {case.inner.habits}, {fault.place}, {fault.kind}: "
                f"{type(error).__name__}: {error}"
            ) from error
    return counts


def test_a_sample_of_models_is_set_or_as_before() -> None:
    counts = count(150)
    # Faults that never strike, or always, would show nothing.
    assert min(counts["set"], counts["refused"]) > 20
    assert counts["stopped"] > 3


@pytest.mark.full
def test_two_thousand_models_are_set_or_as_before(robustness: Robustness) -> None:
    counts = count(2000)
    robustness.record("models with an injected exception", counts)
    assert counts["set"] + counts["refused"] + counts["stopped"] == 2000
