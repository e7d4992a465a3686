"""made-up scores -> studies as the demo gives them, with curves, failures and hostile names."""

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np

from study_runs import ENVIRONMENT, result, stored
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.study.builtin import load_study
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import Analysis, analyse

EVAL_STEPS = (50, 100, 150, 200)
DERIVED: dict[str, dict[str, Any]] = {
    "prewarm": {"patches_per_image": 22, "algorithm": "paper"},
    "whitening": {"patches_per_image": 22},
    "whitening-small-head": {"patches_per_image": 22},
}
"""What the laboratory derives from the embedded images for these arms."""

EFFECTS = {"torch-default": 0.0, "prewarm": 0.0012, "norm-matched-random": -0.012}


def curves(seed: int, effect: float, rng: np.random.Generator) -> RunResult:
    """Return a run of 200 steps whose accuracy rises and whose loss falls."""
    luck = 0.004 * math.sin(seed)
    final = float(np.clip(0.8 + luck + effect + rng.normal(0, 0.0015), 0, 1))
    loss = 2.3 * np.exp(-np.arange(200) / 60) + 0.4 + rng.normal(0, 0.05, 200)
    return result(
        final,
        curve=[final - 0.2, final - 0.08, final - 0.02, final],
        steps=EVAL_STEPS,
        train_loss=[round(float(value), 6) for value in loss],
    )


def demo_study(**changes: Any) -> Study:
    return Study.model_validate(load_study("demo").model_dump() | changes)


def demo_runs(study: Study) -> list[StoredRun]:
    """Return every run of a study with these arms: one does no good, one harm."""
    rng = np.random.default_rng(3)
    runs = []
    for dataset in study.datasets:
        results = {
            (arm.label, seed): curves(seed, EFFECTS.get(arm.label, 0.0), rng)
            for arm in study.arms
            for seed in study.seeds
        }
        found = stored(study, results, dataset=dataset, environment={**ENVIRONMENT, "cores": "2"})
        runs += [replace(run, arm_parameters=DERIVED.get(run.spec.arm.name, {})) for run in found]
    return runs


@functools.cache
def demo(**changes: Any) -> Analysis:
    """Return the demo study, finished, or a change of it."""
    study = demo_study(**changes)
    return analyse(study, demo_runs(study))


@functools.cache
def grid() -> Analysis:
    """Return a grid search of four seeds in which 16 clusters help a little."""
    rng = np.random.default_rng(1)
    study = load_study("grid")
    study = Study.model_validate(study.model_dump() | {"seeds": study.seeds[:4]})
    results = {}
    for arm in study.arms:
        gain = 0.01 if arm.parameters.get("n_clusters") == 16 else 0.0
        for seed in study.seeds:
            results[arm.label, seed] = result(
                0.8, train_loss=[0.5 - gain + float(rng.normal(0, 0.01))]
            )
    return analyse(study, stored(study, results))


def partly(**changes: Any) -> Analysis:
    """Return the demo study with a failed run, five seeds done and three to do."""
    study = demo_study(**changes)
    runs = [run for run in demo_runs(study) if run.spec.seed in study.seeds[:5]]
    error = "Traceback (most recent call last):\n  File, line 1\nValueError: <b>no</b> memory"
    runs[1] = replace(runs[1], result=None, error=error)
    return analyse(study, runs)


ATTACK = "<script>window.attacked = 1</script>"
IMAGE = '"><img src=x onerror="window.attacked = 1">'


@functools.cache
def hostile() -> tuple[Analysis, dict[str, ImageDataset]]:
    """Return a study whose names, classes and errors all try to become code."""
    name = f"folder/{ATTACK}{IMAGE}"
    sweep = {"name": "prewarm", "parameters": {"scale": 0.2, "engine": "</script " + IMAGE}}
    study = demo_study(
        datasets=(name,), arms=("torch-default", sweep), description=f"{ATTACK}{IMAGE}"
    )
    runs = demo_runs(study)
    runs[0] = replace(runs[0], result=None, error=f"Traceback\nValueError: {ATTACK}{IMAGE}")
    runs[1] = replace(runs[1], environment={**ENVIRONMENT, "processor": ATTACK})
    mini = load_dataset("fashion-mini")
    classes = (ATTACK, IMAGE, *mini.class_names[2:])
    return analyse(study, runs), {name: replace(mini, name=name, class_names=classes)}
