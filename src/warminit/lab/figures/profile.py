"""gains over many settings -> performance profile: the share of runs above each gain, by arm."""

from typing import Any

import altair as alt
import numpy as np

from warminit.lab.figures.theme import (
    FILE_WIDTH,
    Layered,
    Width,
    arm_legend,
    arm_scale,
    charted,
    in_lines,
)
from warminit.lab.verdict.across import performance_profile
from warminit.lab.verdict.settings import ArmAcross, Settings

POINTS = 81
"""Number of gains at which a profile is drawn."""


def profile_rows(settings: Settings) -> list[dict[str, Any]]:
    """Return one row per arm and gain: the share of runs above it, settings weigh equally."""
    gains = np.concatenate([g for arm in settings.arms for g in arm.gains.values()])
    low, high = settings.factor * float(gains.min()), settings.factor * float(gains.max())
    edge = 0.02 * (high - low) or 1.0
    at = sorted({0.0, *np.linspace(min(low - edge, 0), max(high + edge, 0), POINTS).tolist()})
    return [
        {"name": in_lines(_name(settings, arm)), "gain": gain, "share": share}
        for arm in settings.arms
        for gain, share in zip(
            at, performance_profile(arm.gains, [g / settings.factor for g in at]), strict=True
        )
    ]


def profile(settings: Settings, width: Width = FILE_WIDTH) -> Layered:
    """Draw the share of each arm's runs above each gain over the baseline.

    A curve further right is better. At the dashed line at 0, the curve gives the share of runs that
    are better than the baseline's at the same seed.
    """
    rows = profile_rows(settings)
    names = list(dict.fromkeys(row["name"] for row in rows))
    scale = arm_scale(["", *names], "")
    unit = f", {settings.unit}" if settings.unit else ""
    lines = (
        charted(rows)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X(
                "gain:Q",
                title=f"gain over the baseline, {settings.metric.replace('_', ' ')}{unit}",
                scale=alt.Scale(nice=False),
            ),
            y=alt.Y("share:Q", title="share of runs above", axis=alt.Axis(format="%")),
            color=alt.Color(
                "name:N",
                scale=alt.Scale(domain=names, range=[scale[name][0] for name in names]),
                legend=arm_legend(names),
            ),
            strokeDash=alt.StrokeDash(
                "name:N", scale=alt.Scale(domain=names), legend=arm_legend(names)
            ),
        )
    )
    told = "; ".join(
        f"{_name(settings, arm)} {performance_profile(arm.gains, [0.0])[0]:.0%}"
        for arm in settings.arms
    )
    zero = charted([{"zero": 0}]).mark_rule(strokeDash=[4, 3]).encode(x="zero:Q")
    return alt.layer(zero, lines).properties(
        width=width,
        height=260,
        description=f"Performance profiles. Share of runs above the baseline: {told}.",
    )


def _name(settings: Settings, arm: ArmAcross) -> str:
    several = len({each.baseline for each in settings.arms}) > 1
    return f"{arm.arm} - {arm.baseline}" if several else arm.arm
