"""a page, examples/*.py -> the same page for the site: every script shown in full.

MkDocs calls this (`hooks` in mkdocs.yml). In the repository a page links to a script as a file
beside docs/; on the site the page of examples shows the scripts that it names, in its own order,
with scripts and notebooks beside them to download.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from notebooks import FOLDER, notebook

PAGE = "examples.md"


def on_files(files: Any, *, config: Any) -> Any:
    """Add the scripts and notebooks, so that the site has them as files."""
    for path in sorted(FOLDER.glob("*.*")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_others: Any) -> str:
    """Point the links at the page of examples, and fill that page."""
    named = re.findall(r"\]\(\.\./examples/([\w-]+)\.py\)", markdown)
    target = "" if page.file.src_uri == PAGE else PAGE
    text = re.sub(r"\]\(\.\./examples/([\w-]+)\.(?:py|ipynb)\)", rf"]({target}#\1)", markdown)
    text = re.sub(r"\]\(\.\./examples/?\)", f"]({PAGE})", text)
    if page.file.src_uri == PAGE:
        text += "".join(_section(FOLDER / f"{name}.py") for name in named)
    return text


def _section(path: Path) -> str:
    """Return a script as its notebook shows it: text as text, and code as code."""
    files = " · ".join(f"[{name}](examples/{name})" for name in (path.name, f"{path.stem}.ipynb"))
    cells = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in notebook(path).cells
    ]
    return "\n\n".join([f"\n\n## {path.stem}", *cells, f"Download: {files}\n"])
