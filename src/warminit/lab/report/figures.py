"""Analysis -> the charts of the report page, each with its caption and alt text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import altair as alt

from warminit.lab.data.load import ImageDataset
from warminit.lab.figures.curves import ZOOM, Curve, learning_curves
from warminit.lab.figures.forest import MOST_ROWS, forest
from warminit.lab.figures.grid import Prediction, grid_heat_map, grid_panels
from warminit.lab.figures.look_paths import look_paths
from warminit.lab.figures.power import power_curves
from warminit.lab.figures.profile import profile
from warminit.lab.figures.render import spec
from warminit.lab.figures.seed_lines import paired_seeds
from warminit.lab.paper.grid_table import grid_rows
from warminit.lab.runs.plan import model_rules
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.settings import Settings


@dataclass(frozen=True, slots=True)
class PageFigure:
    """Hold one figure of the page: a chart's specification, or pictures.

    Attributes:
        name: Part of the figure's id and of its file names: letters, digits and dashes.
        title: Heading.
        caption: Explanation of the figure.
        alt: Description for readers who cannot see the figure.
        spec: Vega-Lite specification as JSON text; empty for a picture.
        panels: SVG documents with escaped text, side by side if there is room; empty for a chart.
    """

    name: str
    title: str
    caption: str
    alt: str
    spec: str = ""
    panels: tuple[str, ...] = ()


def forest_figure(analysis: Analysis) -> PageFigure | None:
    """Return the forest plot; None while there is no comparison."""
    if not analysis.comparisons:
        return None
    cut = ""
    if len(analysis.comparisons) > MOST_ROWS:
        cut = f" Of {len(analysis.comparisons)} comparisons, the {MOST_ROWS} with the smallest p."
    level = f"{100 * (1 - analysis.comparisons[0].alpha):g} % interval"
    correction = "Holm's correction over all comparisons"
    if analysis.study.sequential is not None:
        level, correction = "adjusted interval", "correction for the looks and all comparisons"
    caption = (
        f"Mean paired difference from {analysis.study.baseline} with its {level}. Filled: "
        f"significant after {correction}. Green band: the equivalence margin." + cut
    )
    return chart_figure("forest", "Every comparison", caption, forest(analysis, "container"))


def place_figures(analysis: Analysis, dataset: str, model: str, number: int) -> list[PageFigure]:
    """Return the figures of one data set and model: looks, paired seeds and learning curves."""
    found = [
        *_looks_figure(analysis, dataset, model, number),
        chart_figure(
            f"paired-{number}",
            "Seed by seed",
            "A gray line joins the runs of one seed, which share every other initial weight and "
            "see the same batches. Orange: the mean of each arm.",
            paired_seeds(analysis, dataset, model, "container"),
        ),
    ]
    titles: dict[Curve, str] = {"accuracy": "Accuracy while training", "loss": "Training loss"}
    for curve, title in titles.items():
        chart = learning_curves(analysis, dataset, model, curve, "container")
        if chart is not None:
            caption = f"Mean over the seeds; the band is one standard deviation around it. {ZOOM}"
            found.append(chart_figure(f"{curve}-{number}", title, caption, chart))
    return found


def _looks_figure(analysis: Analysis, dataset: str, model: str, number: int) -> list[PageFigure]:
    chart = look_paths(analysis, dataset, model, "container")
    if chart is None:
        return []
    caption = (
        "The evidence of each comparison after each look. Dashed: the boundaries of that look, in "
        "the colour of the arm; above it helps, below it harms. Large points: where a comparison "
        "ended. It may also end as equivalent, or as undecidable, which has no boundary here."
    )
    return [chart_figure(f"looks-{number}", "Look by look", caption, chart)]


def settings_figure(settings: Settings) -> PageFigure:
    """Return the performance profiles over all settings of the study."""
    caption = (
        "For each arm the share of its runs that gain more than so much over the baseline at the "
        "same seed; every setting counts alike. Further right is better."
    )
    return chart_figure("profile", "Over all settings", caption, profile(settings, "container"))


def power_figure(analysis: Analysis) -> PageFigure | None:
    """Return the power curves; None if nothing could be tested, and in a sequential study."""
    if analysis.study.sequential is not None:
        return None  # its power depends on its looks, not on a fixed number of seeds
    chart = power_curves(analysis, "container")
    caption = (
        "The smallest effect that a one-sided paired t test sees in four of five studies, at the "
        "spread found here. Large points: this study. Dashed: the margin."
    )
    return (
        None
        if chart is None
        else chart_figure("power", "What could have been seen", caption, chart)
    )


def grid_figures(
    analysis: Analysis, datasets: Mapping[str, ImageDataset]
) -> dict[str, list[PageFigure]]:
    """Return heat maps by data set, if every arm except the baseline is a point of a grid."""
    needed = {"patch_size", "n_filters", "patches_per_image", "scale"}
    others = [arm for arm in analysis.study.arms if arm.label != analysis.study.baseline]
    if len(others) < 4 or any(not needed <= arm.parameters.keys() for arm in others):
        return {}
    found: dict[str, list[PageFigure]] = {}
    for place, dataset in enumerate(analysis.study.datasets):
        rows = grid_rows(analysis, dataset)
        predicted = None
        if dataset in datasets:
            rules = model_rules(datasets[dataset], analysis.study.models[0])
            if isinstance(rules.scale, float):
                predicted = Prediction(
                    rules.patch_size[0], rules.n_clusters, rules.n_patches, rules.scale
                )
        for number, panel in enumerate(grid_panels(rows)):
            chart = grid_heat_map(rows, panel, predicted, "container")
            title = f"{analysis.title(dataset)}: patch_size {panel[0]}, n_clusters {panel[1]}"
            caption = "Dot: p < 0.05 uncorrected; large: after Holm. Frame: the rule's prediction."
            found.setdefault(analysis.title(dataset), []).append(
                chart_figure(f"grid-{place}-{number}", title, caption, chart)
            )
    return found


def chart_figure(name: str, title: str, caption: str, chart: alt.TopLevelMixin) -> PageFigure:
    """Return a chart as the page embeds it."""
    content = spec(chart)
    # As wide as the page allows, including labels, which are added to the width otherwise.
    content["autosize"] = {"type": "fit-x", "contains": "padding"}
    content.pop("title", None)
    alt_text = str(content.get("description", title))
    return PageFigure(name, title, caption, alt_text, spec=json.dumps(content))
