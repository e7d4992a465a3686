"""a docstring -> the same docstring, its `Example:` as the section that Griffe knows. Site only.

Google's style has `Example:` for one example and `Examples:` for several; Griffe reads the second
only, and would show the first as text, with `>>>` as a quotation.
"""

import re
from typing import Any

import griffe


class OneExample(griffe.Extension):
    """mkdocstrings loads this by its path (`extensions` in mkdocs.yml)."""

    def on_object(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Rename the section of every object that has one."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE
            )
