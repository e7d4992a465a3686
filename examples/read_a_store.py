# %% [markdown]
"""Read a study's results with pandas: the exported table, or every run with its curves.

Needs `pip install "warminit[lab]"`. Results go to `warminit-results/example`.
"""

# %%
import subprocess
import sys
from pathlib import Path

import pandas as pd

from warminit.lab import read_study

# %% [markdown]
# A study to read, of two initializers, two seeds and ten steps; in your shell the command is
# `warminit compare --datasets digits ...`.

# %%
folder = Path("warminit-results/example")
options = "--datasets digits --arms torch-default,prewarm --seeds 2 --steps 10 --batch-size 32"
command = [sys.executable, "-m", "warminit.cli", "compare", *options.split(), "--out", str(folder)]
done = subprocess.run([*command, "--quiet"], check=True, capture_output=True)

# %% [markdown]
# The table that the command left beside its store, one row a run:

# %%
table = pd.read_csv(folder / "results.csv")
print(table.pivot_table(index="seed", columns="arm", values="accuracy"))

# %% [markdown]
# The store itself has every run whole, with its loss at each step:

# %%
stored = read_study(folder)
curves = pd.DataFrame(
    {"arm": run.spec.arm.label, "seed": run.spec.seed, "step": step, "loss": loss}
    for run in stored.runs
    if run.result is not None
    for step, loss in enumerate(run.result.train_loss, start=1)
)
print(curves.groupby(["arm", "step"])["loss"].mean().unstack("arm").tail(3))
