"""examples/*.py -> the same as notebooks beside them, for `make notebooks`.

The scripts are the source: `# %%` begins a cell, `# %% [markdown]` one of text. A notebook is never
edited by hand, and the tests hold that each is what its script gives.
"""

from pathlib import Path
from typing import Any

import jupytext

FOLDER = Path(__file__).parents[1] / "examples"


def notebook(script: Path) -> Any:
    """Return a script as a notebook, the same bytes every time: without the ids that are drawn."""
    book = jupytext.read(script, fmt="py:percent")
    book.nbformat_minor = 4  # the last format whose cells have none
    for cell in book.cells:
        cell.pop("id", None)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return book


def text_of(script: Path) -> str:
    """Return what the file of the notebook holds."""
    return f"{jupytext.writes(notebook(script), fmt='ipynb').rstrip()}\n"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.py")):
        path.with_suffix(".ipynb").write_text(text_of(path), encoding="utf-8")
