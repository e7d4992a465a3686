"""model, images, a function that makes filters -> model conditioned in place, InitReport."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from warminit.checks import as_kernel_size, outside
from warminit.errors import WarminitError, WarminitWarning
from warminit.images.check import check_images, standardization
from warminit.images.source import Batch, Images, read_images, within_memory
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.fed import fed_images
from warminit.initializers.stems.keywords import RuleOptions
from warminit.initializers.stems.resolve import resolve_rules
from warminit.initializers.stems.subject import Layers, Subject, only
from warminit.models.fresh import looks_trained
from warminit.models.layer import FoundLayer
from warminit.models.ranks import agreed, agreed_tensor, all_or_none, is_sharded, world_size
from warminit.models.restore import errors_explained, restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import unwrap
from warminit.models.write import check_freezable, check_weight, freeze_rows_, write_rows_
from warminit.renamed import PARAMETERS, in_new_names
from warminit.report import InitReport

MakeFilters = Callable[[Batch, Hyperparameters, tuple[int, ...], int], Tensor]
"""(images of one group, hyperparameters, kernel_size, seed) -> filters (n, C / groups, *K)."""


@dataclass(frozen=True, slots=True)
class _Made:
    """Hold the filters of one layer and their hyperparameters before they are written."""

    rows: Tensor
    filters: Tensor
    hyper: Hyperparameters
    notes: tuple[str, ...]


def condition_(
    model: nn.Module,
    images: Images | Subject,
    make_filters: MakeFilters,
    *,
    method: str,
    seed: int,
    layers: Layers = None,
    batches: int | None = None,
    trainable: bool = True,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[RuleOptions],
) -> InitReport:
    """Find the layer, derive missing options, make filters and write them.

    Every method that writes filters uses this function and shares its guarantees. All checks
    precede the write, the written values are read back, and only the set filters change. Under an
    initialized process group every rank must call; all ranks get the same filters.

    Args:
        model: Any module with a convolution.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; or a
            `Subject`.
        make_filters: Function that makes filters; it draws only from generators seeded by its last
            argument.
        method: Name for the report.
        seed: Seed for `make_filters`.
        layers: Layers to set, see `Layers`. Later layers are conditioned on activations, which
            include the earlier conditioned layers.
        batches: Number of batches to read if `images` is a loader.
        trainable: Whether the set filters train; False sets their gradient to zero.
        parameters: Values that the report lists besides the hyperparameters.
        **options: Values that replace the derived ones.

    Returns:
        The report.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.
    """
    started = time.perf_counter()
    subject = Subject.of(model, images, batches, mean=options.get("mean"), std=options.get("std"))
    with own_arithmetic(), errors_explained(model):
        with all_or_none():
            targets = subject.targets(layers)
            if not trainable:
                for target in targets:
                    check_freezable(target.module)
        with restored_on_error(target.module for target in targets):
            first = subject.first(only(layers))
            made, notes = _condition_each_(subject, targets, make_filters, seed, options, first)
            if not trainable:
                for target, each in zip(targets, made, strict=True):
                    freeze_rows_(target.module, each.rows)
            return InitReport(
                method=method,
                layer=", ".join(target.name for target in targets),
                found=targets[0].found,
                filters_set=sum(len(each.rows) for each in made),
                out_channels=sum(target.out_channels for target in targets),
                parameters={**_reported(targets[0], made[0].hyper), **(parameters or {})},
                provenance=in_new_names(made[0].hyper.provenance, PARAMETERS),
                seed=seed,
                seconds=time.perf_counter() - started,
                notes=notes,
            )


def filters_from_images(
    images: Images,
    out_channels: int,
    kernel_size: int | tuple[int, ...],
    make_filters: MakeFilters,
    *,
    seed: int,
    **options: Unpack[RuleOptions],
) -> Tensor:
    """Check the images, derive missing options, and make the filters of an ungrouped layer.

    Returns:
        Filters (n, C, *K).
    """
    tensor, _ = read_images(images)
    kernel = as_kernel_size(kernel_size)
    with own_arithmetic():
        checked = check_images(tensor, spatial_dims=len(kernel))
        hyper = resolve_rules(checked, out_channels, kernel, seed=seed, **options)
        statistics = standardization(options.get("mean"), options.get("std"), checked.shape[1])
        batch, hyper, _ = _bounded(Batch(checked, statistics), hyper)
        return make_filters(batch, hyper, kernel, seed)


def _condition_each_(
    subject: Subject,
    targets: Sequence[FoundLayer],
    make_filters: MakeFilters,
    seed: int,
    options: RuleOptions,
    first: FoundLayer,
) -> tuple[list[_Made], tuple[str, ...]]:
    """Make and write the filters layer by layer; return the filters and the notes."""
    notes = [subject.note] if subject.note else []
    made: list[_Made] = []
    for target in targets:
        fed = fed_images(subject, target, options, first)
        notes += fed.notes
        each = _make(target, fed.images, make_filters, seed, fed.options, fed.name)
        made.append(replace(each, hyper=fed.reported(each.hyper)))
        if (trained := trained_note(target, subject.model)) is not None:
            notes.append(trained)
            warnings.warn(trained, WarminitWarning, stacklevel=outside())
        with all_or_none():
            notes += made[-1].notes
            filters = target.as_weight(made[-1].filters)
            notes += write_rows_(target.name, target.module, made[-1].rows, filters)
    return made, tuple(notes)


def _make(
    target: FoundLayer,
    images: Tensor,
    make_filters: MakeFilters,
    seed: int,
    options: RuleOptions,
    name: str,
) -> _Made:
    """Make the filters of one layer, group by group, from the patches of all ranks."""
    groups = target.groups
    with all_or_none():
        if name:  # activations; the images themselves are checked already
            images = check_images(
                images, spatial_dims=target.spatial_dims, channels=target.in_channels, name=name
            )
        hyper = resolve_rules(
            images,
            target.out_channels,
            target.kernel_size,
            groups=groups,
            dilation=target.dilation,
            seed=seed,
            **options,
        )
        statistics = standardization(options.get("mean"), options.get("std"), target.in_channels)
        batch = Batch(images, statistics, target.dilation)
    batch, hyper, note = _bounded(batch, agreed(hyper))
    per_group = target.out_channels // groups
    rows, filters = [], []
    for index in range(groups):
        group = make_filters(batch.group(index, groups), hyper, target.kernel_size, seed)
        rows.append(index * per_group + torch.arange(min(len(group), per_group)))
        filters.append(group[:per_group])
    made = agreed_tensor(torch.cat(filters).float().to(batch.device))
    if not bool(torch.isfinite(made).all()):
        raise WarminitError(
            f"the filters for {target.name} are not finite: the images reach "
            f"{float(images.abs().max()):.3g}. Standardize the images first."
        )
    notes = [each for each in (hyper.provenance.get("fallback"), note) if each is not None]
    if len(group) < min(hyper.n_clusters, per_group):
        notes.append(
            f"{len(group)} of {hyper.n_clusters} filters were made: the patches have no "
            "more directions"
        )
    if len(group) > per_group:
        notes.append(f"the first {per_group} of {len(group)} filters fit into the layer")
    return _Made(torch.cat(rows), made, hyper, tuple(notes))


def _bounded(batch: Batch, hyper: Hyperparameters) -> tuple[Batch, Hyperparameters, str | None]:
    bounded, n_patches, note = within_memory(
        batch,
        hyper.n_patches,
        hyper.patch_size,
        least=hyper.n_clusters,
        world_size=world_size(),
    )
    return bounded, replace(hyper, n_patches=n_patches), note


def trained_note(target: FoundLayer, model: nn.Module) -> str | None:
    """Return a note if a layer looks trained, else None."""
    weight = check_weight(target.name, target.module)
    # Where ranks hold parts of a weight, one part alone is not a fair sample of it.
    if is_sharded(weight) or not looks_trained(weight):
        return None
    # timm's metadata are the same with pretrained=True and False: alone, they tell nothing.
    config: Any = getattr(unwrap(model), "pretrained_cfg", None)
    tag = config.get("tag") if isinstance(config, Mapping) else None
    named = f" (timm's metadata name the weights {tag})" if tag else ""
    return (
        f"{target.name} looks trained: its weights fit no usual initialization{named}. Initialize "
        "only models that you train from scratch."
    )


def _reported(target: FoundLayer, hyper: Hyperparameters) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "n_filters": hyper.n_clusters,
        "patches_per_image": hyper.n_patches,
        "patch_size": hyper.patch_size,
        "scale": hyper.scale,
    }
    if target.groups > 1:
        shown["groups"] = target.groups
    if any(step != 1 for step in target.dilation):
        shown["dilation"] = target.dilation
    return shown
