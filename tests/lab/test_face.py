"""`warminit.lab` and `warminit`: the public names, each from its room, and a light import."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import warminit
import warminit.lab


@pytest.mark.parametrize("face", [warminit, warminit.lab], ids=lambda face: face.__name__)
def test_dir_shows_the_public_names_alone(face: ModuleType) -> None:
    shown = {"__version__"} if face is warminit else set()
    assert set(dir(face)) == {*face.__all__, *shown}
    assert face.__all__ == sorted(face.__all__)
    for name in face.__all__:
        found = getattr(face, name)
        assert getattr(importlib.import_module(found.__module__), name) is found
        assert found.__module__.startswith(face.__name__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = face.nothing


def test_the_laboratory_is_imported_without_torch() -> None:
    code = "import sys, warminit.lab; assert not {'torch', 'pandas', 'altair'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
