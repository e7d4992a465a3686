"""docs/results/paper: kept studies and rules -> runs.csv and the page, claim by claim.

Usage: python tools/paper_page.py                    # from what is kept
       python tools/paper_page.py --rules FILE       # keep `warminit reproduce table2 --json`
"""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kept_format import RESULTS
from warminit.lab.paper.claims import MEASURED
from warminit.lab.paper.findings import Finding, Rules, findings
from warminit.lab.paper.published import TABLE_3
from warminit.lab.study.table1 import TABLE_1
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import cell_rows
from warminit.lab.verdict.kept import read_kept

FOLDER = RESULTS / "paper"

STUDIES = (*(f"table3-{name}" for name in MEASURED), "axes", "counts", "more-seeds", "svhn-partial")

CURVES = ("eval_", "arm_parameters", "environment")
"""Columns of a kept study that the rows of all of them together leave out."""


def kept_studies() -> dict[str, Analysis]:
    """Read the kept studies of the paper's experiments, as far as there are any."""
    return {name: read_kept(FOLDER / name) for name in STUDIES if (FOLDER / name).is_dir()}


def kept_rules() -> Rules:
    """Read what the rules gave, by data set; nothing where it is not kept."""
    file = FOLDER / "rules.json"
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {each["dataset"]: each for each in found["evaluations"]}


def runs() -> list[dict[str, str]]:
    """Return the rows of Table 3's kept studies, without their curves."""
    rows: list[dict[str, str]] = []
    for name in MEASURED:
        file = FOLDER / f"table3-{name}" / "runs.csv"
        if file.is_file():
            with file.open(encoding="utf-8", newline="") as text:
                rows += csv.DictReader(text)
    return [
        {name: value for name, value in row.items() if not name.startswith(CURVES)} for row in rows
    ]


def page(found: Iterable[Finding], studies: dict[str, Analysis]) -> str:
    """Return the page: one row a claim, Table 3 beside the paper's, and the errors."""
    found = list(found)
    counts = {v: sum(each.verdict == v for each in found) for v in _VERDICTS}
    lines = [
        "# The paper, claim by claim",
        "",
        "What the paper says, what came out here at its own protocol, and what a control says",
        "about the reason. How each claim gets its verdict was written down before the runs, in",
        "`experiments/paper/README.md`. `warminit reproduce` lists the claims with what they cost.",
        "",
        "Of {} claims: {}.".format(
            len(found), ", ".join(f"{n} {v}" for v, n in counts.items() if n)
        ),
        "",
        "| section | the paper says | its figure | here | verdict | why |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.claim.section} | {each.claim.text} | {each.claim.paper} | {each.here} "
        f"| **{each.verdict}** | {each.why} |"
        for each in found
    ]
    lines += ["", "Intervals are 95 % of the mean paired difference. Points are of accuracy.", ""]
    lines += ["## Known errors of the claims as printed", ""]
    lines += [
        f"- Section {each.claim.section}: {each.claim.text.rstrip('.')}: {each.claim.error}."
        for each in found
        if each.claim.error
    ]
    lines += ["", "## Table 3", ""]
    lines += _table_3(studies)
    lines += ["", "## The studies", ""]
    lines += ["| study | finished runs | of |", "|---|---|---|"]
    lines += [_progress(name, studies.get(name)) for name in STUDIES]
    lines += [
        "",
        "All runs of Table 3 come from commit 966b72c and have numeric version 2. Each row of each",
        "run of Table 3 is in `runs.csv` of this folder.",
        "",
    ]
    return "\n".join(lines)


_VERDICTS = ("reproduced", "not reproduced", "undecided", "not testable here", "not run yet")


def _table_3(studies: dict[str, Analysis]) -> list[str]:
    lines = [
        "Final test accuracy in percent, and differences from torch's default in points.",
        "",
        "| data set | arm | seeds | accuracy | difference | 95 % interval | loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, paper in TABLE_3.items():
        title = TABLE_1[name].title
        means = (("torch-default", paper.kaiming, ""), ("prewarm", paper.prewarm, paper.difference))
        lines += [
            f"| {title} | the paper's {arm} | 8 | {100 * mean:.2f} "
            f"| {f'{100 * difference:+.2f}' if difference else ''} |  |  |"
            for arm, mean, difference in means
        ]
        study = studies.get(f"table3-{name}")
        if study is None:
            continue
        losses = _losses(study)
        for row in cell_rows(study):
            if row.seeds:
                text = row.texts
                cells = [title, row.arm, str(row.seeds), text.mean, text.difference, text.interval]
                lines.append(f"| {' | '.join(cells)} | {losses[row.arm]:.4f} |")
    return lines


def _losses(study: Analysis) -> dict[str, float]:
    losses: dict[str, list[float]] = {}
    for run in study.runs:
        if run.result is not None:
            losses.setdefault(run.spec.arm.label, []).append(run.result.metric("loss"))
    return {arm: sum(each) / len(each) for arm, each in losses.items()}


def _progress(name: str, study: Analysis | None) -> str:
    if study is None:
        return f"| {name} | 0 | |"
    done = sum(run.result is not None for run in study.runs)
    return f"| [{name}]({name}/README.md) | {done} | {done + study.missing + len(study.failed)} |"


def build() -> dict[str, str]:
    """Return the generated files of the folder, by name, from the kept ones alone."""
    studies = kept_studies()
    rows: list[dict[str, Any]] = list(runs())
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)]
    return {
        "README.md": page(findings(studies, kept_rules()), studies),
        "runs.csv": "\n".join([*lines, ""]) if rows else "",
    }


def main(arguments: list[str]) -> None:
    """Keep what the rules gave, and write the generated files."""
    if arguments[:1] == ["--rules"]:
        rules = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
        (FOLDER / "rules.json").write_text(json.dumps(rules, indent=1) + "\n", encoding="utf-8")
    for name, text in build().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
