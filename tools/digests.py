"""fixed small calls of the package -> SHA-256 digests of their bits, written or compared.

Usage: python tools/digests.py write FILE
       python tools/digests.py compare FILE   # prints each name that differs; exit status 1 if any

For changes that must keep all bits. The same machine and versions give the same digests.
"""

import hashlib
import json
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from warminit import conditioned_init, derive_rules, diagnose, init_, prewarm_, prewarm_filters
from warminit.initializers import METHODS, keywords
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.networks.build import MODELS, build_model
from warminit.lab.runs.plan import plan_runs
from warminit.lab.runs.train import train
from warminit.lab.study.study import Study

Entries = dict[str, str]
"""Name -> digest, or the value itself where it is short."""

FUNCTIONS: dict[str, Any] = {**METHODS, "init_": init_, "prewarm_": prewarm_}

STATISTICS = {"mean": 0.4, "std": 0.25}
"""What the small images are standardized with; given to whatever takes it."""

WAYS = {"standardized": STATISTICS, "pixels": {}, "uint8": {**STATISTICS, "patches_per_image": 9}}
"""How images are given to every arm, and what with, as far as the arm takes it."""

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("init_", {}),
    ("init_", {"layers": 2, "scale": 0.3, "head_scale": 0.5, "seed": 3}),
    ("init_", {"arm": "prewarm", "patches_per_image": 9}),
    ("prewarm_", {"patches_per_image": 11, "scale": 0.3, "seed": 1}),
    ("prewarm_", {"patches_per_image": 9, "n_filters": 5, "algorithm": "paper"}),
    ("prewarm_", {"patches_per_image": 9, "layers": 2, "seed": 7}),
    ("prewarm_", {"patches_per_image": 9, "scale": "parity"}),
    ("prewarm_", {"patches_per_image": 9, "scale": "match", "patch_size": 7}),
    ("whitening", {"patches_per_image": 9, "n_filters": 6, "eps": 0.1}),
    ("whitening", {"patches_per_image": 9, "layers": 2, "scale": "unit"}),
    ("whitening", {"patches_per_image": 5, "scaling": "per-filter", "trainable": False}),
    ("prewarm", {"fraction": 0.25, "centering": "channel", "spatial": False}),
    ("prewarm", {"centering": "none", "scaling": "per-filter", "patches_per_image": 9}),
    ("random-patches", {"matching": "per-filter", "patches_per_image": 9}),
    ("norm-matched-random", {"algorithm": "paper", "matching": "per-filter"}),
    ("krahenbuhl", {"basis": "pca", "beta": 0.1, "scope": "first"}),
    ("lsuv", {"scope": "first", "tol": 0.01}),
    ("dct", {"brightness": True, "n_filters": 5, "patches_per_image": 9}),
    ("coates-ng", {"norm_eps": 0.01, "zca_eps": 0.01, "patches_per_image": 20}),
    ("he-normal", {"scope": "all"}),
    ("orthogonal", {"scope": "all"}),
    ("small-head", {"head_scale": 0.5}),
]
"""Calls with parameters, on standardized images."""

LISTING: list[list[Any]] = [
    *([3, 1, 32, 28, 16, 22, 0.20, 3, 42], [3, 3, 32, 32, 16, 28, 0.25, 3, 42]),
    *([5, 1, 24, 20, 9, 11, 0.20, 5, 7], [5, 3, 20, 18, 12, 8, 0.10, 5, 13]),
    *([3, 1, 16, 28, 8, 25, 0.30, 5, 99], [3, 3, 16, 24, 8, 10, 0.25, 7, 2025]),
    *([1, 4, 12, 12, 6, 30, 0.50, 1, 1], [7, 3, 64, 32, 32, 16, 0.25, 7, 8]),
    *([2, 2, 8, 10, 4, 5, 1.00, 2, 21], [4, 3, 96, 16, 48, 24, 0.05, 4, 0]),
    *([3, 1, 6, 9, 10, 6, 0.20, 3, 2**32 - 1], [5, 1, 16, 14, 5, 7, 0.20, 5, 123]),
]
"""Kernel, channels, filters, image size; then the arguments of Listing 1 in their order."""

