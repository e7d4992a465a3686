"""Evaluations of a short run cost at most a tenth of it, and every longer run keeps its own."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_cases import make_dataset
from warminit.initializers.network.variance_rules import torch_default
from warminit.lab.runs.plan import plan_runs
from warminit.lab.runs.train import train
from warminit.lab.study.protocol import Protocol, affordable_interval
from warminit.lab.study.study import Study


@given(st.integers(1, 4999), st.integers(2, 512), st.integers(1, 30_000))
def test_the_default_costs_at_most_a_tenth_or_is_one_evaluation(
    steps: int, batch_size: int, n_evaluated: int
) -> None:
    protocol = Protocol(steps=steps, batch_size=batch_size)
    interval = affordable_interval(protocol, n_evaluated)
    chosen = protocol.model_copy(update={"eval_interval": interval})
    evaluations = chosen.evaluation_steps
    # Counted by hand: a step is a forward pass and a backward pass of twice its size.
    training, evaluating = 3 * steps * batch_size, len(evaluations) * n_evaluated
    assert evaluations[-1] == steps
    assert len(evaluations) == 1 or evaluating <= 0.1 * (training + evaluating)
    assert len(evaluations) <= len(protocol.evaluation_steps)
    if interval is None:
        assert evaluations == protocol.evaluation_steps


def test_runs_of_the_papers_length_and_given_intervals_stay() -> None:
    for images in (2_000, 10_000, 26_032):
        assert affordable_interval(Protocol(), images) is None
        assert affordable_interval(Protocol(steps=40, eval_interval=2), images) is None
    assert len(Protocol().evaluation_steps) == 20


def test_the_interval_is_planned_for_each_data_set_and_is_in_the_key() -> None:
    few = make_dataset(shape=(3, 8, 8))
    many = replace(
        few,
        test_images=few.test_images.repeat(40, 1, 1, 1),
        test_labels=few.test_labels.repeat(40),
    )
    datasets = {"digits": few, "mnist": many}

    def planned(**protocol: Any) -> Any:
        study = Study.create(
            name="cost", datasets=list(datasets), arms=["torch-default"], seeds=1,
            protocol={"steps": 200, "batch_size": 16, **protocol},
        )  # fmt: skip
        return plan_runs(study, datasets)

    chosen = [run.spec.protocol.eval_interval for run in planned()]
    expected = [affordable_interval(Protocol(steps=200, batch_size=16), len(data.test_images))
                for data in datasets.values()]  # fmt: skip
    assert chosen == expected
    assert chosen[0] != chosen[1] is not None
    # What was done with the twenty evaluations of before is another run, and so another key.
    before = planned(eval_interval=10)
    assert {run.key for run in before}.isdisjoint(run.key for run in planned())
    assert planned(eval_interval=chosen[1])[1].key == planned()[1].key


@pytest.mark.parametrize("steps", [5000, 20_000])
def test_a_long_run_is_planned_as_it_was_asked_for(steps: int) -> None:
    data = make_dataset(shape=(3, 8, 8))
    study = Study.create(
        name="cost", datasets=["digits"], arms=["torch-default"], seeds=1,
        protocol={"steps": steps, "batch_size": 2},
    )  # fmt: skip
    (run,) = plan_runs(study, {"digits": data})
    assert run.spec.protocol == study.protocol


@given(st.integers(1, 10_000), st.integers(2, 512), st.integers(1, 30_000))
def test_where_times_are_asked_for_there_are_fifty_or_they_cost_three_tenths(
    steps: int, batch_size: int, n_evaluated: int
) -> None:
    protocol = Protocol(steps=steps, batch_size=batch_size)
    interval = affordable_interval(protocol, n_evaluated, fine=True)
    assert interval is not None
    evaluations = protocol.model_copy(update={"eval_interval": interval}).evaluation_steps
    training, evaluating = 3 * steps * batch_size, len(evaluations) * n_evaluated
    if steps >= 5000:
        assert 50 <= len(evaluations) <= 51
    else:
        assert len(evaluations) == 1 or evaluating <= 0.3 * (training + evaluating)
    given_one = protocol.model_copy(update={"eval_interval": 7})
    assert affordable_interval(given_one, n_evaluated, fine=True) is None


def test_thresholds_make_evaluations_finer_and_change_no_weight() -> None:
    data = make_dataset(shape=(3, 8, 8))
    usual, fine = (
        Study.create(
            name="cost",
            datasets=["digits"],
            arms=["torch-default"],
            seeds=1,
            protocol={"steps": 60, "batch_size": 16},
            thresholds=thresholds,
        )
        for thresholds in ((), (0.9,))
    )
    (few,), (many,) = (plan_runs(study, {"digits": data}) for study in (usual, fine))
    assert len(few.spec.protocol.evaluation_steps) < len(many.spec.protocol.evaluation_steps)
    assert few.key != many.key
    trained = [train(data, run.spec, arm=torch_default, arm_parameters={}) for run in (few, many)]
    assert trained[1].eval_steps == many.spec.protocol.evaluation_steps
    assert trained[0].weights_digest == trained[1].weights_digest
    assert trained[0].metrics == trained[1].metrics
