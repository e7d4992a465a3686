"""model -> the identity in the convolutions after the first."""

import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.parameters import (
    Change,
    Content,
    check_content,
    check_parameter,
    computes_its_weight,
    random_like,
    whole,
    write_,
)
from warminit.initializers.stems.subject import Subject
from warminit.models.ranks import all_or_none
from warminit.models.record import CONVOLUTIONS
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport


@own_arithmetic()
def dirac(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    content: Content = "own",
) -> InitReport:
    """Set the identity in every convolution after the first (Jordan, 2024, airbench).

    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498). Of a weight (F, C, *K),
    the first C filters each copy one input channel: the kernel's center is 1, the rest 0. The other
    filters stay. A grouped convolution is set group by group. A strided one copies every stride-th
    position. Four kinds of convolution stay: the input layer, 1 x 1, even sizes (no center), and
    those with a computed weight. Biases stay.

    Args:
        model: Any module with a convolution after the first.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; one
            image shows which layer is the first.
        seed: Seed of the control's draws.
        content: "own", or "random": the control, Gaussian filters of the same norms.

    Returns:
        The report. If the padding keeps the size, output channel i of a set layer equals input
        channel i plus the bias.

    Raises:
        WarminitError: If there is no convolution to set; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), conv)
        >>> report = dirac(model, torch.rand(4, 1, 8, 8), seed=0)
        >>> x = torch.rand(1, 2, 5, 5)
        >>> torch.equal(conv(x)[:, :2], x)
        True
    """
    started = time.perf_counter()
    check_seed(seed)
    check_content(content)
    subject = Subject.of(model, images)
    with all_or_none():
        first = subject.first().module
    model = subject.survey.model
    generator = torch.Generator().manual_seed(seed)
    changes: list[Change] = []
    stay: Counter[str] = Counter()
    filters = out_channels = 0
    for name, module in model.named_modules():
        if not isinstance(module, CONVOLUTIONS) or module is first:
            continue
        if reason := _why_not(name, module):
            stay[reason] += 1
            continue
        values = whole(module.weight).clone()
        rows = identity_rows(module)
        made = torch.zeros_like(values[rows])
        copied = rows % (len(values) // module.groups)
        center = (size // 2 for size in module.weight.shape[2:])
        place: tuple[Any, ...] = (torch.arange(len(rows)), copied, *center)
        made[place] = 1
        if content == "random":
            made = random_like(made, generator, by_row=True).to(made)
        values[rows] = made
        changes.append(Change(name, module, "weight", values))
        filters, out_channels = filters + len(rows), out_channels + len(values)
    if not changes:
        raise WarminitError(
            f"{type(model).__name__} has {sum(stay.values())} convolutions after the first and "
            f"none of odd size above 1: expected at least one. {_listed(stay)}Choose another "
            "initializer."
        )
    write_(changes)
    return InitReport(
        method="dirac",
        layer=", ".join(change.name for change in changes),
        found="every convolution after the first",
        filters_set=filters,
        out_channels=out_channels,
        parameters={"content": content},
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=tuple(each for each in (subject.note, _listed(stay).rstrip(". ")) if each),
    )


def identity_rows(module: nn.Module) -> Tensor:
    """Return the filters that copy an input channel: the first of each group."""
    weight, groups = module.get_parameter("weight"), int(module.groups)  # type: ignore[arg-type]  # a convolution's
    per_group = len(weight) // groups
    copied = min(per_group, weight.shape[1])
    starts = per_group * torch.arange(groups)
    return (starts[:, None] + torch.arange(copied)).flatten()


def _why_not(name: str, module: nn.Module) -> str:
    check_parameter(name, module)
    kernel = module.get_parameter("weight").shape[2:]
    if max(kernel) == 1:
        return "without neighbours"
    if any(size % 2 == 0 for size in kernel):
        return "of even size"
    return "that compute their weight" if computes_its_weight(module) else ""


def _listed(stay: "Counter[str]") -> str:
    parts = [f"{count} {reason}" for reason, count in stay.items()]
    return f"Convolutions not set: {', '.join(parts)}. " if parts else ""
