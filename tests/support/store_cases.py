"""A result and a planned run, as a store takes them."""

from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec

RESULT = RunResult(
    metrics={"accuracy": 0.1 + 0.2, "loss": 1e-300},
    train_loss=(2.5, float("inf"), 1 / 3),
    eval_steps=(1, 2),
    eval_metrics={"accuracy": (0.5, 0.1 + 0.2), "loss": (float("nan"), 1e-300)},
    weights_digest="ab" * 32,
    init_report={"arm": "mine", "parameters": {"scale": 0.1, "kernel": (3, 3)}, "notes": ()},
    init_seconds=0.25,
    train_seconds=1.5,
)


PLACE = {"torch": "2.13.0", "device": "cpu"}


def run(key: str) -> PlannedRun:
    spec = RunSpec(
        dataset="digits",
        model="simplecnn",
        arm=ArmSpec(name="prewarm", parameters={"scale": 0.1}),
        seed=7,
        protocol=Protocol(steps=2),
    )
    return PlannedRun(spec, {"scale": 0.1, "patches_per_image": 23}, key)
