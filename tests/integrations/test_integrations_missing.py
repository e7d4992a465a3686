"""an absent library -> an error that names the extra."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from warminit.errors import WarminitError

ABSENT = {
    "lightning": ("Lightning", ["pytorch_lightning", "lightning"]),
    "transformers": ("Transformers", ["transformers"]),
    "timm": ("timm", ["timm", "timm.data"]),
    "keras": ("Keras 3", ["keras"]),
    "flax": ("Flax", ["jax", "jax.numpy"]),
}


@pytest.mark.parametrize("extra", ABSENT)
def test_an_absent_library_is_named_with_its_extra(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, modules = ABSENT[extra]
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"warminit.integrations.{extra}", raising=False)
    with pytest.raises(WarminitError) as caught:
        importlib.import_module(f"warminit.integrations.{extra}")
    text = str(caught.value)
    assert re.fullmatch(
        rf"{library} cannot be imported: .+\. Install it with "
        rf'`pip install "warminit\[{extra}\]"`\.',
        text,
    )
    assert isinstance(caught.value.__cause__, ImportError)


def test_every_integration_is_tried_and_named_in_the_documents() -> None:
    root = Path(__file__).parents[2]
    modules = {path.stem for path in (root / "src/warminit/integrations").glob("*.py")}
    assert modules - {"__init__", "kernels", "marks"} == ABSENT.keys()
    text = (root / "docs/integrations.md").read_text(encoding="utf-8")
    assert all(f"warminit[{extra}]" in text for extra in ABSENT)
