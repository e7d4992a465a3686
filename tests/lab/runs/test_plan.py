"""A run's key stands for its bits: what decides them is in it, and nothing else."""

import linecache
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from study_cases import PATIENCE, environment, tiny_study, write_data
from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.initializers.stems.design_rules import derive_rules
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.driver import Listener, plan, run_study
from warminit.lab.engines.estimate import Estimate, estimate
from warminit.lab.engines.job import DataSource, keep_freed_memory
from warminit.lab.engines.local import default_workers
from warminit.lab.runs import environment as environment_module
from warminit.lab.runs import plan as plan_module
from warminit.lab.runs.batches import Split
from warminit.lab.runs.plan import PlannedRun, plan_runs
from warminit.lab.study.study import Study

PROTOCOL: dict[str, Any] = {"steps": 4, "batch_size": 16}


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "name": "plan",
        "datasets": ["digits"],
        "arms": [{"name": "prewarm", "n_filters": 8, "scale": 0.1}],
        "baseline": "prewarm(n_filters=8, scale=0.1)",
        "seeds": [7],
        "protocol": PROTOCOL,
    }
    values |= changes
    if "baseline" not in changes and "arms" in changes:
        values.pop("baseline")
    return Study.create(**values)


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    # Colour, where the rules measure patches rather than look for two modes.
    return make_dataset(shape=(3, 8, 8))


def keys(asked: Study, dataset: ImageDataset, **options: Any) -> list[str]:
    datasets = dict.fromkeys(asked.datasets, dataset)
    return [run.key for run in plan_runs(asked, datasets, **options)]


def arm(**parameters: Any) -> dict[str, Any]:
    chosen = {"name": "prewarm", "n_filters": 8, "scale": 0.1} | parameters
    inside = ", ".join(f"{key}={chosen[key]}" for key in sorted(chosen) if key != "name")
    return {"arms": [chosen], "baseline": f"{chosen['name']}({inside})"}


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seeds": [8]},
    "model": {"models": ["resnet20"]},
    "arm": {"arms": ["torch-default"]},
    "parameter": arm(scale=0.2),
    "another parameter": arm(patches_per_image=9),
    "steps": {"protocol": {**PROTOCOL, "steps": 5}},
    "batch size": {"protocol": {**PROTOCOL, "batch_size": 17}},
    "optimizer": {"protocol": {**PROTOCOL, "optimizer": "sgd"}},
    "weight decay": {"protocol": {**PROTOCOL, "weight_decay": 0.1}},
    "first rate": {"protocol": {**PROTOCOL, "lr_start": 0.1}},
    "last rate": {"protocol": {**PROTOCOL, "lr_end": 0.0}},
    "schedule": {"protocol": {**PROTOCOL, "schedule": "constant"}},
    "augmentation": {"protocol": {**PROTOCOL, "augmentation": "flip-crop"}},
    "evaluations": {"protocol": {**PROTOCOL, "eval_interval": 2}},
    "precision": {"protocol": {**PROTOCOL, "precision": "bfloat16"}},
    "validation": {"validation": 10},
    "rates of the data set": {"datasets": ["svhn"]},
}


def test_everything_that_decides_a_run_makes_another_key(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"as it is": keys(study(), dataset)}
    found |= {name: keys(study(**change), dataset) for name, change in CHANGES.items()}
    found["threads"] = keys(study(), dataset, threads=2)
    monkeypatch.setattr(plan_module, "device_kind", lambda device: f"a {device}")
    found["device"] = keys(study(), dataset)
    monkeypatch.undo()
    monkeypatch.setattr(plan_module, "NUMERIC_VERSION", environment_module.NUMERIC_VERSION + 1)
    found["code"] = keys(study(), dataset)
    monkeypatch.undo()
    found["data"] = keys(study(), replace(dataset, fingerprint="of other data"))
    assert all(len(each) == 1 and len(each[0]) == 64 for each in found.values())
    assert len({each[0] for each in found.values()}) == len(found) == len(CHANGES) + 5
    assert keys(study(), replace(dataset)) == found["as it is"]


@pytest.mark.parametrize(
    "change",
    [
        {"arms": [{"scale": 0.1, "n_filters": 8, "name": "prewarm"}]},
        {"name": "another", "description": "Words."},
        {"metric": "train_loss", "margin": 0.01},
        {"protocol": dict(reversed(PROTOCOL.items()))},
    ],
)
def test_what_decides_nothing_leaves_the_key(dataset: ImageDataset, change: dict[str, Any]) -> None:
    baseline = {"baseline": "prewarm(n_filters=8, scale=0.1)"}
    assert keys(study(**baseline, **change), dataset) == keys(study(), dataset)