FASHION, DIGITS = "fashion-mini", "digits"
SGD = {"optimizer": "sgd", "augmentation": "flip-crop", "weight_decay": 5e-4}
BRIEF = {"optimizer": "adamw", "precision": "bfloat16", "weight_decay": 0.05}

RUNS: list[tuple[str, str, dict[str, Any], dict[str, Any], int]] = [
    (FASHION, "simplecnn", {"name": "torch-default"}, {}, 0),
    (FASHION, "simplecnn", {"name": "prewarm"}, {"steps": 20, "eval_interval": 5}, 500),
    (FASHION, "simplecnn", {"name": "whitening"}, {"precision": "bfloat16"}, 500),
    (FASHION, "simplecnn", {"name": "whitening-small-head"}, {"batch_size": 64}, 500),
    (FASHION, "simplecnn-nobn", {"name": "prewarm", "scale": 0.1}, {"schedule": "constant"}, 500),
    (FASHION, "resnet20", {"name": "norm-matched-random"}, SGD, 300),
    (FASHION, "small-vit", {"name": "dct"}, {"optimizer": "adamw", "warmup": 3}, 300),
    (FASHION, "small-vit", {"name": "whitening-small-head", "head": 0.5}, BRIEF, 300),
    (DIGITS, "simplecnn", {"name": "lsuv"}, {"steps": 20, "augmentation": "flip-crop"}, 0),
    (DIGITS, "simplecnn-nobn", {"name": "krahenbuhl", "basis": "pca"}, {"steps": 20}, 0),
    (DIGITS, "resnet20", {"name": "coates-ng"}, {"warmup": 4, "lr_end": 1e-4}, 0),
    (DIGITS, "small-vit", {"name": "prewarm", "engine": "fast"}, {"batch_size": 64}, 100),
]
"""Data set, model, arm, protocol beside 10 steps of 32 images, validation images."""


def small_models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return models by name, with the shape of their images."""

    def net(*layers: nn.Module, dims: int = 2) -> nn.Module:
        pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dims - 1]
        return nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(8, 5))

    torch.manual_seed(0)
    rgb, last, square = (3, 16, 16), nn.Conv2d(12, 8, 3), (16, 16)
    dilated = nn.Conv2d(4, 12, 3, stride=2, dilation=2, groups=2, bias=False)
    spatial = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.GroupNorm(1, 12)
    mixing = nn.Conv2d(12, 24, 1), nn.GELU(), nn.Conv2d(24, 8, 1)
    plain = nn.Conv2d(3, 12, 5), nn.ReLU(), nn.Conv2d(12, 8, 3, bias=False), nn.ReLU()
    weighed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 12, 3))
    return {
        "simplecnn-rgb": (build_model("simplecnn", 3, square, 5), rgb),
        "simplecnn-gray": (build_model("simplecnn", 1, square, 5), (1, 16, 16)),
        "resnet20": (build_model("resnet20", 3, square, 5), rgb),
        "small-vit": (build_model("small-vit", 3, square, 5), rgb),
        "plain": (nn.Sequential(*plain, nn.Flatten(), nn.Linear(800, 20), nn.Linear(20, 5)), rgb),
        "grouped": (net(dilated, nn.BatchNorm2d(12), nn.ReLU(), last), (4, 16, 16)),
        "conv1d": (net(nn.Conv1d(2, 12, 7), nn.ReLU(), nn.Conv1d(12, 8, 5), dims=1), (2, 48)),
        "conv3d": (net(nn.Conv3d(1, 9, 3), nn.ReLU(), nn.Conv3d(9, 8, 3), dims=3), (1, 8, 8, 8)),
        "weight-norm": (net(weighed, nn.ReLU(), deepcopy(last)), rgb),
        "convnext": (net(nn.Conv2d(3, 12, 4, 4), nn.GroupNorm(1, 12), *spatial, *mixing), rgb),
        "bfloat16": (net(nn.Conv2d(3, 8, 3), nn.ReLU()).bfloat16(), rgb),
    }


def small_images(n: int, shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Return images of pixels from 0 to 1 whose neighbours are alike; the same standardized."""
    noise = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    pixels = ((noise + noise.roll(1, -1) + noise.mean(1, keepdim=True)) * 0.15 + 0.4).clamp(0, 1)
    return pixels, (pixels - STATISTICS["mean"]) / STATISTICS["std"]


