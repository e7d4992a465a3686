"""a finished study's folder -> docs/results/NAME: study, runs, all as JSON, verdicts, a figure.

Usage: python tools/keep_results.py warminit-results/control control-fashion-mnist-1000
"""

import json
import sys
from pathlib import Path

from warminit.lab.analysis import Analysis, analyse
from warminit.lab.driver import read_study
from warminit.lab.export import export
from warminit.lab.figures.forest import forest
from warminit.lab.figures.render import save
from warminit.lab.study_toml import study_toml

RESULTS = Path(__file__).parent.parent / "docs" / "results"
FULL_STEPS = 5000


def keep(folder: Path, name: str) -> Path:
    """Write one study's results to docs/results/NAME and return that folder."""
    analysis = analyse(*read_study(folder))
    target = RESULTS / name
    target.mkdir(parents=True, exist_ok=True)
    (target / "study.toml").write_text(study_toml(analysis.study), encoding="utf-8")
    export(analysis, target / "runs.csv", "csv")
    export(analysis, target / "results.json", "json")
    # A third of the size: the curves are thousands of numbers.
    content = json.loads((target / "results.json").read_text(encoding="utf-8"))
    (target / "results.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    save(forest(analysis), target / "forest.svg")
    (target / "README.md").write_text(page(analysis, name), encoding="utf-8")
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


if __name__ == "__main__":
    print(keep(Path(sys.argv[1]), sys.argv[2]))
