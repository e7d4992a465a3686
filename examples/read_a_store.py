# ruff: noqa: INP001, T201 - a script that is run by its path and reports on the terminal
"""Read a study's results with pandas: the exported table, or every run with its curves."""

import tempfile
from pathlib import Path

import pandas as pd

from warminit.lab.analysis import analyse
from warminit.lab.driver import read_study, run_study
from warminit.lab.export import export
from warminit.lab.study import Study

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "study")  # in your case: warminit-results/NAME
        study = Study.create(
            name="example", datasets=["digits"], arms=["torch-default", "prewarm"], seeds=2,
            protocol={"steps": 10, "batch_size": 32, "eval_interval": 5},
        )  # fmt: skip
        run_study(study, folder, workers=1)

        study, runs = read_study(folder)
        table = pd.read_csv(export(analyse(study, runs), Path(scratch, "runs.csv"), "csv"))
        accuracies = table.pivot_table(index="seed", columns="arm", values="accuracy")
        print(accuracies)

        curves = pd.DataFrame(
            {"arm": run.spec.arm.label, "seed": run.spec.seed, "step": step, "loss": loss}
            for run in runs
            if run.result is not None
            for step, loss in enumerate(run.result.train_loss, start=1)
        )
        print(curves.groupby(["arm", "step"])["loss"].mean().unstack("arm").tail(3))
