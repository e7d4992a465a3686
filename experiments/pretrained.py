"""weights that a run kept -> ResNet-20 for other channels, by each method of `adapt_stem_`.

The arm `experiments.pretrained:adapted` of a study file, and two models whose images are CIFAR-10's
in other channels. `python -m experiments.pretrained` runs all studies of experiments/stems.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from warminit import InitReport, adapt_stem_
from warminit.errors import unexpected
from warminit.lab.networks.simple import ResNet20

WEIGHTS = "warminit-results/stems-pretrain/weights"
"""Where the study stems-pretrain leaves them."""

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-R BT.601, of pixels that are standardized; the rows are divided by YCBCR_STD."""

YCBCR_STD = (0.967, 0.237, 0.218)
CONTRAST_STD = 0.218
"""Standard deviations over every fifth training image of CIFAR-10: all channels have about one."""


class Seen(nn.Module):
    """A ResNet-20 that gets its images in other channels, which a fixed function makes."""

    def __init__(
        self, seen: Callable[[Tensor], Tensor], channels: int, n_classes: int, **bands: int
    ) -> None:
        super().__init__()
        self.seen, self.bands = seen, bands
        self.network = ResNet20(channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of standardized RGB images (N, 3, H, W)."""
        return self.network(self.seen(images))  # type: ignore[no-any-return]  # a Module returns Any


def to_ycbcr(images: Tensor) -> Tensor:
    """Return brightness and two color differences (N, 3, H, W), each of about unit variance."""
    rows = images.new_tensor(YCBCR) / images.new_tensor(YCBCR_STD)[:, None]
    return F.conv2d(images, rows[:, :, None, None])


def with_contrast(images: Tensor) -> Tensor:
    """Return (N, 6, H, W): the colors, and each less its mean over 3 x 3 pixels."""
    contrast = images - F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return torch.cat([images, contrast / CONTRAST_STD], 1)


def ycbcr(*, in_channels: int, image_size: tuple[int, int], n_classes: int) -> Seen:  # noqa: ARG001 - any size fits
    """Build ResNet-20 for three channels that mean something else than red, green and blue."""
    _check_color(in_channels)
    return Seen(to_ycbcr, 3, n_classes)


def six(*, in_channels: int, image_size: tuple[int, int], n_classes: int) -> Seen:  # noqa: ARG001 - as above
    """Build ResNet-20 for six channels: the colors and their local contrast."""
    _check_color(in_channels)
    return Seen(with_contrast, 6, n_classes, red=0, green=1, blue=2)


def adapted(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn
    method: Any,
    weights: str = WEIGHTS,
) -> InitReport:
    """Give a ResNet-20 all trained weights but the last layer's, its first adapted by a method.

    Args:
        model: ResNet-20, or `Seen`; its last layer stays as it is, the same for all arms of a seed.
        images: Standardized, as the model is fed.
        seed: Unused: nothing is drawn.
        method: Of `adapt_stem_`. Where the model knows its bands, `copy` and `least-squares` get
            them, and the other channels nothing.
        weights: Folder with one file, which `--save-weights` kept of a ResNet-20.

    Returns:
        The report of `adapt_stem_`, with the file among its parameters.
    """
    files = sorted(Path(weights).glob("*.safetensors"))
    if len(files) != 1:
        step = "Run experiments/stems/pretrain.toml with --save-weights first."
        raise unexpected("weights", weights, f"a folder with one file; {len(files)} there", step)
    state = load_file(files[0])
    old = ResNet20(state["conv1.weight"].shape[1], len(state["fc.bias"]))
    old.load_state_dict(state)
    network: Any = getattr(model, "network", model)
    new = model.seen(images) if isinstance(model, Seen) else images
    named: dict[str, Any] = {}
    if method in {"copy", "least-squares"} and getattr(model, "bands", None):
        named = {"bands": model.bands, "others": "zero"}
    report = adapt_stem_(old.to(images.device), new, method=method, **named)
    trained = {name: each for name, each in old.state_dict().items() if not name.startswith("fc.")}
    network.load_state_dict(trained, strict=False)
    return replace(report, parameters={**report.parameters, "weights": files[0].stem})


def _check_color(in_channels: int) -> None:
    if in_channels != 3:
        raise unexpected("in_channels", in_channels, "3, red, green and blue")


def main(options: list[str]) -> None:
    """Run the studies in order: first the pretraining, then every adaptation of its weights."""
    here = Path(__file__).parent / "stems"
    first = here / "pretrain.toml"
    others = sorted(file for file in here.glob("*.toml") if file != first)
    for file in (first, *others):
        more = ["--save-weights"] if file == first else []
        more += ["--resize", "32"] if file.stem.startswith("spoken-digits") else []
        command = [sys.executable, "-m", "warminit.cli", "run", str(file), *more, *options]
        subprocess.run(command, check=True)  # noqa: S603 - the study files beside this one


if __name__ == "__main__":
    main(sys.argv[1:])
