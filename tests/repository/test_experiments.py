"""An arm of the search's own -> what it says it leaves is left."""

import copy
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from warminit.initializers import get_method, taken_by
from warminit.lab.networks.build import build_model
from warminit.lab.study import Study

ROOT = Path(__file__).parents[2]


def experiment(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def some_images() -> Tensor:
    return torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("divided", ["input", "output"])
def test_a_hidden_layer_that_a_step_moves_less_computes_the_same(divided: str) -> None:
    images = some_images()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = build_model("simplecnn", 3, (32, 32), 10)
    changed = copy.deepcopy(model)
    experiment("live").start(changed, images, seed=0, divided=divided)
    torch.testing.assert_close(changed(images), model(images))
    torch.testing.assert_close(changed.fc1.weight, 10 * model.fc1.weight)


PRACTICE = sorted((ROOT / "experiments/practice").glob("*.toml"))


def test_the_practice_studies_share_one_protocol_and_have_seeds_of_their_own() -> None:
    studies = {file.stem: Study.from_toml(file) for file in PRACTICE}
    shared = {
        "optimizer": "adamw", "weight_decay": 0.05, "batch_size": 128, "schedule": "cosine",
        "augmentation": "flip-crop",
    }  # fmt: skip
    for name, study in studies.items():
        protocol = study.protocol
        assert study.name == f"practice-{name}"
        assert shared.items() <= protocol.model_dump().items()
        assert protocol.warmup * 10 == protocol.steps
        assert protocol.lr_start is not None
        assert protocol.lr_end == pytest.approx(protocol.lr_start / 100)
        screen = name.startswith(("screen", "embed"))
        assert (study.validation == 10_000) is screen
        assert screen or min(study.seeds) > 7000
    screens = [name.split("-", 1)[1] for name in studies if name.startswith("screen")]
    networks = Counter(name[: -len("-1e-3")] for name in screens)
    assert networks == dict.fromkeys(("simplecnn", "vgg", "resnet20", "conv-mixer", "small-vit"), 3)
    for name, study in studies.items():
        if name.startswith("screen"):
            assert len(study.arms) == 5
            assert len(study.seeds) == 2


@pytest.mark.filterwarnings("ignore::warminit.WarminitWarning")  # random images are no photographs
@pytest.mark.parametrize("network", ["simplecnn", "vgg", "resnet20", "conv-mixer", "small-vit"])
def test_every_arm_of_a_practice_study_applies_to_its_network(network: str) -> None:
    files = [file for file in PRACTICE if network in file.stem and "-1e-3" in file.stem]
    files += [file for file in PRACTICE if file.stem == f"confirm-{network}"]
    files += [file for file in PRACTICE if file.stem == "embed-scale" and network == "small-vit"]
    assert len(files) >= 2
    for file in files:
        study = Study.from_toml(file)
        for arm in study.arms:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = build_model(study.models[0], 3, (32, 32), 10)
            given = taken_by(get_method(arm.name), {"patches_per_image": 64}) | arm.parameters
            report = get_method(arm.name)(model, some_images(), seed=0, **given)
            assert report.method == arm.name
            assert report.filters_set > 0
