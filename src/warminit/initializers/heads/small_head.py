"""model, images -> a head that starts small, alone or with whitening filters in the first layer."""

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

_LEFT = "left as it is"


class _Done(NamedTuple):
    """What was done with a head: its share of torch's deviation, None where it was left."""

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
    """Set whitening filters, and a small last linear layer where Adam could throw its outputs.

    `whiten_`, then `small_head`: the first layer starts near where training takes it (Chowers &
    Weiss, 2023), and the first steps of Adam, which move every weight by the learning rate however
    small its gradient is, no longer throw the outputs far beyond the classes' scale. Where nothing
    takes the filters' scale away again, their responses have the size one.
    docs/evidence.md has the derivation, the ablations and where it was measured.

    Args:
        model: Any module with a convolution.
        images: (N, C, *size), one training batch as the model is fed, or batches of them.
        seed: Of the patches' positions.
        head_scale: Deviation of the head's weight as a share of torch's default, 0 to 1. By
            default 0.1, but the head is left where a normalization runs between it and the layer
            before it (as in a ResNet or a transformer), since a step of Adam cannot throw what it
            is fed, and where its outputs are below 0.02 already, as in a deep network without a
            normalization.
        **options: As for `whiten_`, but for two defaults: `patches_per_image` gives 8,192 in all,
            32 of each of 256 images; and `scale` is "unit", for all of `layers`, where the next
            layer with weights after the first runs before any normalization does, as in a network
            without BatchNorm.

    Returns:
        The report. The head's weight has at most `head_scale` times the deviation
        1 / sqrt(3 fan_in), and a second call leaves it as it is but for rounding. Where the head is
        left, or the model does not end in a linear layer, `parameters["head_scale"]` is None, and a
        note says why.

    Raises:
        WarminitError: For any input that cannot be used; the model is then bit-identical to before.

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
            provenance["scale"] = f"nothing normalizes what {fed} is fed"
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
                done = _Done(None, _LEFT, f"the head is left as it is: {error}")
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

    It does to that layer what `whitening_small_head` does, and leaves it where that one does.

    Args:
        model: Any module that ends in an `nn.Linear`; its bias stays.
        images: (N, C, *size), as the model is fed; the first goes through once, to find the last
            layer, and at most 8 to see how large its outputs are.
        seed: Not used.
        head_scale: As for `whitening_small_head`: by default 0.1 where that was seen to help.
        batches: How many batches to read where `images` is a loader.

    Returns:
        The report, of the head. Its weight is a multiple of what it was, or has its bits where it
        is left: then `filters_set` is 0, and a note says why.

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
                found="the linear layer whose output is the model's",
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
    """Make the head small, unless no share is asked for and it is better left.

    Raises:
        WarminitError: If its weight cannot be written.
    """
    if head_scale is None:
        reason = ""
        if found.normalized_by:
            reason = f"{found.normalized_by} normalizes what it is fed"
        else:
            images = subject.as_fed(subject.images[:SEEN])
            if (size := output_size(subject.model, found, images)) < FAINT:
                reason = f"what it gives is small already, {size:.2g}"
        if reason:
            asked = f"Pass head_scale={HEAD} to make it small all the same."
            return _Done(None, _LEFT, f"{found.name} is left as it is: {reason}. {asked}")
    share = HEAD if head_scale is None else head_scale
    return _Done(share, f"{found.name}.weight x {shrink_(found, share):.3g}", None)


def _fed_unnormalized(subject: Subject, options: WhiteningKeywords) -> str:
    """Return the layer that is fed what the filters give at its own size; "" where none is."""
    first = subject.first(only(options.get("layers")))
    following = subject.survey.next_after(first.module)
    return following.name if following and not following.normalizes else ""
