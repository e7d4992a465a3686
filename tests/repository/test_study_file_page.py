"""docs/study-file.md -> every key of a study is on it, with its default, and no other."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dataset_files import folder_of
from warminit.errors import WarminitError
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.sequential import Sequential
from warminit.lab.study.study import METRICS, Study
from warminit.lab.study.tune import Tune

PAGE = Path(__file__).parents[2] / "docs" / "study-file.md"
TEXT = PAGE.read_text(encoding="utf-8")
TABLES: dict[str, type[BaseModel]] = {
    "The study": Study, "`[protocol]`": Protocol, "`[tune]`": Tune, "`[sequential]`": Sequential
}  # fmt: skip


def rows(heading: str) -> dict[str, str]:
    """Return the keys of the table below a heading, each with its default."""
    below = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| .* \| (.+) \|$", below, re.MULTILINE))


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_explained_with_its_default(heading: str) -> None:
    schema = TABLES[heading]
    shown = rows(heading)
    assert shown.keys() == schema.model_fields.keys()
    for key, field in schema.model_fields.items():
        default = field.get_default()
        if default is PydanticUndefined:
            assert shown[key] == "required", key
        elif default not in (None, (), Protocol()):  # those are said in words
            quoted = re.fullmatch("`(.+)`", shown[key])
            assert quoted, key
            value = tomllib.loads(f"key = {quoted[1]}")["key"]
            assert value == (list(default) if isinstance(default, tuple) else default), key


def test_every_metric_is_named() -> None:
    (row,) = re.findall(r"^\| `metric` \| (.*) \| .* \|$", TEXT, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(METRICS)


def test_the_examples_are_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example, arms = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "my-images")
    for name in ("my_project", "my_package"):
        (tmp_path / name).mkdir()
    (tmp_path / "my_project/networks.py").write_text("def small(**sizes): ...", encoding="utf-8")
    (tmp_path / "my_package/arms.py").write_text(
        "def small(model, images, *, seed): ...", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "study.toml"
    path.write_text(example, encoding="utf-8")
    study = Study.from_toml(path)
    assert (len(study.seeds), study.protocol.warmup) == (8, 100)
    path.write_text(example.replace("steps", "step"), encoding="utf-8")
    with pytest.raises(WarminitError) as caught:
        Study.from_toml(Path(path.name))
    assert f"\nwarminit: {caught.value}\n" in TEXT
    path.write_text(re.sub(r"^arms = .*\n", arms, example, flags=re.MULTILINE), encoding="utf-8")
    labels = [arm.label for arm in Study.from_toml(path).arms]
    assert labels == [
        "torch-default",
        "whitening+dirac",
        "my_package.arms:small",
        "prewarm(scale=0.1)",
        "prewarm(scale=0.2)",
        "whitening+zero-residual(zero_residual__value=0.2)",
    ]
