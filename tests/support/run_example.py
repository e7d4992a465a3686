"""scripts and notebooks -> what each prints, each in a process of its own. Tests only.

What most of them import is imported once, before the processes part: half of the time is saved.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
import types
import warnings
from importlib.util import find_spec
from pathlib import Path

import zoo_setup
from warminit.errors import WarminitWarning


def run_notebook(path: Path) -> None:
    """Run it cell by cell in one namespace, which is `__main__`, as in a notebook."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        # In a file of its own: IPython, too, keeps the text that `inspect.getsource` asks for.
        file = Path(f"{path.stem}, cell {number}.py").absolute()
        file.write_text("".join(cell["source"]), encoding="utf-8")
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), vars(module))


def run(script: str, output: Path) -> bool:
    """Run one in a child process that writes to a file, and tell whether it ended well."""
    child = os.fork()
    if child == 0:
        code = 1
        with output.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = [script]  # as if it had been called alone
        try:
            if script.endswith(".ipynb"):
                run_notebook(Path(script))
            else:
                runpy.run_path(script, run_name="__main__")
            code = 0
        except BaseException:
            traceback.print_exc()  # whatever it is: only this process may end here
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path, scripts: list[str]) -> None:
    if find_spec("torchvision") is not None:
        zoo_setup.prepare()  # the trainers and zoos import torchvision where it is there
    for name in (
        "sklearn.cluster",
        "warminit.lab.data.load",
        "warminit.initializers.prewarm.method",
    ):
        importlib.import_module(name)
    warnings.simplefilter("error", WarminitWarning)
    for script in scripts:
        good = run(script, folder / f"{Path(script).stem}.txt")
        sys.stdout.write(f"{Path(script).stem} {'ran' if good else 'failed'}\n")
        sys.stdout.flush()  # or the next child would write it, too


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
