"""README, docstrings -> every example in them runs. Commands named there exist in the Makefile."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
WITH_EXAMPLES = sorted(
    path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_readme_has_examples_to_run() -> None:
    assert PYTHON_BLOCKS


def test_the_first_example_is_ten_lines() -> None:
    assert len(PYTHON_BLOCKS[0].strip().splitlines()) == 10


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_readme_block_runs(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # an example that writes a file must not write it here
    code = compile(PYTHON_BLOCKS[number], f"README.md, Python block {number + 1}", "exec")
    exec(code, {"__name__": "__main__"})
    if "print(" in PYTHON_BLOCKS[number]:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_docstring_examples_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(module_name(path))
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0, f"{path.name} holds '>>> ' outside of a docstring"
    assert result.failed == 0, capsys.readouterr().out


def test_make_commands_named_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
        assert named
        assert named <= targets, f"{name} names make targets that do not exist"
