"""data sets, runs -> the figures of the report page that need images: filters, pipeline, pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

from warminit.errors import WarminitError
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.lab.data.load import ImageDataset
from warminit.lab.figures.pictures import Picture, mosaic, to_svg
from warminit.lab.figures.pipeline import (
    pipeline_pictures,
    prewarm_pipeline,
    spectrum_chart,
    whitening_pipeline,
)
from warminit.lab.figures.pixel_charts import patch_norms, pixel_histogram
from warminit.lab.report.figures import PageFigure, chart_figure
from warminit.lab.report.starts import Start, start_of
from warminit.lab.runs.kept_filters import MOST_FILTERS, kept_filters, survival
from warminit.lab.runs.plan import model_rules
from warminit.lab.store.store import StoredRun
from warminit.lab.verdict.analysis import Analysis

MOST_BANKS = 8
"""Maximum number of arms whose filters are shown, in the study's order."""


def data_figures(analysis: Analysis, datasets: Mapping[str, ImageDataset]) -> list[PageFigure]:
    """Return the figures from images: pixel statistics, filters, and the pipeline stages.

    The figures show each data set with the study's first model, at its first finished seed. An arm
    that cannot be imported here is left out.
    """
    found: list[PageFigure] = []
    for number, (name, dataset) in enumerate(datasets.items()):
        if name not in analysis.study.datasets:
            continue
        model, title = analysis.study.models[0], analysis.title(name)
        try:
            rules = model_rules(dataset, model)
        except WarminitError:
            continue
        starts = _starts(analysis, dataset, name, model)
        found += _filters(starts, title, number)
        found += _pipelines(starts, rules, title, number)
        found += _pixels(dataset, rules, title, number)
    # Pictures take the whole width, so charts come after them, side by side.
    return sorted(found, key=lambda figure: not figure.panels)


def _starts(
    analysis: Analysis, dataset: ImageDataset, name: str, model: str
) -> list[tuple[StoredRun, Start]]:
    """Return the first finished run of each arm on a place, with its initial state."""
    first: dict[str, StoredRun] = {}
    for run in analysis.runs:
        if run.result is not None and (run.spec.dataset, run.spec.model) == (name, model):
            first.setdefault(run.spec.arm.label, run)
    found = []
    for run in list(first.values())[:MOST_BANKS]:
        try:
            found.append((run, start_of(dataset, run)))
        except WarminitError:
            continue
    return found


def _filters(
    starts: Sequence[tuple[StoredRun, Start]], title: str, number: int
) -> list[PageFigure]:
    pictures: list[Picture] = []
    for run, start in starts:
        label, count = run.spec.arm.label, len(start.after)
        cut = f" (first {MOST_FILTERS} of {count})" if count > MOST_FILTERS else ""
        marked = [row for row in start.changed if row < MOST_FILTERS]
        if not pictures:
            pictures.append(mosaic(start.before[:MOST_FILTERS], title=f"before any arm{cut}"))
        if start.changed:
            shown = start.after[:MOST_FILTERS]
            pictures.append(mosaic(shown, title=f"after {label}{cut}", marked=marked))
        trained = kept_filters(run.result.trained_filters) if run.result else None
        if trained is not None and trained.shape[1:] == start.after.shape[1:]:
            rows = [row for row in marked or range(count) if row < len(trained)]
            left = survival(start.after[rows], trained[rows])
            heading = f"{label}, trained: {left:.2f}"  # short: a panel is eight tiles wide
            pictures.append(mosaic(trained, title=heading, marked=marked))
    caption = (
        "The first layer at the first seed, each filter scaled to its own range. A frame marks the "
        "filters that the arm set; of an arm that changes nothing only the trained ones are shown. "
        "The number is the cosine between a filter and its start, the mean over the set filters, "
        "or over all where none is set: 1 where training has kept their shapes."
    )
    name = f"{title}: filters before, after and trained"
    return _pictures(f"filters-{number}", name, caption, pictures)


def _pipelines(
    starts: Sequence[tuple[StoredRun, Start]], rules: Hyperparameters, title: str, number: int
) -> list[PageFigure]:
    found: list[PageFigure] = []
    for run, start in starts:
        arm, given = run.spec.arm, run.arm_parameters
        kernel = tuple(start.after.shape[2:])
        own = {"patches_per_image", "n_filters", "scale", "algorithm", "head_scale"}
        if len(kernel) != 2 or not set(given) <= own or given.get("engine", "paper") != "paper":
            continue
        scale = given.get("scale", rules.scale)
        n_patches = int(given.get("patches_per_image", rules.n_patches))
        common: dict[str, Any] = {
            "n_patches": n_patches, "scale": scale, "kernel": kernel, "seed": run.spec.seed,
        }  # fmt: skip
        batch = (start.images, start.pixels)
        if arm.name == "prewarm":
            n_clusters = int(given.get("n_filters", rules.n_clusters))
            stages = prewarm_pipeline(*batch, n_clusters=n_clusters, **common)
        elif arm.name in {"whitening", "whitening-small-head"}:
            n_filters = int(given.get("n_filters", rules.n_clusters))
            stages = whitening_pipeline(*batch, n_filters=n_filters, **common)
            chart = spectrum_chart(stages, width="container")
            caption = "Energy of the patches in each direction. Dashed: whitening's eps."
            found.append(
                chart_figure(
                    f"spectrum-{number}", f"{title}: spectrum of the patches", caption, chart
                )
            )
        else:
            continue
        caption = (
            f"The first batch of seed {run.spec.seed}: {n_patches} patches an image, all of them "
            "framed in the first images. Each tile is scaled to its own range."
        )
        found += _pictures(
            f"{arm.name}-{number}",
            f"{title}: from images to filters, {arm.label}",
            caption,
            pipeline_pictures(stages),
        )
    return found


def _pixels(
    dataset: ImageDataset, rules: Hyperparameters, title: str, number: int
) -> list[PageFigure]:
    found = []
    histogram = pixel_histogram(dataset, rules, "container")
    if histogram is not None:
        caption = "All training pixels. Otsu's threshold splits foreground from background."
        found.append(chart_figure(f"pixels-{number}", f"{title}: pixels", caption, histogram))
    norms = patch_norms(dataset, rules, "container")
    caption = "How much training patches vary, their mean removed."
    found.append(chart_figure(f"norms-{number}", f"{title}: patch norms", caption, norms))
    return found


def _pictures(name: str, title: str, caption: str, pictures: Sequence[Picture]) -> list[PageFigure]:
    if not pictures:
        return []
    panels = tuple(to_svg([picture], ink="currentColor") for picture in pictures)
    told = " ".join(picture.alt for picture in pictures)
    return [PageFigure(name, title, caption, told, panels=panels)]
