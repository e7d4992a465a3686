"""README -> short, and its figures are the kept ones. Docstrings -> every example in them runs."""

import doctest
import importlib
import json
import re
from pathlib import Path

import pytest

from docs_tables import kept_runs, paired_in
from kept_format import RESULTS
from warminit.lab.verdict.kept import kept_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WITH_EXAMPLES = sorted(
    path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 90


GAIN = re.compile(r"([-+]\d+\.\d\d) \(([-+]\d+\.\d\d to [-+]\d+\.\d\d)\)")
MEASURED = {
    "CNN with BatchNorm, hidden linear layer": ("confirmation", "simplecnn", 1000, 16),
    "six-convolution CNN, no normalization": ("robustness-plain", "experiments.plain:vgg", 500, 8),
    "ResNet-20": ("robustness-models", "resnet20", 300, 8),
    "small ViT": ("robustness-models", "small-vit", 300, 8),
}


@pytest.mark.parametrize("network", MEASURED)
def test_the_table_is_that_of_the_kept_studies(network: str) -> None:
    study, model, steps, seeds = MEASURED[network]
    kept = kept_study(RESULTS / study)
    assert (kept.protocol.steps, len(kept.seeds)) == (steps, seeds)
    assert (kept.protocol.optimizer, kept.protocol.warmup) == ("adam", 0)
    assert (kept.validation == 0) is (study == "confirmation")
    (row,) = re.findall(rf"^\| {network} \|(.*)\|$", README, re.MULTILINE)
    _, *gains, measured = (cell.strip() for cell in row.split("|"))
    label = re.fullmatch(rf"\[{steps:,} steps\]\[(\w)\]", measured)
    assert label
    assert f"[{label[1]}]: docs/results/{study}/README.md" in README.splitlines()
    for dataset, gain in zip(("cifar10", "fashion-mnist"), gains, strict=True):
        found = GAIN.fullmatch(gain)
        assert (found is not None) is (dataset in kept.datasets), f"{network}, {dataset}: {gain}"
        if found:
            runs = kept_runs(study, dataset=dataset, model=model)
            assert len(runs) == seeds
            assert found.groups() == paired_in(runs, "whitening-small-head", "torch-default")


def test_the_papers_verdict_is_that_of_its_page() -> None:
    page = (RESULTS / "paper" / "README.md").read_text(encoding="utf-8")
    counts = r"of (\d+) claims.*?(\d+) (?:are )?reproduced, (\d+) (?:are )?not reproduced, "
    counts += r"(\d+) (?:not testable here|cannot be tested here),(?: and)? (\d+) (?:are )?not run"
    said, kept = (
        re.search(counts, " ".join(text.split()), re.IGNORECASE) for text in (README, page)
    )
    assert said
    assert kept
    assert said.groups() == kept.groups()
    verdicts = json.loads((RESULTS / "confirmation" / "verdicts.json").read_text("utf-8"))
    outcomes = [each for each in verdicts["comparisons"] if each["arm"] == "prewarm"]
    assert len(outcomes) == 2
    assert all(each["p_holm"] > 0.05 for each in outcomes)


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
