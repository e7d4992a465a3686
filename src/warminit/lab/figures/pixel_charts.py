"""images, rules -> the pixel histogram with Otsu's threshold, the distribution of patch norms."""

import altair as alt
import numpy as np
import torch

from warminit.images.check import RawPixels
from warminit.images.patches import center_patches, sample_patches
from warminit.initializers.stems.design_rules import PATCH_NORM_CONSTANT, Hyperparameters
from warminit.lab.data.load import ImageDataset
from warminit.lab.figures.theme import BLUE, FILE_WIDTH, VERMILLION, Layered, Width, charted

SHOWN_PATCHES = 20_000
"""Patches of the distribution; the rule itself takes the mean of about 50,000."""

BINS = 60


def pixel_histogram(
    dataset: ImageDataset, rules: Hyperparameters, width: Width = FILE_WIDTH
) -> Layered | None:
    """Draw the histogram of a one-channel training split, with Otsu's threshold as a rule.

    Args:
        dataset: Data set; all pixels of its training images are counted.
        rules: Rules derived from the same images; without a threshold, the result is None.
        width: Width of the figure.
    """
    if rules.otsu_threshold is None or rules.foreground_density is None:
        return None
    counts = torch.bincount(dataset.train_images.flatten(), minlength=256).double()
    shares = (100 * counts / counts.sum()).tolist()
    values = [
        {
            "low": (level - 0.5) / 255,
            "high": (level + 0.5) / 255,
            "share": share,
            "side": "foreground" if level / 255 > rules.otsu_threshold else "background",
        }
        for level, share in enumerate(shares)
    ]
    bars = (
        charted(values)
        .mark_rect()
        .encode(
            x=alt.X(
                "low:Q",
                title="pixel value, 0 black to 1 white",
                scale=alt.Scale(domain=[0, 1], clamp=True),
            ),
            x2="high:Q",
            y=alt.Y(
                "share:Q",
                title="share of pixels, % (square root)",
                scale=alt.Scale(type="sqrt"),
                axis=alt.Axis(tickCount=5),
            ),
            y2=alt.datum(0),
            color=alt.Color(
                "side:N",
                title=None,
                scale=alt.Scale(domain=["background", "foreground"], range=["#7A7F87", BLUE]),
            ),
            tooltip=[
                alt.Tooltip("low:Q", title="pixel value", format=".3f"),
                alt.Tooltip("share:Q", title="% of pixels", format=".3~f"),
            ],
        )
    )
    text = f"Otsu {rules.otsu_threshold:.4f}"
    return alt.layer(bars, *_marked(rules.otsu_threshold, text)).properties(
        width=width,
        height=220,
        description=(
            f"Histogram of the training pixels of {dataset.name}. Otsu's threshold is "
            f"{rules.otsu_threshold:.4f}; {100 * rules.foreground_density:.1f} % of the pixels lie "
            f"above it, from which the rule derives n_patches = {rules.n_patches}."
        ),
    )


def patch_norms(
    dataset: ImageDataset, rules: Hyperparameters, width: Width = FILE_WIDTH
) -> Layered:
    """Draw the distribution of the norms of mean-centered raw patches, with their mean.

    The text at the mean gives the n_patches of Equation 6, or says that Otsu's rule decides (one
    channel, two modes).
    """
    norms = _norms(dataset, rules.patch_size)
    mean = float(norms.mean()) if rules.patch_norm is None else rules.patch_norm
    counts, edges = np.histogram(norms.numpy(), bins=BINS)
    values = [
        {"low": float(low), "high": float(high), "share": 100 * int(count) / len(norms)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    bars = (
        charted(values)
        .mark_rect(color=BLUE, stroke="white", strokeWidth=0.3)
        .encode(
            x=alt.X("low:Q", title="norm of a centered patch (pixels from 0 to 1)"),
            x2="high:Q",
            y=alt.Y("share:Q", title="share of patches, %", axis=alt.Axis(tickCount=5)),
            y2=alt.datum(0),
            tooltip=[
                alt.Tooltip("low:Q", title="norm from", format=".3f"),
                alt.Tooltip("high:Q", title="to", format=".3f"),
                alt.Tooltip("share:Q", title="% of patches", format=".2~f"),
            ],
        )
    )
    decides = f"n_patches {rules.n_patches}{'' if rules.patch_norm is not None else ' (Otsu)'}"
    told = (
        f"floor((F / 4) x {PATCH_NORM_CONSTANT} x mean) gives n_patches = {rules.n_patches}"
        if rules.patch_norm is not None
        else f"n_patches = {rules.n_patches} comes from Otsu's rule instead"
    )
    return alt.layer(bars, *_marked(mean, [f"mean {mean:.3f}", decides])).properties(
        width=width,
        height=220,
        description=(
            f"Distribution of the norms of {len(norms):,} mean-centered patches of {dataset.name}; "
            f"mean {mean:.3f}; {told}."
        ),
    )


def _norms(dataset: ImageDataset, kernel: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = dataset.train_images
    chosen = torch.randperm(len(images), generator=generator)[:SHOWN_PATCHES]
    each = -(-SHOWN_PATCHES // len(chosen))
    patches = sample_patches(images[chosen], each, kernel, generator)
    norms: torch.Tensor = center_patches(RawPixels(patches).of(patches).float()).norm(dim=1)
    return norms


def _marked(at: float, text: str | list[str]) -> tuple[alt.Chart, alt.Chart]:
    """Return a vertical rule, and its text to the right at the top."""
    base = charted([{"at": at, "text": text}])
    rule = base.mark_rule(color=VERMILLION, strokeWidth=2.5).encode(x="at:Q")
    label = base.mark_text(align="left", baseline="top", dx=6, fontWeight=600).encode(
        x="at:Q", y=alt.value(2), text="text:N"
    )
    return rule, label
