"""two photographs -> docs/adapted-filters.png: filters before and after `adapt_stem_`.

    python tools/adapt_figure.py [FILE]

The filters are whitening directions of RGB photographs, as those of a trained first layer. Then the
images become YCbCr, and the layer is adapted. A filter w of YCbCr pixels M x responds to RGB pixels
x as w M does, so that all rows show what a filter sees in red, green and blue.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from warminit import adapt_stem_, whiten_
from warminit.initializers.adapt.stem import AdaptMethod

FILE = Path(__file__).parents[1] / "docs" / "adapted-filters.png"
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
FILTERS, PIXEL, GAP = 10, 7, 8


def photographs() -> Tensor:
    """Return two photographs (2, 3, H, W), standardized: those of docs/adapt.md."""
    pixels = torch.stack([torch.tensor(image) for image in load_sample_images().images])
    rgb = pixels.permute(0, 3, 1, 2)[:, :, ::4, ::4] / 255
    return (rgb - rgb.mean((0, 2, 3), keepdim=True)) / rgb.std((0, 2, 3), keepdim=True)


def seen_in_rgb() -> dict[str, Tensor]:
    """Return (F, 3, 7, 7) before, and after each way, as the filters see red, green and blue."""
    rgb = photographs()
    ycbcr = torch.einsum("oc,nchw->nohw", YCBCR, rgb)
    given: dict[str, dict[str, Any]] = {
        "repeat": {},
        "least-squares": {"old_images": rgb},
        "paired": {"old_images": rgb, "paired": True},
    }
    rows = {}
    for name, options in given.items():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            conv = nn.Conv2d(3, FILTERS, 7)
        whiten_(conv, rgb, n_filters=FILTERS, seed=0)
        rows["before"] = conv.weight.detach().clone()
        method: AdaptMethod = "repeat" if name == "repeat" else "least-squares"
        adapt_stem_(conv, ycbcr, method=method, **options)
        rows[name] = torch.einsum("fokl,oc->fckl", conv.weight.detach(), YCBCR)
    return rows


def drawn(rows: dict[str, Tensor]) -> NDArray[np.uint8]:
    """Return RGBA pixels: one row of filters after another, 0 in gray, each scaled by itself."""
    lines = []
    for filters in rows.values():
        tiles = 0.5 + filters / (2 * filters.abs().amax((1, 2, 3), keepdim=True))
        tiles = torch.cat([tiles, torch.ones_like(tiles[:, :1])], 1)  # opaque
        tiles = tiles.repeat_interleave(PIXEL, 2).repeat_interleave(PIXEL, 3)
        framed = nn.functional.pad(tiles, (0, GAP, 0, GAP))  # transparent, on light and on dark
        lines.append(torch.cat(list(framed), 2))
    pixels = torch.cat(lines, 1)[:, :-GAP, :-GAP]
    return (255 * pixels).round().byte().permute(1, 2, 0).numpy()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    Image.fromarray(drawn(seen_in_rgb())).save(target, optimize=True)