def test_a_key_is_the_same_in_every_process() -> None:
    # Two processes hash strings differently; a key that did would never be found again.
    code = (
        "from warminit.lab.study.protocol import Protocol\n"
        "from warminit.lab.study.spec import ArmSpec, RunSpec\n"
        "from warminit.lab.runs.plan import _key\n"
        "from training_cases import make_dataset\n"
        "spec = RunSpec(dataset='d', model='simplecnn', seed=7, protocol=Protocol(steps=2),\n"
        "    arm=ArmSpec(name='prewarm', parameters={'b': 1, 'a': 0.1}))\n"
        "print(_key(spec, {'b': 1, 'a': 0.1, 'c': 'x'}, make_dataset(), 'cpu', 1))"
    )
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            timeout=PATIENCE, env=environment() | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(done.stdout)
    # As in the stores of today: it changes with NUMERIC_VERSION alone.
    assert found == {"f8c97f4fe31f0ee3e449b6ae611afce789fceb0cd850249ee68a527b61ff94b1\n"}


def test_a_user_s_code_is_part_of_the_key(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "my_model_for_keys.py"
    text = (
        "from warminit.lab.networks.simple import SimpleCNN\n"
        "def build(in_channels, image_size, n_classes):\n"
        "    return SimpleCNN(in_channels, image_size, n_classes)\n"
    )
    found = []
    for change in ("", "# and a change\n"):
        module.write_text(text + change, encoding="utf-8")
        asked = study(models=["my_model_for_keys:build"])
        linecache.checkcache()
        found += keys(asked, dataset)
    assert len(set(found)) == 2


# ---------------------------------------------------------------- the plan
def test_arms_get_the_rules_of_the_training_split_and_the_study_s_own_values(
    dataset: ImageDataset,
) -> None:
    arms = [
        "torch-default",
        "prewarm",
        {"name": "prewarm", "patches_per_image": 3, "algorithm": "fast"},
    ]
    default, derived, given = plan_runs(study(arms=arms), {"digits": dataset})
    wanted = derive_rules(dataset.train_images, 32, (3, 3)).n_patches
    assert default.arm_parameters == {}
    assert derived.arm_parameters == {"patches_per_image": wanted, "algorithm": "paper"}
    assert given.arm_parameters == {"patches_per_image": 3, "algorithm": "fast"}


def test_what_is_applied_together_gets_what_each_gets_alone(dataset: ImageDataset) -> None:
    arms = [
        "whitening",
        "whitening+zero-residual",
        {"name": "whitening+zero-residual", "zero_residual__value": [0.1, 0.2]},
    ]
    alone, together, *swept = plan_runs(study(arms=arms, baseline="whitening"), {"digits": dataset})
    wanted = {f"whitening__{key}": each for key, each in alone.arm_parameters.items()}
    assert together.arm_parameters == wanted != {}
    assert [run.arm_parameters["zero_residual__value"] for run in swept] == [0.1, 0.2]
    assert swept[0].spec.arm.label == "whitening+zero-residual(zero_residual__value=0.1)"
    assert len({run.key for run in (alone, together, *swept)}) == 4


def test_a_user_s_code_in_a_list_is_part_of_the_key(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "my_method_for_keys.py"
    found = []
    for change in ("", "# and a change\n"):
        module.write_text(f"def mine(model, images, *, seed): pass\n{change}", encoding="utf-8")
        linecache.checkcache()
        arms = ["torch-default", "whitening+my_method_for_keys:mine"]
        found += keys(study(arms=arms, baseline="torch-default"), dataset)
    assert len(set(found)) == 3


def test_published_patch_counts_are_table_1_s(dataset: ImageDataset) -> None:
    published = {"mnist": 58, "fashion-mnist": 22, "cifar10": 28, "svhn": 16, "cifar100": 16}
    asked = study(
        datasets=list(published), arms=["torch-default", "prewarm"], patch_counts="as-published"
    )
    found = {
        run.spec.dataset: run.arm_parameters["patches_per_image"]
        for run in plan_runs(asked, dict.fromkeys(published, dataset))
        if run.spec.arm.name == "prewarm"
    }
    assert found == published


def test_own_patch_counts_call_every_arm_as_init_does(dataset: ImageDataset) -> None:
    arms = ["torch-default", "prewarm", {"name": "whitening", "patches_per_image": 3}]
    runs = plan_runs(study(arms=arms, patch_counts="own"), {"digits": dataset})
    assert [run.arm_parameters for run in runs[:3]] == [{}, {}, {"patches_per_image": 3}]


def test_planning_leaves_the_global_generator(dataset: ImageDataset) -> None:
    before = torch.get_rng_state()
    keys(study(models=["simplecnn", "resnet20"]), dataset)
    assert torch.equal(before, torch.get_rng_state())


def test_the_work_of_a_run_is_counted_in_multiplications(dataset: ImageDataset) -> None:
    small, large = plan_runs(study(models=["simplecnn", "resnet20"]), {"digits": dataset})
    # By hand, for 8 x 8 pixels in 3 channels: two operations a weight and position.
    forward = 2 * (64 * 9 * 3 * 32 + 16 * 9 * 32 * 64 + 256 * 256 + 256 * 3)
    images = 3 * 4 * 16 + 4 * len(dataset.test_images)  # evaluated after every one of 4 steps
    assert small.work == forward * images
    assert large.work > 5 * small.work
    assert [run.work for run in plan_runs(study(), {"digits": dataset})] == [0]


@pytest.mark.parametrize(
    ("changes", "options", "text"),
    [
        ({"protocol": {"batch_size": 76}}, {}, "batch_size=76 is larger than the 75 training"),
        ({}, {"device": "cuda:99"}, r"device='cuda:99' is not available: .* Choose device='cpu'"),
        ({}, {"device": "tpu"}, "device='tpu' is not available"),
        ({}, {"device": "cuda:x"}, "device='cuda:x' is not available"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(
    dataset: ImageDataset, changes: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(WarminitError, match=text):
        keys(study(**changes), dataset, **options)


def test_a_validation_split_that_is_too_large_is_refused(tmp_path: Path) -> None:
    asked = tiny_study(write_data(tmp_path), validation=96)
    with pytest.raises(WarminitError, match="96"):
        plan(asked, DataSource())


def test_loading_is_told_with_the_data_set_s_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Pixels in a .npz need no decoding, so one PNG a class is read in their place.
    from PIL import Image

    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (8, 8), (number * 20, 40, 90)).save(folder / f"{number}.png")
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))
    told: list[tuple[str, int, int]] = []
    asked = tiny_study(tmp_path / "photos", arms=["torch-default"], protocol={"batch_size": 8})
    listener = Listener(loading=lambda *each: told.append(each))
    run_study(asked, tmp_path / "out", DataSource(), listener=listener)
    assert told[-1] == (str(tmp_path / "photos"), 32, 32)
    told.clear()
    run_study(asked, tmp_path / "out", DataSource(), listener=listener)
    assert not told  # it is cached


# ---------------------------------------------------------------- the estimate
@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlannedRun, ...]:
    data = write_data(tmp_path_factory.mktemp("data"), n_test=1500)
    protocol = {"steps": 200, "batch_size": 16, "eval_interval": 100}
    return plan(tiny_study(data, seeds=4, protocol=protocol), DataSource())


def test_the_estimate_measures_and_counts(planned: tuple[PlannedRun, ...]) -> None:
    before = torch.get_num_threads()
    whole = estimate(planned, DataSource(), workers=1)
    assert torch.get_num_threads() == before
    assert (whole.runs, whole.to_do) == (8, 8)
    # 200 steps of this network take over 0.05 s on anything.
    assert whole.seconds > 8 * 0.05
    # Losses of about 19 characters, 200 a run; the curves and the report are small.
    assert 8 * 200 * 15 < whole.megabytes * 1e6 < 8 * (200 * 24 + 4000)


def test_the_estimate_scales_with_what_is_left(
    planned: tuple[PlannedRun, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from warminit.lab.engines import estimate as module

    monkeypatch.setattr(module, "_measure", lambda *_: (10.0, 4.0, 500))
    source = DataSource()
    done = {run.key for run in planned[:5]}
    assert estimate(planned, source, workers=1) == Estimate(8, 8, 80.0, 0.004, 0.4)
    assert estimate(planned, source, done, workers=1) == Estimate(8, 3, 30.0, 0.004, 0.4)
    assert estimate(planned, source, done, workers=2).seconds == 15.0
    assert estimate(planned, source, done, workers=9).seconds == 10.0  # that of the longest
    assert estimate(planned, source, {run.key for run in planned}).seconds == 0


def test_evaluations_count_by_the_size_of_the_test_split(
    planned: tuple[PlannedRun, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from warminit.lab.engines import estimate as module

    shown: list[int] = []

    def half_a_second(_model: object, split: Split, *_: object) -> None:
        shown.append(len(split.images))
        time.sleep(0.5)

    monkeypatch.setattr(module, "evaluate", half_a_second)
    dataset = DataSource().load(planned[0].spec.dataset)
    assert module._evaluation_seconds(planned[0], dataset, DataSource()) == pytest.approx(
        0.5 * 1500 / 500, rel=0.2
    )
    assert shown == [500]


# ---------------------------------------------------------------- workers
def test_workers_fill_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert [default_workers(threads) for threads in (1, 2, 4, 6, 8)] == [6, 3, 1, 1, 1]


def test_freed_memory_is_kept_where_there_is_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Glibc:
        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return int(value <= 32 << 20)  # as versions before 2.35 do

    monkeypatch.setattr("ctypes.CDLL", lambda _: Glibc())
    keep_freed_memory()
    # M_MMAP_THRESHOLD is -3 and M_TRIM_THRESHOLD -1 in malloc.h.
    assert asked == [(-3, 1 << 30), (-3, 32 << 20), (-1, 1 << 30)]

    def no_glibc(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setattr("ctypes.CDLL", no_glibc)
    keep_freed_memory()
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    keep_freed_memory()