def sha(*parts: object) -> str:
    """Return SHA-256 over type, shape and bytes of tensors, and the `repr` of anything else."""
    digest = hashlib.sha256()
    for part in parts:
        told: object = part
        if isinstance(part, Tensor):
            told = part.dtype, tuple(part.shape)
            digest.update(part.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        digest.update(f"{told!r}\n".encode())
    return digest.hexdigest()


def weights(model: nn.Module) -> str:
    """Return a digest of a model's state, in the order of its names."""
    return sha(*(part for item in sorted(model.state_dict().items()) for part in item))


def generators() -> str:
    """Return a digest of the global random states of Python, NumPy and torch."""
    numpy = np.random.get_state()  # noqa: NPY002 - whether a call keeps it is part of the set
    return sha(pickle.dumps((random.getstate(), numpy)), torch.get_rng_state())


def outcome(model: nn.Module, call: Callable[..., object], images: Tensor, **given: Any) -> str:
    """Return the digest of a model after a call, or the class of its error, and what else moved."""
    model = deepcopy(model)
    before, state = weights(model), generators()
    try:
        call(model, images, **given)
        told = weights(model)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the outcome
        kept = "kept" if weights(model) == before else "changed"
        told = f"{type(error).__name__} refused, model {kept}"
    return told if generators() == state else f"{told}, generators moved to {generators()}"


def of_arms(name: str, model: nn.Module, shape: tuple[int, ...]) -> Entries:
    """Digest what every arm, and calls with parameters, make of a model."""
    found = {}
    kind = next(model.parameters()).dtype
    pixels, standardized = small_images(12, shape, len(name))
    fed = {"standardized": standardized.to(kind), "pixels": pixels.to(kind)}
    fed["uint8"] = (pixels * 255).to(torch.uint8)
    for (arm, call), (way, offered) in product(METHODS.items(), WAYS.items()):
        given = {key: offered[key] for key in offered if key in keywords(call)[0]}
        found[f"arm/{name}/{arm} {way}"] = outcome(model, call, fed[way], seed=5, **given)
    for index, (called, given) in enumerate(CALLS):
        call = FUNCTIONS[called]
        known = {"seed": 2} | (STATISTICS if "mean" in keywords(call)[0] else {})
        told = outcome(model, call, fed["standardized"], **(known | given))
        found[f"arm/{name}/{called} {index}"] = told
    return found


def of_listing() -> Entries:
    """Digest `conditioned_init`, with the global states that it leaves, and `prewarm_filters`."""
    found = {}
    for number, (kernel, channels, filters, size, *given) in enumerate(LISTING):
        torch.manual_seed(number)
        model = nn.Sequential()
        model.conv1 = nn.Conv2d(channels, filters, kernel)
        _, images = small_images(8, (channels, size, size), number)
        told = outcome(model, lambda m, i, a=given: conditioned_init(m, i, *a), images)
        found[f"listing/{number}"] = told
    for kernel, seed in product((3, 5), (0, 1)):
        pixels, _ = small_images(12, (3, 16, 16), seed)
        found[f"filters/{kernel} {seed}"] = sha(prewarm_filters(pixels, 16, kernel, seed=seed))
    return found


def of_rules(name: str, data: ImageDataset) -> Entries:
    """Write out the rules' values on a data set."""
    found = {f"data/{name}": data.fingerprint}
    mean, std, pixels = data.mean, data.std, data.train_images[:1000]
    fed = {"pixels": pixels, "standardized": (pixels / 255 - mean[0]) / std[0]}
    for filters, kernel, (way, images) in product((16, 32, 96), (3, 5), fed.items()):
        given: Any = {"mean": mean, "std": std} if way == "standardized" else {}
        rules = derive_rules(images, filters, kernel, **given)
        values = [getattr(rules, each) for each in rules.__slots__ if each != "provenance"]
        found[f"rules/{name} {filters} {kernel} {way}"] = json.dumps(values)
    return found


def of_runs(datasets: dict[str, ImageDataset]) -> Entries:
    """Digest short runs and their keys, and give the keys of every arm with every network."""
    found: Entries = {}
    for number, (name, network, arm, protocol, validation) in enumerate(RUNS):
        asked: Any = {"datasets": [name], "models": [network], "arms": [arm, "glorot"]}
        asked |= {"baseline": "glorot", "seeds": [42 + number], "validation": validation}
        asked["protocol"] = {"steps": 10, "batch_size": 32, "eval_interval": 10, **protocol}
        study = Study.create(name="digests", **asked)
        data = datasets[name].with_validation(validation) if validation else datasets[name]
        run, _ = plan_runs(study, {name: data})
        call, given = FUNCTIONS[arm["name"]], run.arm_parameters
        result = train(data, run.spec, arm=call, arm_parameters=given)
        curves = sorted((key, list(curve)) for key, curve in result.eval_metrics.items())
        label = f"run/{number} {name} {network} {arm['name']}"
        found |= {
            f"{label}/key": run.key,
            f"{label}/weights": result.weights_digest,
            f"{label}/metrics": repr(sorted(result.metrics.items())),
            f"{label}/train_loss": sha(list(result.train_loss)),
            f"{label}/curves": sha(result.eval_steps, curves),
            f"{label}/filters": sha(sorted(result.trained_filters.items())),
        }
    every: Any = {"datasets": list(datasets), "models": list(MODELS), "arms": list(METHODS)}
    for run in plan_runs(Study.create(name="digests", seeds=1, **every), datasets):
        found[f"key/{run.spec.dataset} {run.spec.model} {run.spec.arm.name}"] = run.key
    return found


def digests() -> Entries:
    """Compute the whole set."""
    versions = (torch.__version__, np.__version__, sklearn.__version__)
    found = {"environment": f"{versions} {torch.backends.cpu.get_cpu_capability()}"}
    datasets, models = {name: load_dataset(name) for name in (FASHION, DIGITS)}, small_models()
    for name, dataset in datasets.items():
        found |= of_rules(name, dataset)
    for name, (model, shape) in models.items():
        found |= of_arms(name, model, shape)
    for name in ("simplecnn-rgb", "grouped"):
        model, shape = models[name]
        for key, value in diagnose(model, small_images(300, shape, 50)[1]).to_dict().items():
            if key not in {"found", "notes"}:  # texts
                found[f"diagnosis/{name}/{key}"] = repr(value)
    return found | of_listing() | of_runs(datasets)


def main(arguments: list[str]) -> int:
    """Write or compare; return the exit status."""
    if len(arguments) != 2 or arguments[0] not in {"write", "compare"}:
        print(__doc__)
        return 2
    path = Path(arguments[1])
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = digests()
    if arguments[0] == "write":
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{path}: {len(found)} digests")
        return 0
    kept: Entries = json.loads(path.read_text(encoding="utf-8"))
    differ = [name for name in sorted({*found, *kept}) if found.get(name) != kept.get(name)]
    for name in differ:
        print(f"{name}\n  was {kept.get(name, 'absent')}\n  now {found.get(name, 'absent')}")
    print(f"{len(differ)} differ, of {len(kept)}")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
