"""The kept studies of other settings -> the tables of two pages of results, by name."""

import re
from collections.abc import Callable
from functools import cache
from itertools import product

from kept_format import RESULTS
from paired_rows import (
    CIFAR,
    DEFAULT,
    FASHION,
    GAIN,
    HEAD,
    PLAIN,
    START,
    TITLES,
    Pair,
    corrected,
    every_arm,
    gain_of,
    long,
    named,
    runs,
    table,
)
from warminit.lab.verdict.kept import kept_study, read_kept
from warminit.lab.verdict.scale import p_text
from warminit.lab.verdict.settings import HEADINGS, Settings, across_settings, texts

BOTH = (CIFAR, FASHION)


def grid_rows(other: str) -> list[Pair]:
    """Return the default beside another arm in every robustness study that has both."""
    rows = []
    for folder in sorted(RESULTS.glob("robustness-*/")):
        about = kept_study(folder)
        # Steps and batch have a column of their own.
        setting = re.sub(r":.*|,? [\d,]+ steps(?! of).*", "", about.description).rstrip(".")
        budget = f"{about.protocol.steps:,} x {about.protocol.batch_size:,}"
        for dataset, model in product(about.datasets, about.models):
            if other in runs(folder.name, dataset, model):
                link = f"[{setting}]({folder.name}/README.md)"
                labels = (link, f"{TITLES[dataset]}, {named(model)}", budget)
                rows.append(Pair(labels, folder.name, START, other, dataset, model))
    return rows


def grid(other: str) -> list[str]:
    """Return the grid beside another arm, and what all of its cells say together."""
    rows = grid_rows(other)
    columns = ("without it, %", *GAIN, "Holm p", "seeds ahead")
    lines = long(("setting", "data set, network", "steps x batch"), columns, rows)
    tested = corrected(rows, lambda test: test.p_two_sided)
    behind = corrected(rows, lambda test: test.p_noninferiority)
    gains = [
        row.differences().mean()
        for row, p in zip(rows, tested, strict=True)
        if p is not None and p < 0.05
    ]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    open_ = [row.labels for row, p in zip(rows, behind, strict=True) if p is None or p >= 0.05]
    said = [
        f"Of {len(rows)} cells: significantly better in {better}, significantly worse in {worse}.",
        f"A loss of 0.3 points is ruled out in {len(rows) - len(open_)}. It is not ruled out in:",
        "",
        *(f"- {setting}: {place}" for setting, place, _ in open_),
    ]
    return [*lines, "", *said]


def warmup_beside() -> list[str]:
    """Return what a warm-up replaces: the default without one, and its last layer with one."""
    with_, without = "robustness-warmup", "robustness-no-warmup"
    rows = [
        Pair((TITLES[d], f"{START}, {own}", f"{to}, warm-up"), study, START, to, d, other=with_)
        for d in BOTH
        for own, study, to in (("no warm-up", without, DEFAULT), ("warm-up", with_, PLAIN))
    ]
    return long(("data set", "initializer", "beside"), GAIN, rows)


def rate_high() -> list[str]:
    """Return every part of the default at three times the rate, and with a warm-up there."""
    rows = []
    for words, study in (
        ("bfloat16", "robustness-rate-high"),
        ("float32", "robustness-rate-high-parts"),
        ("float32, warm-up", "robustness-rate-high-warmup"),
    ):
        there = runs(study, CIFAR)
        rows += [
            Pair((words, arm), study, arm, "" if arm == DEFAULT else DEFAULT, CIFAR)
            for arm in (DEFAULT, PLAIN, HEAD, START)
            if arm in there
        ]
    return long(("precision", "initializer"), ("accuracy, %", "stuck", *GAIN), rows)


def live() -> list[str]:
    """Return networks whose hidden units stay alive beside the same as they are."""
    high, before = "search-live-rate-high", "robustness-rate-high-parts"
    rows = []
    for words, study, other, dataset in (
        ("rate x 3, CIFAR-10", high, before, CIFAR),
        ("300 steps, CIFAR-10", "search-live", "", CIFAR),
        ("a tenth of Fashion-MNIST", "search-live-fitted", "", FASHION),
    ):
        for arm, divided, options in (
            (DEFAULT, "input", ""),
            (PLAIN, "input", f"(arm={PLAIN})"),
            (START, "input", f"(arm={START}, divided=input)"),
            (START, "output", f"(arm={START}, divided=output)"),
        ):
            alive, labels = f"experiments.live:start{options}", (words, arm, divided)
            if alive in runs(study, dataset):
                rows.append(Pair(labels, study, alive, arm, dataset, other=other))
    columns = ("seeds", "without it, %", "accuracy, %", *GAIN)
    return long(("setting", "initializer", "divided"), columns, rows)


def last_layer() -> list[str]:
    """Return what a small last layer does behind a normalization and in a deep network."""
    parts, before, plain = "search-parts-resnet20", "search-resnet20-before", "search-plain-before"
    rows = [
        Pair(("ResNet-20", "whitening", "torch's"), parts, PLAIN, model="resnet20"),
        Pair(("ResNet-20", "torch's", "x 0.1"), parts, HEAD, model="resnet20"),
        Pair(("ResNet-20", "whitening", "x 0.1"), before, START, model="resnet20"),
        Pair(("six convolutions", "whitening", "torch's"), plain, PLAIN),
        Pair(("six convolutions", "whitening", "x 0.1"), plain, f"{START}(scale=0.25)"),
        Pair(("six convolutions", "whitening, unit response", "x 0.1"), plain, START),
    ]
    return long(("network", "filters", "last layer"), ("seeds", *GAIN), rows)


@cache
def robustness() -> Settings:
    """Read all robustness studies together."""
    return across_settings([read_kept(folder) for folder in sorted(RESULTS.glob("robustness-*/"))])


def each_setting() -> list[str]:
    """Return one row an arm and setting, without failed runs."""
    rows = [
        (setting, arm.arm, str(c.n), *gain_of(c), p_text(c.p_holm), c.outcome)
        for arm in robustness().arms
        for setting, c in zip(arm.gains, arm.comparisons, strict=True)
    ]
    return table(("setting", "initializer", "seeds", *GAIN, "Holm p", "outcome"), rows)


SETTINGS: dict[str, Callable[[], list[str]]] = {
    "across": lambda: table(HEADINGS, texts(robustness())),
    "across-each": each_setting,
    "grid": lambda: grid(DEFAULT),
    "grid-plain": lambda: grid(PLAIN),
    "warmup-beside": warmup_beside,
    "rate-high": rate_high,
    "live": live,
    "unnormalized": lambda: every_arm(dict.fromkeys(BOTH, "search-round1-nobn"), START),
    "unit": lambda: every_arm(dict.fromkeys(BOTH, "search-nobn-unit"), f"{START}(scale=unit)"),
    "last-layer": last_layer,
}
