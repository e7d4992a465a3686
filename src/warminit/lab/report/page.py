"""Analysis, figures -> the text of the report page. One file that opens offline."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from warminit.lab.data.load import ImageDataset
from warminit.lab.figures.theme import config
from warminit.lab.report.details import (
    arms_table,
    datasets_table,
    environment_table,
    tuned_table,
)
from warminit.lab.report.figures import (
    PageFigure,
    forest_figure,
    grid_figures,
    place_figures,
    power_figure,
    settings_figure,
)
from warminit.lab.report.tables import (
    failed_table,
    results_table,
    runs_table,
    settings_table,
    tests_table,
    times_table,
)
from warminit.lab.report.texts import (
    asked,
    is_long,
    outcome_counts,
    reproduce,
    state,
    summary,
    verdicts,
)
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.chosen_rates import at_baselines_best, tuning_sentences
from warminit.lab.verdict.settings import across_settings
from warminit.lab.verdict.wording import notes

LEAST_SETTINGS = 3
"""Fewest data sets and models for which the page shows results over all of them."""

MOST_PLACES = 2
"""Most data sets and models with unfolded figures; with more, each data set is folded."""

_TEMPLATES = Path(__file__).parent / "templates"


def page(
    analysis: Analysis,
    *,
    datasets: Mapping[str, ImageDataset] | None = None,
    figures: Sequence[PageFigure] = (),
    command: str | None = None,
) -> str:
    """Return the text of the page; the same analysis gives the same text.

    Args:
        analysis: Analysis to show.
        datasets: Data sets by the study's names, for the table of data and the grid's prediction.
        figures: Figures of images and filters, from `data_figures`.
        command: Command that reproduces the study.
    """
    study = analysis.study
    css, javascript = (_static(name) for name in ("report.css", "report.js"))
    grouped, more = verdicts(analysis)
    content = {
        "study": study,
        "asked": asked(analysis),
        "state": state(analysis),
        "summary": summary(analysis),
        "verdicts": grouped,
        "more_verdicts": more,
        "notes": notes(analysis),
        "forest": forest_figure(analysis),
        "results": _results(analysis),
        "long": is_long(analysis),
        "settings": _settings(analysis),
        "tuned": _tuned(analysis),
        "times": times_table(analysis),
        "failed": failed_table(analysis),
        "grid": grid_figures(analysis, datasets or {}),
        "places": _places(analysis),
        "fold_places": is_long(analysis) or len(study.datasets) * len(study.models) > MOST_PLACES,
        "power": power_figure(analysis),
        "tests": tests_table(analysis),
        "datasets": datasets_table(datasets) if datasets else None,
        "data": figures,
        "arms": arms_table(analysis),
        "runs": runs_table(analysis),
        "reproduce": reproduce(analysis, command),
        "environment": environment_table(analysis),
        "last": max((run.finished_at for run in analysis.runs), default=""),
        "version": version("warminit"),
        "themes": json.dumps({"light": config("light"), "dark": config("dark")}),
        "css": css,
        "runtime": _runtime(),
        "javascript": javascript,
        "policy": _policy(_runtime(), javascript),
    }
    return _environment().get_template("report.html.j2").render(content)


@cache
def _environment() -> Environment:
    # `trusted` is for the package's texts and for SVG with escaped texts.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["in_script"] = in_script
    environment.filters["trusted"] = Markup
    return environment


def in_script(json_text: str) -> Markup:
    r"""Return JSON text that cannot end or begin a script element.

    Example:
        >>> print(in_script('"</script>"'))
        "\u003c/script\u003e"
    """
    # In JSON these characters occur only in strings, where an escape means the same.
    for sign, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        json_text = json_text.replace(sign, escaped)
    return Markup(json_text)  # noqa: S704 - escaped above


@cache
def _static(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _runtime() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; the only copy on the page."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


@cache
def _policy(*scripts: str) -> str:
    """Return a content security policy that allows only these scripts, and no network."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _tuned(analysis: Analysis) -> dict[str, Any] | None:
    """Return the chosen rates, and the comparison at the baseline's best; None if not tuned."""
    other = analysis.at_baseline
    if other is None:
        return None
    return {
        "sentences": tuning_sentences(analysis),
        "table": tuned_table(analysis),
        "title": at_baselines_best(analysis),
        "verdicts": verdicts(other)[0],
        "results": replace(results_table(other), name="results-at-baseline"),
    }


def _settings(analysis: Analysis) -> dict[str, Any] | None:
    """Return the table and figure over all settings; None if there are two or fewer."""
    compared = {(cell.dataset, cell.model) for cell in analysis.cells if cell.comparison}
    if len(compared) < LEAST_SETTINGS:
        return None
    found = across_settings([analysis])
    return {"table": settings_table(found), "figure": settings_figure(found)}


def _results(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the table of results; for a long study, one table per data set."""
    if not is_long(analysis):
        return [{"title": "", "table": results_table(analysis)}]
    return [
        {
            "title": f"{analysis.title(dataset)}: every result",
            "table": replace(results_table(analysis, dataset), name=f"results-{number}"),
        }
        for number, dataset in enumerate(analysis.study.datasets)
    ]


def _places(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the figures of each data set by model, with its outcomes in words."""
    found, number = [], 0
    for dataset in analysis.study.datasets:
        models: dict[str, list[PageFigure]] = {}
        cells = [cell for cell in analysis.cells if cell.dataset == dataset]
        for model in analysis.study.models:
            if any(cell.scores for cell in cells if cell.model == model):
                models[model] = place_figures(analysis, dataset, model, number)
                number += 1
        if models:
            several = len(analysis.study.models) > 1
            place = analysis.title(dataset) if several else analysis.place(dataset, *models)
            outcomes = outcome_counts(cell.comparison for cell in cells if cell.comparison)
            found.append(
                {
                    "title": "In your training loop" if analysis.study.own_loop else place,
                    "summary": f"Seed by seed and while training: {outcomes or 'not compared yet'}",
                    "models": models,
                }
            )
    return found
