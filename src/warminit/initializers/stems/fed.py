"""subject, layer, options -> the inputs of the layer, and the options for it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warminit.checks import check_count
from warminit.initializers.stems.design_rules import Hyperparameters, share_of_total
from warminit.initializers.stems.keywords import RuleOptions
from warminit.initializers.stems.subject import Subject
from warminit.models.deep import activations
from warminit.models.layer import FoundLayer
from warminit.models.ranks import all_or_none

DEEP_PATCHES = 8
"""Patches per image for later layers: the pixel rules do not apply to activations."""


@dataclass(frozen=True, slots=True)
class Fed:
    """Hold the inputs of one layer, from which its filters are made.

    Attributes:
        images: Images (N, C, *size), or the inputs of the layer.
        options: Options for these inputs.
        name: Name of the inputs in error texts; "" for the images.
        notes: Notes for the report.
        whole_patches: Number of `images` per image of the caller if each is one patch; otherwise 0.
    """

    images: Tensor
    options: RuleOptions
    name: str = ""
    notes: tuple[str, ...] = ()
    whole_patches: int = 0

    def reported(self, hyper: Hyperparameters) -> Hyperparameters:
        """Return the hyperparameters with the number of patches per image of the caller."""
        if not self.whole_patches:
            return hyper
        why = {**hyper.provenance, "n_patches": "the inputs of the layer, which are patches"}
        return replace(hyper, n_patches=self.whole_patches, provenance=why)


def fed_images(
    subject: Subject, target: FoundLayer, options: RuleOptions, first: FoundLayer
) -> Fed:
    """Return the inputs from which the filters of a layer are made.

    For the input layer these are the images. For a later layer these are its activations, after the
    earlier layers were conditioned.

    Args:
        subject: Model and images.
        target: Layer to set.
        options: Options of the caller.
        first: Input layer.
    """
    if target is first and target.takes_images:
        return Fed(subject.images.detach(), options)
    with all_or_none():
        fed = activations(subject.model, target, subject.as_fed(subject.images))
    name = f"the input of {target.name}"
    asked = options.get("patches_per_image")
    raw: RuleOptions = {**options, "mean": None, "std": None, "raw_images": None}
    if target.behind:
        raw["patches_per_image"] = asked or share_of_total(len(fed))[0]
        note = f"{target.behind} is frozen and stays; {target.name} is set to suit {name}"
        return Fed(fed, raw, name, (note,))
    if target is first:
        # They lie on a grid, so there are no others to draw: all are taken, or so many an image.
        patches = fed.view(len(subject.images), -1, *fed.shape[1:])
        if asked is not None and check_count("patches_per_image", asked) < patches.shape[1]:
            spread = torch.linspace(0, patches.shape[1] - 1, asked, dtype=torch.float64)
            patches = patches[:, spread.round().long().to(fed.device)]
        raw["patches_per_image"] = 1
        note = f"patches are normalized before {target.name}, which is set to suit {name}"
        return Fed(patches.flatten(0, 1), raw, name, (note,), patches.shape[1])
    later: RuleOptions = {"patches_per_image": asked or DEEP_PATCHES}
    if "scale" in options:
        later["scale"] = options["scale"]
    return Fed(fed, later, name)
