"""Analysis, data sets -> the tables at the end of the report page: arms, data, environment."""

from collections.abc import Mapping, Sequence
from typing import Any

from warminit.lab.data.load import ImageDataset
from warminit.lab.report.tables import Entry, Table, metric_name, placed
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import scale_of

MOST_CLASSES = 20
"""Maximum number of listed class names; the rest are counted."""


def arms_table(analysis: Analysis) -> Table:
    """Return one row per arm and place: its layer and parameters at the first seed."""
    rows, seen = [], set()
    for run in analysis.runs:
        place = (run.spec.dataset, run.spec.model, run.spec.arm.label)
        if run.result is None or place in seen or not run.result.init_report:
            continue
        seen.add(place)
        told = run.result.init_report
        parameters = ", ".join(f"{k} = {_plain(v)}" for k, v in told["parameters"].items())
        rows.append(
            (
                Entry(analysis.title(run.spec.dataset)),
                Entry(run.spec.model),
                Entry(run.spec.arm.label),
                Entry(str(told["layer"])),
                Entry(f"{told['filters_set']} of {told['out_channels']}", told["filters_set"]),
                Entry(parameters),
                Entry(" ".join(told["notes"])),
            )
        )
    headings = ("data set", "model", "arm", "layer", "filters set", "with", "notes")
    caption = "What each arm did at the first seed."
    table = Table("arms", caption, headings, tuple(rows), frozenset({"filters set"}))
    return placed(analysis, table)


def tuned_table(analysis: Analysis) -> Table:
    """Return one row per arm and learning rate of a tuned study."""
    scale = scale_of(analysis)
    rows = tuple(
        (
            Entry(analysis.title(row.cell[0])),
            Entry(row.cell[1]),
            Entry(row.cell[2]),
            Entry(f"{row.lr_start:g}", row.lr_start),
            Entry("failed" if row.mean is None else scale.level(row.mean), row.mean),
            Entry("chosen" if row.chosen else ""),
        )
        for row in analysis.tuned
    )
    metric = f"{metric_name(analysis)}{', %' if scale.percent else ''}"
    headings = ("data set", "model", "arm", "learning rate", metric, "best")
    caption = "Mean over the tuning seeds, on validation images."
    return Table("tuned", caption, headings, rows, frozenset({"learning rate", metric}))


def datasets_table(datasets: Mapping[str, ImageDataset]) -> Table:
    """Return one row per data set: number and size of its images, and classes."""
    rows = []
    for name, data in datasets.items():
        classes = ", ".join(data.class_names[:MOST_CLASSES])
        more = data.n_classes - MOST_CLASSES
        height, width = data.image_size
        rows.append(
            (
                Entry(f"{name} (partial)" if data.partial else name),
                Entry(f"{len(data.train_images):,}", len(data.train_images)),
                Entry(f"{len(data.test_images):,}", len(data.test_images)),
                Entry(f"{data.in_channels} x {height} x {width}"),
                Entry(str(data.n_classes), data.n_classes),
                Entry(f"{classes}, and {more} more" if more > 0 else classes),
            )
        )
    headings = ("data set", "training images", "evaluated images", "size", "classes", "names")
    numeric = frozenset({"training images", "evaluated images", "classes"})
    return Table("datasets", "The data.", headings, tuple(rows), numeric)


def environment_table(analysis: Analysis) -> Table:
    """Return the environments of the runs, with every value that differs."""
    found: dict[str, dict[str, None]] = {}
    for run in analysis.runs:
        for name, value in run.environment.items():
            found.setdefault(name, {})[value] = None
    rows = tuple((Entry(name), Entry(", ".join(values))) for name, values in found.items())
    return Table("environment", "What the runs were computed with.", ("name", "value"), rows)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return " x ".join(str(each) for each in value) if is_sequence else str(value)
