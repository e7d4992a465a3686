"""a page, examples/*.py -> the same page for the site: every script shown in full.

MkDocs calls this (`hooks` in mkdocs.yml). In the repository a page links to a script as a file
beside docs/; the site has no such files, so the link leads to the script's section of the page of
examples, which is written here from the scripts themselves.
"""

import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "examples"
PAGE = "examples.md"


def on_page_markdown(markdown: str, *, page: Any, **_others: Any) -> str:
    """Point the links at the page of examples, and fill that page."""
    target = "" if page.file.src_uri == PAGE else PAGE
    text = re.sub(r"\]\(\.\./examples/([\w-]+)\.(?:py|ipynb)\)", rf"]({target}#\1)", markdown)
    text = re.sub(r"\]\(\.\./examples/?\)", f"]({PAGE})", text)
    if page.file.src_uri == PAGE:
        text += "".join(_section(path) for path in sorted(FOLDER.glob("*.py")))
    return text


def _section(path: Path) -> str:
    code = path.read_text(encoding="utf-8").rstrip()
    code = code.partition("\n")[2] if code.startswith("# ruff:") else code
    return f'\n## {path.stem}\n\n```python title="examples/{path.name}"\n{code}\n```\n'
