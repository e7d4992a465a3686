"""model, images -> model conditioned in place by Pre-Warm with any ingredient left out."""

from functools import partial
from typing import Unpack

from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.patches import Centering
from warminit.images.source import Images
from warminit.initializers.prewarm.method import Engine, kmeans_filters
from warminit.initializers.stems.conditioning import ArmOptions, condition_
from warminit.initializers.stems.filters import Scaling
from warminit.models.find import find_layer
from warminit.report import InitReport


def prewarm(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    engine: Engine = "fast",
    fraction: float | None = None,
    centering: Centering = "patch",
    spatial: bool = True,
    scaling: Scaling = "global",
    **options: Unpack[ArmOptions],
) -> InitReport:
    """Apply Pre-Warm (Martinsn, 2026); with no parameters, exactly `prewarm_`.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        seed: Of the patches' positions and of k-means.
        engine: "fast" or "paper".
        fraction: Share of the filter bank to set, above 0 and at most 1; the paper's is 0.5.
        centering: "patch" removes a patch's mean, "channel" one a channel, "none" nothing.
        spatial: False leaves the spatial weights out.
        scaling: "global" scales the bank by one factor, "per-filter" each filter by its own.
        **options: As for `prewarm_`, `layer` and `layers` included; `scale` may be
            "parity", "match" or "unit".

    Returns:
        The report; the rest of the bank keeps its bits.

    Raises:
        WarminitError: If both `fraction` and `n_clusters` are given, or as `prewarm_` raises.
    """
    if fraction is not None:
        if options.get("n_clusters") is not None:
            raise WarminitError(
                f"fraction={fraction} and n_clusters={options['n_clusters']} are both given; one "
                "of the two is needed. Leave one out."
            )
        if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise WarminitError(
                f"fraction={fraction!r}; a number above 0 and at most 1 is needed. The paper's is "
                "0.5."
            )
        out_channels = find_layer(
            model, options.get("layer"), images if isinstance(images, Tensor) else None
        ).out_channels
        options["n_clusters"] = max(1, round(fraction * out_channels))
    ingredients = {"centering": centering, "spatial": spatial, "scaling": scaling}
    defaults = {"centering": "patch", "spatial": True, "scaling": "global"}
    return condition_(
        model,
        images,
        partial(
            kmeans_filters, engine=engine, centering=centering, spatial=spatial, scaling=scaling
        ),
        arm="prewarm",
        seed=seed,
        parameters={
            "engine": engine,
            **{name: value for name, value in ingredients.items() if value != defaults[name]},
        },
        **options,
    )
