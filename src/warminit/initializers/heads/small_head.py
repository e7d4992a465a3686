"""model, images -> a small head, alone or with whitening filters in the first layer."""

import time
from dataclasses import replace
from typing import NamedTuple, Unpack

from torch import nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.heads.last_layer import (
    FAINT,
    HEAD,
    SEEN,
    Head,
    check_share,
    find_head,
    output_size,
    shrink_,
)
from warminit.initializers.stems.design_rules import share_of_total
from warminit.initializers.stems.keywords import WhiteningKeywords
from warminit.initializers.stems.subject import Subject, check_any_images, only
from warminit.initializers.stems.whitening import whiten_subject_
from warminit.models.ranks import all_or_none
from warminit.models.restore import errors_explained, restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport

_LEFT = "unchanged"


class _Done(NamedTuple):
    """Record a head's share of torch's deviation; None if the head did not change."""

    share: float | None
    provenance: str
    note: str | None


def whitening_small_head(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    head_scale: float | None = None,
    **options: Unpack[WhiteningKeywords],
) -> InitReport:
    """Set whitening filters, and make the last linear layer small where Adam needs it.

    This applies `whiten_`, then `small_head`. The first layer starts near the filters that training
    approaches (Chowers & Weiss, 2023). Adam's first steps move every weight by the learning rate,
    however small its gradient is. With a small head these steps no longer push the outputs far
    beyond the scale of the classes. If no normalization removes the filters' scale, their responses
    get unit deviation. docs/why.md has the derivation, and
    docs/results/evidence.md the ablations and the measurements.

    Args:
        model: Any module with a convolution.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader.
        seed: Seed of the patches' positions.
        head_scale: Deviation of the head's weight as a share of torch's default, 0 to 1. The
            default is 0.1, with two exceptions in which the head stays. First, a normalization runs
            between the head and the layer before it, as in a ResNet or a transformer. Second, its
            outputs are below 0.02 already, as in a deep network without a normalization.
        **options: Options of `whiten_`, with two other defaults. `patches_per_image` gives 8,192
            patches in total, 32 from each of 256 images. `scale` is "unit" for all of `layers` if
            no normalization runs before the second layer with weights.

    Returns:
        The report. The head's weight has at most `head_scale` times the deviation 1 / sqrt(3
        fan_in), and a second call changes nothing beyond rounding. If the head stays, or the model
        does not end in a linear layer, `parameters["head_scale"]` is None, and a note says why.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 26 * 26, 10)
        ... )
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> report = whitening_small_head(model, images, seed=0)
        >>> report.filters_set, round(model[2].weight.std().item() * (3 * 8 * 26 * 26) ** 0.5, 3)
        (4, 0.1)
    """
    started = time.perf_counter()
    if head_scale is not None:
        head_scale = check_share(head_scale)
    # Read once: a generator of batches cannot be read again for the head.
    subject = Subject.of(
        model,
        images,
        options.pop("batches", None),
        mean=options.get("mean"),
        std=options.get("std"),
    )
    with own_arithmetic(), errors_explained(model):
        with all_or_none():
            targets = subject.targets(options.get("layers"))
        provenance = {}
        if options.get("scale") is None and (fed := _fed_unnormalized(subject, options)):
            options["scale"] = "unit"
            provenance["scale"] = f"no normalization before {fed}"
        if options.get("patches_per_image") is None:
            count, why = share_of_total(len(subject.images))
            options["patches_per_image"], provenance["patches_per_image"] = count, why
        # Whatever fails, both of the two are as before.
        written = [target.module for target in targets]
        found: Head | WarminitError
        try:
            found = _find(subject)
            written.append(found.module)
        except WarminitError as error:
            found = error
        with restored_on_error(written):
            report = whiten_subject_(model, subject, "whitening-small-head", seed, **options)
            if report.provenance["patches_per_image"] != "given":  # no others could be drawn
                provenance.pop("patches_per_image", None)
            try:
                if isinstance(found, WarminitError):
                    raise found
                done = _make_small(subject, found, head_scale)
            except WarminitError as error:
                done = _Done(None, _LEFT, f"the head is unchanged: {error}")
            return replace(
                report,
                parameters={**report.parameters, "head_scale": done.share},
                provenance={**report.provenance, **provenance, "head_scale": done.provenance},
                notes=(*report.notes, *([done.note] if done.note else [])),
                seconds=time.perf_counter() - started,
            )


def small_head(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    head_scale: float | None = None,
    batches: int | None = None,
) -> InitReport:
    """Make the last linear layer small and leave every filter: the control for the head.

    It treats that layer exactly as `whitening_small_head` does.

    Args:
        model: Any module that ends in an `nn.Linear`; its bias stays.
        images: Training images (N, C, *size), scaled as the model is fed. One image finds the last
            layer; at most 8 measure its outputs.
        seed: Not used.
        head_scale: Share of torch's default deviation, with the default of `whitening_small_head`.
        batches: Number of batches to read if `images` is a loader.

    Returns:
        The report of the head. If the head stays, `filters_set` is 0 and a note says why; otherwise
        its weight is a multiple of the former weight.

    Raises:
        WarminitError: If the model does not end in a linear layer.
    """
    started = time.perf_counter()
    check_seed(seed)
    if head_scale is not None:
        head_scale = check_share(head_scale)
    subject = Subject.of(model, images, batches)
    with own_arithmetic(), errors_explained(model):
        with all_or_none():
            check_any_images(subject.images)
        found = _find(subject)
        with restored_on_error([found.module]):
            done = _make_small(subject, found, head_scale)
            outputs = found.module.out_features
            return InitReport(
                method="small-head",
                layer=found.name,
                found="the linear layer whose output is the model's output",
                filters_set=0 if done.share is None else outputs,
                out_channels=outputs,
                parameters={"head_scale": done.share},
                provenance={"head_scale": done.provenance},
                seed=seed,
                seconds=time.perf_counter() - started,
                notes=tuple(note for note in (subject.note, done.note) if note),
            )


def _find(subject: Subject) -> Head:
    with all_or_none():
        return find_head(subject.survey)


def _make_small(subject: Subject, found: Head, head_scale: float | None) -> _Done:
    """Make the head small, or leave it if no share is given and a small head would not help.

    Raises:
        WarminitError: If its weight cannot be written.
    """
    if head_scale is None:
        reason = ""
        if found.normalized_by:
            reason = f"{found.normalized_by} normalizes its input"
        else:
            images = subject.as_fed(subject.images[:SEEN])
            if (size := output_size(subject.model, found, images)) < FAINT:
                reason = f"its outputs are small already, {size:.2g}"
        if reason:
            asked = f"Pass head_scale={HEAD} to make it small anyway."
            return _Done(None, _LEFT, f"{found.name} is unchanged: {reason}. {asked}")
    share = HEAD if head_scale is None else head_scale
    return _Done(share, f"{found.name}.weight x {shrink_(found, share):.3g}", None)


def _fed_unnormalized(subject: Subject, options: WhiteningKeywords) -> str:
    """Return the layer that receives the filters' responses unnormalized; "" if none does."""
    first = subject.first(only(options.get("layers")))
    following = subject.survey.next_after(first.module)
    return following.name if following and not following.normalizes else ""
