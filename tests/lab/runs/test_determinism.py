"""A run is a pure function of its plan: wherever and whenever it is done, the same bits."""

from pathlib import Path

import pytest

from study_cases import facts, tiny_study, write_data
from warminit.lab.engines.driver import plan, run_study
from warminit.lab.engines.job import DataSource, execute
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    data = write_data(tmp_path_factory.mktemp("data"))
    return tiny_study(data, arms=["torch-default", "prewarm"], seeds=2)


def test_reruns_and_worker_counts_give_the_same_bits(
    study: Study, tmp_path: Path, one_thread: None
) -> None:
    one = run_study(study, tmp_path / "one", workers=1)
    two = run_study(study, tmp_path / "two", workers=2)
    assert len(one) == 4
    assert [facts(run) for run in one] == [facts(run) for run in two]
    # The same once more in this process, with nothing between the call and the training.
    for run, stored in zip(plan(study, DataSource()), one, strict=True):
        here = execute(run, None, source=DataSource())
        assert isinstance(here, RunResult)
        assert stored.result is not None
        assert run.key == stored.key
        assert here.weights_digest == stored.result.weights_digest
        assert here.eval_metrics == stored.result.eval_metrics
        assert here.train_loss == stored.result.train_loss


def test_the_runs_differ_from_each_other(study: Study, one_thread: None) -> None:
    # Or else the test above would show nothing.
    outcomes = [execute(run, None, source=DataSource()) for run in plan(study, DataSource())]
    digests = {outcome.weights_digest for outcome in outcomes if isinstance(outcome, RunResult)}
    assert len(digests) == 4
