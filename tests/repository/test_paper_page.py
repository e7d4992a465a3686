"""docs/results/paper -> the same page from the kept files, and the same verdicts from runs.csv."""

from collections import defaultdict
from pathlib import Path

import pandas as pd
from scipy import stats

import kept_format
import paper_page
from warminit.lab.paper.claims import CLAIMS, MEASURED
from warminit.lab.paper.findings import findings

FOLDER = kept_format.RESULTS / "paper"
PAPERS = {"mnist": 0.0005, "fashion-mnist": 0.0016, "cifar10": 0.0023, "cifar100": 0.0068}
SEEDS = {42, 7, 13, 99, 2025, 1, 8, 21}


def test_a_rebuild_changes_nothing() -> None:
    for name, text in paper_page.build().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, name


def test_the_verdicts_of_the_gains_follow_from_the_rows_of_the_runs() -> None:
    table = pd.read_csv(FOLDER / "runs.csv")
    assert set(table["steps"]) == {5000}
    assert set(table["precision"]) == {"float32"}
    assert set(table["validation"]) == {0}
    scores: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for _, row in table.iterrows():
        scores[row["dataset"], row["arm"]][row["seed"]] = row["accuracy"]
    tests = {}
    for name in MEASURED:
        arm, baseline = scores[name, "prewarm"], scores[name, "torch-default"]
        if set(arm) >= SEEDS <= set(baseline):
            tests[name] = stats.ttest_1samp([arm[s] - baseline[s] for s in SEEDS], 0.0)
    p = {name: test.pvalue for name, test in tests.items()}
    expected = dict.fromkeys(MEASURED, "not run yet")
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        # Holm: the smallest p times four, the next times three, and never below one before it.
        corrected = max(
            min(1.0, (4 - i) * p[each])
            for i, each in enumerate(sorted(p, key=p.__getitem__))
            if i <= rank
        )
        low, high = tests[name].confidence_interval(0.95)
        if corrected < 0.05:
            expected[name] = "reproduced" if low > 0 else "not reproduced"
        else:
            expected[name] = "not reproduced" if high < PAPERS[name] else "undecided"
    found = findings(paper_page.kept_studies(), paper_page.kept_rules())
    verdicts = {each.claim.datasets[0]: each.verdict for each in found if each.claim.kind == "gain"}
    assert {name: verdicts[name] for name in MEASURED} == expected


def test_the_page_names_every_claim_and_every_study() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for claim in CLAIMS:
        assert claim.text in text
    for name in paper_page.STUDIES:
        assert name in text


def test_study_files_of_the_page_are_there() -> None:
    root = Path(__file__).parents[2]
    shipped = root / "src/warminit/lab/study/builtin"
    for name in paper_page.STUDIES:
        file = {"axes": "axes", "counts": "patch-counts"}.get(name)
        folder, stem = (shipped, file) if file else (root / "experiments/paper", name)
        assert (folder / f"{stem}.toml").is_file(), name
