"""`warminit try` -> its cost first, then one sentence and a page, on a network of one's own."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_cases import invoke, plain, stubbed
from study_cases import write_data
from study_runs import result
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult

NETWORK = """
from torch import nn

def small(in_channels, image_size, n_classes):
    pixels = image_size[0] * image_size[1]
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * pixels, n_classes),
    )
"""


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, ...]:
    plain(monkeypatch, tmp_path)
    Path("my_network_to_try.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_network_to_try", raising=False)
    images = str(write_data(tmp_path))
    return (
        "try", "my_network_to_try:small", "--images", images, "--steps", "4", "--batch-size", "16",
        "--max-seeds", "8", "--workers", "1",
    )  # fmt: skip


def by(gain: float, noise: float) -> Callable[[PlannedRun], RunResult]:
    """Return outcomes in which the arm has so much more accuracy than torch's default."""

    def outcome(run: PlannedRun) -> RunResult:
        luck = run.spec.seed % 7 / 200
        own = gain + noise * (run.spec.seed % 5 - 2) if run.spec.arm.name != "torch-default" else 0
        return result(0.7 + luck + own, steps=run.spec.protocol.evaluation_steps)

    return outcome


@pytest.mark.parametrize(
    ("gain", "noise", "begins", "has"),
    [
        (0.05, 0.001, "Yes, after 4 steps: whitening-small-head helps: ", "after 5 of at most 8"),
        (-0.05, 0.001, "No, after 4 steps: whitening-small-head harms: ", "after 5 of at most 8"),
        (0.0, 0.0005, "No, after 4 steps: ", "equivalent within 0.5 points"),
        (0.01, 0.05, "This study cannot tell, after 4 steps: ", "no detectable difference"),
    ],
)
def test_the_cost_comes_first_and_one_sentence_last(
    gain: float,
    noise: float,
    begins: str,
    has: str,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stubbed(monkeypatch, outcome=by(gain, noise))
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    cost = re.search(r"Cost: at most 16 runs of 4 steps, at most \d+ s on this machine", text)
    assert cost is not None
    assert cost.start() < text.index("try: 2 arms x at most 8 seeds") < text.index(begins)
    assert has in text[text.index(begins) :]
    assert Path("warminit-results/try/report.html").is_file()


def test_it_answers_in_json(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch, outcome=by(0.05, 0.001))
    done = invoke(*arguments, "--json", "--quiet")
    content = json.loads(done.stdout)
    assert content["answer"].startswith("Yes, after 4 steps")
    assert content["study"]["margin"] == 0.005
    # As `init_` calls it: the laboratory's patch counts are for its own networks.
    assert content["study"]["patch_counts"] == "own"


def test_an_unknown_network_is_one_clear_error(arguments: tuple[str, ...]) -> None:
    done = invoke("try", "my_network_to_try:smal", *arguments[2:])
    assert done.exit_code == 2
    assert "Did you mean 'small'?" in " ".join(done.output.split())
