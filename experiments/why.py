"""two data sets, one network -> docs/results/why.json: what a start changes as training begins.

Usage: python -m experiments.why [PART ...]      (all of `PARTS` by default)

It explains, and proves nothing about accuracy. Training images only. "Spread": how many directions
something fills: exp of the entropy of the eigenvalue shares of its covariance (of a gradient: of
its squared singular values).
"""

import json
import sys
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import live
from experiments.candidates import start
from warminit import init_
from warminit.initializers.heads.last_layer import HEAD, find_head, output_size
from warminit.initializers.stems.whitening import RELATIVE_EPS
from warminit.lab.data.load import load_dataset
from warminit.lab.networks.build import build_model
from warminit.models.survey import Survey

DATASETS = ("cifar10", "fashion-mnist")
ZCA = "zca"
"""ZCA rows as filters: an arm of the search, which gained nothing."""
SPREAD_ARMS = (
    "torch-default",
    "norm-matched-random",
    "prewarm",
    ZCA,
    "dct",
    "coates-ng",
    "whitening",
)
STEP_ARMS = ("torch-default", "small-head", "whitening-small-head")
RESCALED, SMALL = "rescaled", "small"
"""Before an arm's name: with `live.py`'s hidden layer; with a small last layer."""
LIVE_ARMS = (*STEP_ARMS, "whitening", f"{RESCALED} torch-default", f"{RESCALED} whitening")
NO_NORM, DEEP = "simplecnn-nobn", "experiments.plain:vgg"
"""Before an arm's name: of these networks, and not of SimpleCNN."""
OUTPUT_ARMS = (
    "torch-default",
    f"{SMALL} torch-default",
    f"{NO_NORM} torch-default",
    f"{DEEP} torch-default",
    f"{DEEP} whitening",
    f"{SMALL} {DEEP} whitening",
)
SEEDS = (0, 1, 2)
BATCH, LOOKED_AT, STEPS = 256, 5, 60
RATE = 3e-3
LIVE_AFTER = (0, 1, 4, 12, 50)
OUT = Path(__file__).parent.parent / "docs" / "results" / "why.json"


