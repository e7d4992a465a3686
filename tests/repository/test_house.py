"""the package's source -> the rules of its house: no circle, nothing private, short files."""

import ast
import inspect
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import warminit.lab

SOURCE = Path(__file__).parents[2] / "src"
MOST_LINES = 300
MOST_KEYWORDS = 8
LOOSE = {"warminit": 6, "warminit.lab": 4}
"""Modules that may stand in a room of rooms, besides `__init__` and `__main__`."""


@cache
def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted((source / "warminit").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str, source: Path = SOURCE) -> str:
    """Return the package that a module stands in; a package stands in itself."""
    known = modules(source)
    inside = known[module].name == "__init__.py"
    return module if inside else module.rpartition(".")[0]


def imports(module: str, source: Path = SOURCE) -> list[tuple[str, str]]:
    """Return (module, name) of every import of the package's own, wherever it stands in the text.

    Imports for annotations and inside of functions count: a circle that hides is one too.
    """
    known = modules(source)
    found = []
    for node in ast.walk(ast.parse(known[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(each.name, "") for each in node.names if each.name in known]
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                found.append((inner, "") if inner in known else (node.module, each.name))
    return found


def circle(source: Path = SOURCE) -> list[str]:
    """Return the modules of one import circle, in order; none where there is none.

    The package's own names are loaded when they are asked for, so its front door is no module here.
    """
    graph = {
        module: {other for other, _ in imports(module, source)} - {module, "warminit"}
        for module in modules(source)
        if module != "warminit"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def private_imports(source: Path = SOURCE) -> list[str]:
    """Return what a room imports of another room's private names and modules."""
    return [
        f"{module}: {other}.{name}".rstrip(".")
        for module in modules(source)
        for other, name in imports(module, source)
        if room(module, source) != room(other, source)
        and any(re.match(r"_[^_]", part) for part in (*other.split("."), name))
    ]


def namesakes(source: Path = SOURCE) -> list[str]:
    """Return the names of files that stand in two rooms; a command shows its namesake."""
    names = [
        path.stem
        for module, path in modules(source).items()
        if not (path.name.startswith("__") or module.startswith("warminit.cli."))
    ]
    return sorted({name for name in names if names.count(name) > 1})


def _errors_of(scope: ast.AST) -> list[str]:
    """Return the names that an `except` or a function's annotations give to errors."""
    if isinstance(scope, ast.ExceptHandler):
        return [scope.name] if scope.name else []
    if not isinstance(scope, ast.FunctionDef):
        return []
    return [
        each.arg
        for each in (*scope.args.args, *scope.args.kwonlyargs)
        if each.annotation and re.search(r"(Error|Exception)\b", ast.unparse(each.annotation))
    ]


def _texts_of(scope: ast.AST) -> str:
    """Return a pattern for the text of a scope's errors, and for the variables that hold one."""
    errors = "|".join(_errors_of(scope))
    text = rf"\b(str|repr)\(({errors})\)|\b({errors})\.(args|strerror)\b"
    kept = [
        ast.unparse(node.targets[0])
        for node in ast.walk(scope)
        if errors and isinstance(node, ast.Assign) and re.search(text, ast.unparse(node.value))
    ]
    return "|".join([text, *(rf"\b{re.escape(name)}\b" for name in kept)]) if errors else "(?!)"


def read_messages(source: Path = SOURCE) -> list[str]:
    """Return every condition that compares or searches an error's text."""
    return [
        f"{module}: {ast.unparse(node.test)}"
        for module, path in modules(source).items()
        for scope in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for texts in [_texts_of(scope)]
        for node in ast.walk(scope)
        if isinstance(node, ast.If | ast.IfExp | ast.While)
        and any(
            re.search(texts, ast.unparse(part))
            for part in ast.walk(node.test)
            if isinstance(part, ast.Compare | ast.Call)
        )
    ]


def test_no_two_rooms_have_files_of_one_name() -> None:
    assert namesakes() == []


def test_no_condition_reads_the_text_of_an_error() -> None:
    assert read_messages() == []


@pytest.mark.parametrize("face", [warminit, warminit.lab])
def test_public_functions_have_few_keywords(face: ModuleType) -> None:
    counts = {}
    for name in face.__all__:
        if inspect.isfunction(value := getattr(face, name)):
            given = inspect.signature(value).parameters.values()
            counts[name] = sum(
                each.kind is each.KEYWORD_ONLY and each.name != "seed" for each in given
            )
    assert {name: n for name, n in counts.items() if n > MOST_KEYWORDS and name != "compare"} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle() == []


def test_no_room_imports_a_private_name_of_another() -> None:
    assert private_imports() == []


def test_no_file_is_longer_than_it_may_be() -> None:
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules().items()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize(
    "name", [name for name, path in modules().items() if path.name == "__init__.py"]
)
def test_every_room_says_its_job(name: str) -> None:
    text = ast.get_docstring(ast.parse(modules()[name].read_text(encoding="utf-8"))) or ""
    assert len(re.findall(r"[\w`)][.?](?=\s|$)", text)) >= 2, f"{name}: {text!r}"


@pytest.mark.parametrize("name", LOOSE)
def test_few_modules_stand_outside_of_the_rooms(name: str) -> None:
    loose = [
        module
        for module, path in modules().items()
        if path.parent == modules()[name].parent and not path.name.startswith("__")
    ]
    assert len(loose) <= LOOSE[name], loose


def test_the_rules_see_what_breaks_them(tmp_path: Path) -> None:
    for name, text in {
        "warminit/__init__.py": "",
        "warminit/a/__init__.py": "",
        "warminit/a/one.py": "from warminit.b.two import _hidden, shown",
        "warminit/b/__init__.py": "",
        "warminit/b/two.py": "def late():\n    from warminit.b import three",
        "warminit/b/three.py": "if TYPE_CHECKING:\n    from warminit.a.one import name",
        "warminit/a/two.py": """
def told(error: OSError):
    text = str(error)
    return text or (1 if "absent" in text else 2)

try:
    told()
except ValueError as problem:
    if problem.args[0].startswith("no"):
        raise
""",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert set(circle(tmp_path)) == {"warminit.a.one", "warminit.b.two", "warminit.b.three"}
    assert private_imports(tmp_path) == ["warminit.a.one: warminit.b.two._hidden"]
    assert namesakes(tmp_path) == ["two"]
    assert read_messages(tmp_path) == [
        "warminit.a.two: 'absent' in text",
        "warminit.a.two: problem.args[0].startswith('no')",
    ]
