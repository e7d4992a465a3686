"""Analysis -> the tables of the report page: printed texts, and exact values to copy."""

from dataclasses import dataclass, replace
from typing import Any

from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import cell_rows, p_heading, scale_of
from warminit.lab.verdict.rows import last_line, run_rows
from warminit.lab.verdict.scale import Scale, p_text
from warminit.lab.verdict.settings import EXPLANATION, HEADINGS, Settings, texts
from warminit.lab.verdict.times import times


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold one cell of a table: the shown text, and the value for sorting and CSV."""

    text: str
    value: Any = None

    @property
    def raw(self) -> str:
        """Value for CSV: full precision, empty if there is none."""
        return self.text if self.value is None else str(self.value)


@dataclass(frozen=True, slots=True)
class Table:
    """Hold a table of the page.

    Attributes:
        name: Part of the table's id, letters and dashes.
        caption: Caption of one line.
        headings: Column headings.
        numeric: Headings of the columns with numbers.
        long: Headings of the columns with texts that may break into lines.
        rows: Rows, each with one entry per heading.
    """

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: frozenset[str] = frozenset()
    long: frozenset[str] = frozenset({"error", "names", "with", "notes", "value"})


def results_table(analysis: Analysis, dataset: str | None = None) -> Table:
    """Return one row per arm, data set and model: mean, difference, p and wins.

    Args:
        analysis: Analysis to show.
        dataset: Data set of the rows; by default all data sets.
    """
    scale = scale_of(analysis)
    level = f"{metric_name(analysis)}{', %' if scale.percent else ''}"
    difference = f"difference{_unit(scale)}"
    deciding = p_heading(analysis)
    compared = [row for row in cell_rows(analysis) if dataset in (None, row.dataset)]
    loss = "cross-entropy, nats"
    beside = [loss, "its interval"] if any(row.texts.cross_entropy for row in compared) else []
    headings = (
        "arm", "outcome", "data set", "model", "seeds", level, "sd", difference, "interval",
        "one-sided p", deciding, "wins", *beside,
    )  # fmt: skip
    rows = [
        (
            Entry(row.arm),
            Entry(row.outcome),
            Entry(row.texts.dataset),
            Entry(row.model),
            Entry(row.texts.seeds, row.seeds),
            _entry(row.texts.mean, row.mean, scale),
            _entry(row.texts.sd, row.sd, scale),
            _entry(row.texts.difference, row.difference, scale),
            Entry(row.texts.interval),
            Entry(f"{row.texts.p_one_sided}{row.texts.stars}", row.p_one_sided),
            Entry(row.texts.p_holm, row.p_holm),
            Entry(row.texts.wins, row.wins),
            *[
                Entry(row.texts.cross_entropy, row.cross_entropy),
                Entry(row.texts.cross_entropy_interval),
            ][: len(beside)],
        )
        for row in compared
    ]
    numeric = {*headings[4:]}
    caption = (
        "Every arm against the baseline. The interval is of one comparison alone, Holm's p over "
        "all of them. Stars: * p < 0.1, ** p < 0.05, *** p < 0.01. Cross-entropy: the difference."
    )
    if analysis.study.sequential is not None:
        caption = (
            "Every arm against the baseline. Interval and p are those that the verdict rests on, "
            "adjusted for the looks and for all comparisons. A p of a fixed number of seeds does "
            "not hold here. Cross-entropy: the difference, its interval adjusted for the looks."
        )
    return placed(analysis, Table("results", caption, headings, tuple(rows), frozenset(numeric)))


def times_table(analysis: Analysis) -> Table:
    """Return one row per arm and accuracy: steps and seconds of the arm and the baseline."""
    headings = (
        "data set", "model", "arm", "to accuracy, %", "steps", "baseline's steps", "ratio",
        "interval", "arrived", "baseline's arrived", "seconds", "baseline's seconds",
    )  # fmt: skip
    found = times(analysis)
    rows = [
        (
            Entry(analysis.title(each.dataset)),
            Entry(each.model),
            Entry(each.arm),
            _number(each.steps.threshold, 100, 2),
            _number(each.steps.steps_arm, 1, 0),
            _number(each.steps.steps_baseline, 1, 0),
            _number(each.steps.ratio, 1, 2),
            Entry("{:.2f} to {:.2f}".format(*each.steps.interval) if each.steps.interval else ""),
            Entry(f"{each.steps.arrived_arm}/{each.steps.n}", each.steps.arrived_arm),
            Entry(f"{each.steps.arrived_baseline}/{each.steps.n}", each.steps.arrived_baseline),
            _number(each.seconds_arm, 1, 1),
            _number(each.seconds_baseline, 1, 1),
        )
        for each in found
    ]
    spacings = sorted({each.steps.spacing for each in found})
    looks = "" if analysis.study.sequential is None else ", adjusted for the looks"
    caption = (
        "Mean steps and seconds to an accuracy; a run that never arrives counts as arriving at its "
        "last step. The first accuracy is the baseline's mean final one. Ratio below 1: faster, "
        f"with the 95 % interval of a bootstrap over the seeds{looks}. Evaluated every "
        f"{' or '.join(f'{each:,.0f}' for each in spacings)} steps: nothing is known more finely."
    )
    return placed(analysis, Table("times", caption, headings, tuple(rows), frozenset(headings[3:])))


def settings_table(settings: Settings) -> Table:
    """Return one row per arm, with its results over all settings of the study."""
    rows = tuple(tuple(Entry(text) for text in row) for row in texts(settings))
    unit = f" Gains in {settings.unit}." if settings.unit else ""
    numeric = frozenset(HEADINGS) - {"arm", "worst setting"}
    return Table("settings", EXPLANATION + unit, HEADINGS, rows, numeric)


def tests_table(analysis: Analysis) -> Table:
    """Return one row per comparison, with every test."""
    scale = scale_of(analysis)
    unit = _unit(scale)
    sd = f"sd of differences{unit}"
    margin = f"{scale.factor * analysis.study.margin:g}{unit.removeprefix(',')}"
    seeds = ["seeds for the observed", f"seeds for {margin}, the margin"]
    headings = (
        "data set", "model", "arm", "two-sided p", "sign-flip p", "Wilcoxon p", "TOST p",
        "non-inferiority p", "error reduction, %", "Cohen's d", sd, "power", *seeds,
    )  # fmt: skip
    rows = []
    for cell in analysis.cells:
        c = cell.comparison
        if c is None:
            continue
        plan = c.seeds_to_decide
        rows.append(
            (
                Entry(analysis.title(cell.dataset)),
                Entry(cell.model),
                Entry(cell.arm),
                *(
                    Entry(p_text(p), p)
                    for p in (
                        c.p_two_sided, c.p_sign_flip, c.p_wilcoxon, c.p_equivalence,
                        c.p_noninferiority,
                    )
                ),
                _number(c.relative_error_reduction, 100, 2, sign=True),
                _number(c.cohens_d, 1, 2, sign=True),
                _entry(scale.level(c.sd_difference), c.sd_difference, scale),
                _number(c.power, 1, 2),
                *(_count(plan[name]) if plan else Entry("") for name in ("observed", "margin")),
            )
        )  # fmt: skip
    caption = (
        "Every test of every comparison. Seeds: how many the two-sided paired t test needs to see "
        "such a difference with 80 % power, at the level of the smallest p of so many comparisons."
    )
    return placed(analysis, Table("tests", caption, headings, tuple(rows), frozenset(headings[3:])))


def runs_table(analysis: Analysis) -> Table:
    """Return one row per run: its metrics and times, or its failure."""
    rows = run_rows(analysis)
    metrics = list(
        dict.fromkeys(
            name
            for run in analysis.runs
            if run.result is not None
            for name in run.result.metrics
        )
    )  # fmt: skip
    measured = any(row.get("calibration_error") is not None for row in rows)
    columns = [*metrics, *["calibration_error"] * measured, "init_seconds", "train_seconds"]
    headings = (
        "data set", "model", "arm", "seed", *(name.replace("_", " ") for name in columns), "state",
    )  # fmt: skip
    table = tuple(
        (
            Entry(analysis.title(run.spec.dataset)),
            Entry(run.spec.model),
            Entry(row["arm"]),
            Entry(str(row["seed"]), row["seed"]),
            *(_number(row.get(name), 1, 3 if "seconds" in name else 4) for name in columns),
            Entry("failed" if row["error"] else "done"),
        )
        for run, row in zip(analysis.runs, rows, strict=True)
    )
    numeric = frozenset(headings[3:-1])
    return placed(analysis, Table("runs", "Every run that has ended.", headings, table, numeric))


def failed_table(analysis: Analysis) -> Table:
    """Return one row per failed run, with the last line of its error."""
    rows = tuple(
        (
            Entry(analysis.title(run.spec.dataset)),
            Entry(run.spec.model),
            Entry(run.spec.arm.label),
            Entry(str(run.spec.seed), run.spec.seed),
            Entry(last_line(run.error)),
        )
        for run in analysis.failed
    )
    headings = ("data set", "model", "arm", "seed", "error")
    return placed(
        analysis, Table("failed", "Runs that failed.", headings, rows, frozenset({"seed"}))
    )


def placed(analysis: Analysis, table: Table) -> Table:
    """Return a table, without columns `data set` and `model` for a user's training loop."""
    if not analysis.study.own_loop:
        return table
    kept = [i for i, name in enumerate(table.headings) if name not in {"data set", "model"}]
    return replace(
        table,
        headings=tuple(table.headings[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def metric_name(analysis: Analysis) -> str:
    """Return the primary metric in words."""
    return analysis.study.metric.replace("_", " ")


def _unit(scale: Scale) -> str:
    return f", {scale.unit}" if scale.unit else ""


def _entry(text: str, value: float | None, scale: Scale) -> Entry:
    return Entry(text, None if value is None else scale.factor * value)


def _number(value: Any, factor: float, digits: int, *, sign: bool = False) -> Entry:
    if value is None:
        return Entry("")
    return Entry(f"{factor * value:{'+' if sign else ''}.{digits}f}", factor * value)


def _count(seeds: int | None) -> Entry:
    return Entry("over a million") if seeds is None else Entry(f"{seeds:,}", seeds)
