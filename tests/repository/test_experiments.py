"""The search's own arms and study files -> what they say holds."""

import copy
import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training_cases import make_dataset
from warminit import whiten_
from warminit.errors import WarminitError
from warminit.initializers import get_method, taken_by
from warminit.lab.data.load import load_dataset
from warminit.lab.networks.build import build_model
from warminit.lab.runs.batches import first_batch, place_split
from warminit.lab.runs.plan import model_rules
from warminit.lab.runs.weights import save_weights
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


FOLDERS = {
    file: Study.from_toml(file)
    for folder in ("domains", "stems")
    for file in sorted((ROOT / "experiments" / folder).glob("*.toml"))
}


def test_studies_of_domains_and_stems_keep_to_what_their_pages_say() -> None:
    for file, study in FOLDERS.items():
        protocol = study.protocol
        assert study.name == f"{file.parent.name}-{file.stem}"
        assert study.validation > 0
        assert (protocol.optimizer, protocol.weight_decay) == ("adamw", 0.05)
        assert protocol.warmup * 10 == protocol.steps
        sound = file.stem.startswith("spoken")
        assert protocol.augmentation == ("none" if sound else "flip-crop")
        if file.parent.name == "domains":
            assert study.models == ("simplecnn", "simplecnn-k7")
            assert (study.baseline, len(study.seeds)) == ("whitening", 8)
        elif file.stem != "pretrain":
            assert str(protocol.steps) in file.stem
            assert len(study.seeds) == 6
    seeds = [frozenset(study.seeds) for study in FOLDERS.values()]
    assert min(min(each) for each in seeds) > 8000


@pytest.mark.parametrize("model", ["simplecnn", "simplecnn-k7"])
def test_whitening_of_the_set_s_own_images_is_whitening(model: str) -> None:
    data = load_dataset("fashion-mini")
    images = first_batch(place_split(data, "train", torch.device("cpu")), 32, 5)
    arm = experiment("elsewhere").whitening
    weights = {}
    for name in ("whitening", "elsewhere"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build_model(model, 1, (28, 28), 10)
        if name == "whitening":
            n_patches = model_rules(data, model).n_patches
            whiten_(network, images, seed=5, patches_per_image=n_patches)
        else:
            given = {"images_from": "fashion-mini", "fingerprint": data.fingerprint[:8]}
            report = arm(network, images, seed=5, **given)
            assert (report.layer, report.filters_set) == ("conv1", 16)
        weights[name] = network.state_dict()
    for name, value in weights["whitening"].items():
        assert torch.equal(weights["elsewhere"][name], value), name


@pytest.mark.parametrize(
    ("channels", "given", "text"),
    [
        (3, {}, "channels=None: expected luma or gray, since fashion-mini has 1 channels"),
        (3, {"channels": "luma"}, "a rule that makes the layer's 3 channels"),
        (1, {"channels": "mean"}, "channels='mean': expected luma or gray"),
        (1, {"fingerprint": "00"}, "fingerprint='00': expected"),
    ],
)
def test_images_of_another_set_that_do_not_fit_are_refused(
    channels: int, given: dict[str, Any], text: str
) -> None:
    model = build_model("simplecnn", channels, (32, 32), 10)
    before = copy.deepcopy(model.state_dict())
    options = {"images_from": "fashion-mini", "fingerprint": ""} | given
    with pytest.raises(WarminitError, match=re.escape(text)):
        experiment("elsewhere").whitening(model, some_images()[:, :channels], seed=0, **options)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_other_channels_are_luma_or_gray(monkeypatch: pytest.MonkeyPatch) -> None:
    module = experiment("elsewhere")
    color = make_dataset(shape=(3, 8, 9))
    monkeypatch.setattr(module, "load_dataset", lambda *_, **__: color)
    # By hand: ITU-R BT.601 of each pixel, in whole numbers.
    red, green, blue = color.train_images.long().unbind(1)
    by_hand = (299 * red + 587 * green + 114 * blue + 500) // 1000
    for rule, wanted in (("luma", 1), ("gray", 3)):
        found = module._loaded(f"of {rule}", None, wanted, rule)
        assert found.train_images.shape == (75, wanted, 8, 9)
        assert (found.train_images.long() - by_hand[:, None]).abs().max() <= 1  # halves
        assert found.mean == pytest.approx(
            [found.train_images[:, 0].double().mean() / 255] * wanted
        )


@pytest.mark.parametrize("kind", ["resnet20", "ycbcr", "six"])
def test_a_pretrained_network_keeps_all_but_its_stem_and_head(kind: str, tmp_path: Path) -> None:
    module = experiment("pretrained")
    torch.manual_seed(0)
    old: Any = build_model("resnet20", 3, (32, 32), 7)
    save_weights(old, tmp_path / "key.safetensors")
    channels = 1 if kind == "resnet20" else 3
    images = some_images()[:, :channels]
    sizes: dict[str, Any] = {"in_channels": channels, "image_size": (32, 32), "n_classes": 5}
    model = build_model(kind, **sizes) if channels == 1 else getattr(module, kind)(**sizes)
    network: Any = getattr(model, "network", model)
    head = network.fc.weight.clone()
    report = module.adapted(model, images, seed=0, method="repeat", weights=str(tmp_path))
    assert report.parameters["weights"] == "key"
    assert torch.equal(network.fc.weight, head)
    stem = old.conv1.weight
    wanted = {
        "resnet20": stem.sum(1, keepdim=True),
        "ycbcr": stem,
        "six": stem.tile(1, 2, 1, 1) / 2,
    }
    torch.testing.assert_close(network.conv1.weight, wanted[kind])
    assert torch.equal(network.stage3[2].conv2.weight, old.stage3[2].conv2.weight)
    assert model(images).shape == (16, 5)
    if kind == "six":
        module.adapted(model, images, seed=0, method="copy", weights=str(tmp_path))
        assert torch.equal(network.conv1.weight[:, :3], stem)
        assert not network.conv1.weight[:, 3:].any()
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(WarminitError, match="a folder with one file; 2 there"):
        module.adapted(model, images, seed=0, method="repeat", weights=str(tmp_path))
