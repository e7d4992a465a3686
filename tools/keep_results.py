"""a study's folder -> docs/results/NAME: study, runs, verdicts, a figure, a page.

Usage: python tools/keep_results.py warminit-results/control control-fashion-mnist-1000
       python tools/keep_results.py --again [NAME ...]   # figure and page from what is kept
"""

import json
import sys
from pathlib import Path

from kept_format import RESULTS, write_kept
from warminit.lab.figures.forest import forest
from warminit.lab.figures.render import save
from warminit.lab.verdict.analysis import Analysis, read_analysis
from warminit.lab.verdict.cells import cell_rows
from warminit.lab.verdict.kept import read_kept
from warminit.lab.verdict.wording import seeds_planned

FULL_STEPS = 5000


def keep(folder: Path, name: str) -> Path:
    """Write the results of the study in a folder to docs/results/NAME and return that folder."""
    return write(read_analysis(folder, allow_mixed=True), name)


def write(analysis: Analysis, name: str) -> Path:
    """Write an analysis to docs/results/NAME: its kept form, the figure and the page."""
    target = RESULTS / name
    write_kept(analysis, target)
    save(forest(analysis), target / "forest.svg")
    (target / "README.md").write_text(page(analysis, Path(name).name), encoding="utf-8")
    return target


def page(analysis: Analysis, name: str) -> str:
    """Return the study's table, verdicts and environment as Markdown."""
    study, protocol = analysis.study, analysis.study.protocol
    done = sum(run.result is not None for run in analysis.runs)
    asked = len(list(study.runs()))
    setting = (
        f"{', '.join(study.datasets)}; {', '.join(study.models)}; {protocol.steps:,} steps at "
        f"batch {protocol.batch_size}, {protocol.precision}; {seeds_planned(study)}; {done} of "
        f"{asked} runs finished."
    )
    if analysis.spared:
        setting += f" {analysis.spared} runs were spared."
    if study.validation:
        setting += (
            f" Evaluated on {study.validation:,} training images that were set aside: the test "
            "sets were not touched."
        )
    lines = [f"# {name}", "", study.description, "", setting]
    # The paper's own grid search is judged by an early training loss.
    if protocol.steps < FULL_STEPS and study.metric != "train_loss":
        lines += ["", f"**Shortened**: the paper trains {FULL_STEPS:,} steps."]
    columns = [
        "data set",
        "model",
        "arm",
        "seeds",
        "accuracy %" if analysis.in_points else study.metric,
        "difference, points" if analysis.in_points else "difference",
        "95 % interval" if study.sequential is None else "adjusted interval",
    ]
    deciding = "p Holm" if study.sequential is None else "p adjusted"
    columns += ["p one-sided", deciding, "wins"]
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    rows = cell_rows(analysis)
    for row in rows:
        text = row.texts
        mean = f"{text.mean or '-'} +- {text.sd}".removesuffix(" +- ")
        cells = [row.dataset, row.model, row.arm, str(row.seeds), mean]
        if row.interval_low is not None:
            p = [text.p_one_sided or "-", text.p_holm or "-"]
            cells += [text.difference, text.interval, *p, text.wins]
        elif row.mean is not None:
            cells += [text.difference or "baseline", "", "", "", ""]
        else:
            cells += ["-"] * 5
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "![The differences with their 95 % intervals](forest.svg)"]
    lines += ["", "Verdicts (two-sided p with Holm's correction over the family):", ""]
    lines += [
        f"- {row.dataset}, {row.model}: {' '.join([row.verdict or f'{row.arm}:', *row.beside])}"
        for row in rows
        if row.verdict is not None or row.beside
    ]
    environments = {json.dumps(dict(run.environment), sort_keys=True) for run in analysis.runs}
    lines += ["", "Environment:", ""]
    lines += [f"- `{environment}`" for environment in sorted(environments)]
    # What is the search's own is not installed: it lies in the repository's own folder.
    names = [*study.models, *(name for arm in study.arms for name in arm.names)]
    path = "PYTHONPATH=../../.. " * any(name.startswith("experiments.") for name in names)
    lines += ["", f"Again: `{path}warminit run study.toml` in this folder.", ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Keep one study, or write figure and page of kept ones anew."""
    if arguments[0] == "--again":
        kept = [file.parent.relative_to(RESULTS) for file in RESULTS.rglob("verdicts.json")]
        for name in arguments[1:] or sorted(map(str, kept)):
            print(write(read_kept(RESULTS / name), name))
    else:
        print(keep(Path(arguments[0]), arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
