"""model -> residual branches that are zero, so every block begins as the identity."""

import time
from collections import Counter

import torch
from torch import nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.parameters import (
    Change,
    check_number,
    check_parameter,
    holder,
    write_,
)
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.computation import Branch
from warminit.models.ranks import all_or_none, is_sharded
from warminit.models.restore import restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import Survey
from warminit.report import InitReport


@own_arithmetic()
def zero_residual(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    value: float = 0.0,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Set every residual branch to zero, so each block is its skip (Goyal et al., 2017).

    "Accurate, Large Minibatch SGD" (arXiv:1706.02677), Section 5.1: the last normalization of each
    residual block starts at zero. If a branch ends in a learned scale (LayerScale), that scale is
    set. If it ends in a convolution or linear layer, the weight and bias are set. The pass of one
    image shows the branches; names of blocks do not matter. A branch that ends in another
    operation, for example a rectifier, stays.

    Args:
        model: Any module with residual branches.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; one
            image shows the branches.
        seed: Not used; the method is not random.
        value: New value of a normalization's weight or a learned scale, from 0 up; a last
            convolution or linear layer is multiplied by it. 0 by default.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report; its notes count the branches that had this value already. At 0, a second pass of
        the image verifies that each set branch is zero.

    Raises:
        WarminitError: If no branch is found, or if a set branch is not zero. The model is then
            bit-identical to before.

    Example:
        >>> import torch
        >>> from warminit.lab.networks.simple import ResNet20
        >>> report = zero_residual(ResNet20(1, 2), torch.rand(4, 1, 8, 8), seed=0)
        >>> report.layer.split(", ")[0]
        'stage1.0.bn2.weight'
    """
    started = time.perf_counter()
    check_seed(seed)
    value = check_number("value", value, above=False)
    subject = Subject.of(model, images, mean=mean, std=std, operations=True)
    with all_or_none():
        model = subject.survey.model
        _check_whole(model)
        subject.first()
        branches = _branches(subject.survey)
        chosen, stay = _settable(model, branches)
        changes = _changes(model, chosen, value)
        with restored_on_error([holder(each.module, each.attribute) for each in changes]):
            write_(changes)
            if value == 0 and changes:
                _check_zero(_branches(subject.new_survey()), chosen)
    changed = {each.name for each in changes}
    fresh = [each for each in chosen.values() if not changed & {each.weight, each.bias}]
    notes = [f"{count} branches not set: {reason}" for reason, count in stay.items()]
    if fresh:
        notes.append(f"{len(fresh)} of {len(chosen)} branches had this value already")
    channels = {name: _channels(model, each) for name, each in chosen.items()}
    kinds = Counter(each.kind for each in chosen.values())
    return InitReport(
        method="zero-residual",
        layer=", ".join(chosen),
        found="the last to multiply each residual branch, seen in one pass",
        filters_set=sum(channels.values()) - sum(channels[each.weight] for each in fresh),
        out_channels=sum(channels.values()),
        parameters={"value": value, **{f"{kind}s": count for kind, count in kinds.items()}},
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=(*([subject.note] if subject.note else []), *notes),
    )


def _branches(survey: Survey) -> list[Branch]:
    return list(survey.operations().branches or ())


def _check_whole(model: nn.Module) -> None:
    """Raise if ranks hold parts of a parameter."""
    if sharded := [name for name, each in model.named_parameters() if is_sharded(each)]:
        raise WarminitError(
            f"{sharded[0]} is sharded: expected a whole tensor, to see what each operation is fed. "
            "Initialize the model before you shard it."
        )


def _settable(model: nn.Module, branches: list[Branch]) -> tuple[dict[str, Branch], Counter[str]]:
    """Return the branches to set, by weight, and the number of others, by reason."""
    chosen: dict[str, Branch] = {}
    stay: Counter[str] = Counter()
    for branch in branches:
        if not branch.weight:
            stay["another operation comes last"] += 1
        elif not model.get_parameter(branch.weight).requires_grad:
            stay["the last weight is frozen"] += 1
        else:
            chosen[branch.weight] = branch
    if not chosen:
        reasons = "; ".join(f"{count}: {reason}" for reason, count in stay.items()) or "none at all"
        raise WarminitError(
            f"{type(model).__name__} has no residual branch that can start at zero ({reasons}): "
            "expected at least one. Choose another initializer."
        )
    return chosen, stay


def _changes(model: nn.Module, chosen: dict[str, Branch], value: float) -> list[Change]:
    """Return the new values of the parameters that change."""
    changes = []
    for branch in chosen.values():
        for name in filter(None, (branch.weight, branch.bias)):
            home, _, attribute = name.rpartition(".")
            module = model.get_submodule(home)
            before = check_parameter(name, module, attribute).detach()
            is_factor = name == branch.weight and branch.kind != "projection"
            after = torch.full_like(before, value) if is_factor else before * value
            if not torch.equal(before, after):
                changes.append(Change(name, module, attribute, after))
    return changes


def _check_zero(branches: list[Branch], chosen: dict[str, Branch]) -> None:
    """Raise unless every set branch is zero now."""
    for branch in branches:
        if branch.weight in chosen and branch.size:
            raise WarminitError(
                f"{branch.weight} is zero and its branch still reaches {branch.size:.3g}: expected "
                "0. Choose another initializer; the model did not change."
            )


def _channels(model: nn.Module, branch: Branch) -> int:
    weight = model.get_parameter(branch.weight)
    return len(weight) if branch.kind == "projection" else weight.numel()