def main() -> None:
    """Measure the parts that were asked for and write the file; the others stay as they are."""
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8"))
    wanted = sys.argv[1:] or list(PARTS)
    for name in DATASETS:
        images, labels, build = _data(name)
        for part in wanted:
            arms, measure = PARTS[part]
            of_set = found.setdefault(part, {}).setdefault(name, {})
            for arm in arms:
                seeds = [measure(_started(build, arm, images, s), images, labels) for s in SEEDS]
                of_set[arm] = {key: _mean([each[key] for each in seeds]) for key in seeds[0]}
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def spreads(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Measure a start before any step."""
    first, second = _convolutions(model)
    seen: dict[str, Any] = {}
    images, labels = images[: BATCH * LOOKED_AT], labels[: BATCH * LOOKED_AT]

    def keep(_module: nn.Module, _fed: Any, out: Tensor) -> None:
        out.retain_grad()
        seen["responses"] = out

    first.register_forward_hook(keep)
    second.register_forward_hook(lambda _m, fed, _o: seen.update(inputs=fed[0].detach()))
    F.cross_entropy(model(images), labels).backward()
    responses = seen["responses"].detach()[:BATCH].movedim(1, -1).flatten(0, 2)
    half = responses[:, : responses.shape[1] // 2]
    # What comes back to each of the set filters, and the patches that it weights: (n, filters) and
    # (n, C * K * K). The second moment of their products is the Gauss-Newton block of one filter.
    signal = seen["responses"].grad[:BATCH].movedim(1, -1).flatten(0, 2)[:, : half.shape[1]]
    fed = F.unfold(images[:BATCH], first.kernel_size, padding=first.padding)
    rows = fed.transpose(1, 2).flatten(0, 1).double()
    blocks = [(rows * s[:, None]).T @ rows for s in signal.double().square().T]
    sizes = signal.double().square().mean(0).sqrt()
    patches = F.unfold(seen["inputs"][:64], second.kernel_size).transpose(1, 2).flatten(0, 1)
    gradients = [layer.weight.grad.flatten(1).double() for layer in (first, second)]
    return {
        "log10_condition_of_patches": _log_condition(rows.T @ rows),
        "log10_condition_within_a_filter": _mean([_log_condition(each) for each in blocks]),
        "signal_largest_to_smallest_filter": float(sizes.max() / sizes.min()),
        "responses_of_set_filters": _effective_rank(_eigenvalues(half)),
        "inputs_of_second_layer": _effective_rank(_eigenvalues(patches)),
        "gradient_of_first_layer": _effective_rank(torch.linalg.svdvals(gradients[0]).square()),
        "gradient_of_second_layer": _effective_rank(torch.linalg.svdvals(gradients[1]).square()),
    }


def first_steps(model: Any, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Take the first steps of Adam at the paper's rate; most lists start before any step.

    "step_of_second_layer": root mean square of the change of the second convolution's weights in
    steps 1, 20, 40 and 60, as a share of the learning rate.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    hidden: list[float] = []
    second = _convolutions(model)[1].weight
    model.fc1.register_forward_hook(
        lambda _m, _i, out: hidden.append(float(out.detach().square().mean().sqrt()))
    )
    logits, losses, lengths = [], [], []
    for batch, classes in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        out = model(batch)
        loss = F.cross_entropy(out, classes)
        logits.append(float(out.detach().std()))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        before = second.detach().clone()
        optimizer.step()
        lengths.append(float((second.detach() - before).square().mean().sqrt() / RATE))
    return {
        "hidden_rms": hidden[:LOOKED_AT],
        "logit_sd": logits[:LOOKED_AT],
        "loss": losses[:LOOKED_AT],
        "step_of_second_layer": [lengths[0], *lengths[19::20]],
    }


def live_units(model: Any, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Share of the hidden units that some image of the batch activates, before step 1, 2, 5, ...

    At the paper's rate and at three times it. What no image activates gets no gradient.
    """
    return {
        f"at_{rate:g}": _live_units(deepcopy(model), images, labels, rate)
        for rate in (RATE, 3 * RATE)
    }


def _live_units(model: Any, images: Tensor, labels: Tensor, rate: float) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    shares: list[float] = []
    model.fc1.register_forward_hook(
        lambda _m, _i, out: shares.append(float((out.detach() > 0).any(dim=0).float().mean()))
    )
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    for batch, classes in islice(batches, LIVE_AFTER[-1] + 1):
        loss = F.cross_entropy(model(batch), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [shares[done] for done in LIVE_AFTER]


def outputs(model: Any, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """How large what the last layer gives is, without its bias, and how soon the loss falls.

    "loss": before any step and after 20 as in `robustness/plain.toml`, Adam at 1e-3, batch 128.
    """
    size = output_size(model, find_head(Survey(model, images)), images)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE / 3)
    losses = []
    batches = zip(images.split(BATCH // 2), labels.split(BATCH // 2), strict=True)
    for batch, classes in islice(batches, 21):
        loss = F.cross_entropy(model(batch), classes)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"rms_of_outputs": size, "loss": [losses[0], losses[20]]}


def whitened(model: nn.Module, images: Tensor, _labels: Tensor) -> dict[str, Any]:
    """Second moment e / (e + eps) of the first and the last direction that whitening sets."""
    first = _convolutions(model)[0]
    rows = F.unfold(images[:BATCH], first.kernel_size).transpose(1, 2).flatten(0, 1).double()
    centered = rows - rows.mean(1, keepdim=True)
    values = torch.linalg.eigvalsh(centered.T @ centered / len(centered)).flip(0)
    used = values[: min(first.out_channels // 2, len(values) - 1)]
    kept = used / (used + RELATIVE_EPS * values.mean())
    return {"second_moment_of_responses": [float(kept[0]), float(kept[-1])]}


PARTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "spread": (SPREAD_ARMS, spreads),
    "first_steps": (STEP_ARMS, first_steps),
    "live_units": (LIVE_ARMS, live_units),
    "outputs": (OUTPUT_ARMS, outputs),
    "whitened": (("whitening",), whitened),
}


def _data(name: str) -> tuple[Tensor, Tensor, Any]:
    data = load_dataset(name)
    shape = (1, -1, 1, 1)
    pixels = torch.as_tensor(data.train_images[: BATCH * STEPS]).float() / 255
    images = (pixels - torch.tensor(data.mean).view(shape)) / torch.tensor(data.std).view(shape)
    labels = torch.as_tensor(data.train_labels[: BATCH * STEPS]).long()
    return images, labels, (data.in_channels, data.image_size, data.n_classes)


def _started(build: Any, arm: str, images: Tensor, seed: int) -> nn.Module:
    *how, arm = arm.split()
    network = next((each for each in how if each in {NO_NORM, DEEP}), "simplecnn")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(network, *build)
    derived: Any = {} if arm in {"torch-default", "small-head"} else {"patches_per_image": 27}
    if arm == ZCA:
        start(model, images[:BATCH], seed=seed, basis="zca", **derived)
    elif RESCALED in how:
        live.start(model, images[:BATCH], seed=seed, arm=arm, patches_per_image=27)
    else:
        init_(model, images[:BATCH], arm, seed=seed, **derived)
    if SMALL in how:
        init_(model, images[:BATCH], "small-head", seed=seed, head_scale=HEAD)
    return model


def _convolutions(model: nn.Module) -> list[Any]:
    return [each for each in model.modules() if isinstance(each, nn.Conv2d)]


def _eigenvalues(rows: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(torch.cov(rows.T.double(), correction=0))
    return values


def _log_condition(moment: Tensor) -> float:
    values = torch.linalg.eigvalsh(moment)
    return float(torch.log10(values[-1] / values[0]))


def _effective_rank(values: Tensor) -> float:
    shares = values.clamp(min=0) / values.clamp(min=0).sum()
    return float(torch.special.entr(shares).sum().exp())


def _mean(values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return [round(sum(each) / len(each), 3) for each in zip(*values, strict=True)]
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    main()
