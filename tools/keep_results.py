"""a study's folder -> docs/results/NAME: study, runs, verdicts, a figure, a page.

Usage: python tools/keep_results.py warminit-results/control control-fashion-mnist-1000
       python tools/keep_results.py --again [NAME ...]   # figure and page from what is kept
"""

import json
import sys
from pathlib import Path

from kept_format import RESULTS, read_kept, write_kept
from warminit.lab.figures.forest import forest
from warminit.lab.figures.render import save
from warminit.lab.verdict.analysis import Analysis, read_analysis

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
        f"batch {protocol.batch_size}, {protocol.precision}; {len(study.seeds)} seeds; {done} of "
        f"{asked} runs finished."
    )
    if study.validation:
        setting += (
            f" Evaluated on {study.validation:,} training images that were set aside: the test "
            "sets were not touched."
        )
    lines = [f"# {name}", "", study.description, "", setting]
    if protocol.steps < FULL_STEPS:
        lines += ["", f"**Shortened**: the paper trains {FULL_STEPS:,} steps."]
    columns = [
        "data set",
        "model",
        "arm",
        "seeds",
        "accuracy %",
        "difference, points",
        "95 % interval",
    ]
    columns += ["p one-sided", "p Holm", "wins"]
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for cell in analysis.cells:
        if cell.mean is None:
            lines.append(
                f"| {cell.dataset} | {cell.model} | {cell.arm} | 0 | - | - | - | - | - | - |"
            )
            continue
        spread = "" if cell.sd is None else f" +- {100 * cell.sd:.2f}"
        row = [cell.dataset, cell.model, cell.arm, str(len(cell.scores))]
        row.append(f"{100 * cell.mean:.2f}{spread}")
        c = cell.comparison
        if c is None or c.confidence_interval is None:
            row += ["baseline" if c is None else f"{100 * c.mean_difference:+.2f}", "", "", "", ""]
        else:
            low, high = (100 * end for end in c.confidence_interval)
            row += [
                f"{100 * c.mean_difference:+.2f}",
                f"{low:+.2f} to {high:+.2f}",
                _p(c.p_one_sided),
                _p(c.p_holm),
                f"{c.wins}/{c.n}",
            ]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "![The differences with their 95 % intervals](forest.svg)"]
    lines += ["", "Verdicts (two-sided p with Holm's correction over the family):", ""]
    lines += [
        f"- {cell.dataset}, {cell.model}: {cell.comparison.verdict}"
        for cell in analysis.cells
        if cell.comparison is not None
    ]
    environments = {json.dumps(dict(run.environment), sort_keys=True) for run in analysis.runs}
    lines += ["", "Environment:", ""]
    lines += [f"- `{environment}`" for environment in sorted(environments)]
    # What is the search's own is not installed: it lies in the repository's own folder.
    names = [*study.models, *(arm.name for arm in study.arms)]
    path = "PYTHONPATH=../../.. " * any(name.startswith("experiments.") for name in names)
    lines += ["", f"Again: `{path}warminit run study.toml` in this folder.", ""]
    return "\n".join(lines)


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


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
