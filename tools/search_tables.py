"""The kept studies of the search -> the tables of `results/evidence.md`, by name."""

from collections.abc import Callable

from paired_rows import (
    CIFAR,
    DEFAULT,
    FASHION,
    GAIN,
    MNIST,
    PLAIN,
    RANDOM,
    START,
    TITLES,
    Pair,
    both,
    comparisons,
    corrected,
    difference,
    every_arm,
    gain_of,
    interval,
    long,
    table,
)
from warminit.lab.verdict.scale import p_text

GOAL = 0.01
"""Below it the p of a goal that counts as met, as was written down."""

ROUND_3 = {CIFAR: "search-round3+search-round3-cifar10", FASHION: "search-round3-fashion"}
BESIDE = (
    ("whitening filters", "torch's filters, last layer x 0.1", both(), both(arm=DEFAULT)),
    ("last layer x 0.1", "whitening", both(), PLAIN),
    ("coates-ng filters", "whitening, last layer x 0.1", both(arm="coates-ng"), both()),
    ("dct filters", "whitening, last layer x 0.1", both(arm="dct"), both()),
)
ROUND_4 = {CIFAR: "search-round4-cifar10", FASHION: "search-round4-fashion"}


def goals() -> list[str]:
    """Return what was asked for before the search, and what was measured."""
    rows = []
    for when, name, dataset, least in (
        ("1,000 steps, test set", "confirmation", CIFAR, 2.0),
        ("1,000 steps, test set", "confirmation", FASHION, 0.3),
        ("5,000 steps", "full", CIFAR, 0.3),
        ("5,000 steps", "full", FASHION, 0.3),
    ):
        c = comparisons(name)[dataset, "simplecnn", START]
        met = 100 * c.mean_difference >= least and _below(c.p_holm)
        asked = [when, TITLES[dataset], f"at least +{least:g}"]
        rows.append([*asked, *gain_of(c), p_text(c.p_holm), _met(met)])
    for when, pairs in (
        ("5,000 steps", [Pair((), "full-mnist", START, dataset=MNIST, margin=0.0005)]),
        ("2,500 steps beside 5,000", half_rows()),
    ):
        behind = corrected(pairs, lambda test: test.p_noninferiority)
        for pair, p in zip(pairs, behind, strict=True):
            if pair.arm == START:
                asked = [when, TITLES[pair.dataset], f"not behind by {100 * pair.margin:g}"]
                found = [difference(pair), interval(pair), p_text(p), _met(_below(p))]
                rows.append([*asked, *found])
    return table(("when", "data set", "asked", *GAIN, "p", ""), rows)


def _below(p: float | None) -> bool:
    return p is not None and p < GOAL


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def half_rows() -> list[Pair]:
    """Return half the steps beside torch's default after all of them."""
    return [
        Pair((TITLES[d], arm), "search-half", arm, DEFAULT, d, other=study, margin=0.002)
        for d, study in ROUND_4.items()
        for arm in (START, DEFAULT)
    ]


def half() -> list[str]:
    """Return these rows, with Holm's p of being behind."""
    columns = ("accuracy, %", *GAIN, "Holm p of the loss")
    return long(("data set", "initializer, 2,500 steps"), columns, half_rows())


def confirmed_beside() -> list[str]:
    """Return other pairs of the confirmation than those with torch's default."""
    rows = [
        Pair((TITLES[dataset], arm, beside), "confirmation", arm, beside, dataset)
        for arm, beside in ((START, PLAIN), ("prewarm", RANDOM))
        for dataset in (CIFAR, FASHION)
    ]
    return long(("data set", "initializer", "beside"), (*GAIN, "seeds ahead"), rows)


def parts_beside() -> list[str]:
    """Return what each part adds to the other, and the bases beside each other."""
    rows = [
        Pair((what, to, TITLES[dataset]), study, arm, other, dataset)
        for what, to, arm, other in BESIDE
        for dataset, study in ROUND_3.items()
    ]
    return long(("what is changed", "beside", "data set"), GAIN, rows)


def both_sets(study: str) -> dict[str, str]:
    """Return both data sets of one study."""
    return {CIFAR: study, FASHION: study}


HOLM = (*GAIN, "Holm p")
SEARCHED = {CIFAR: "search-round1", FASHION: "search-round1-fashion"}
FITTED = {CIFAR: "search-fitted-cifar10", FASHION: "search-fitted"}
SEARCH: dict[str, Callable[[], list[str]]] = {
    "confirmation-beside": confirmed_beside,
    "goals": goals,
    "half": half,
    "heads": lambda: every_arm(
        both_sets("search-round1-heads"), "experiments.heads:start(head=0.1)", HOLM
    ),
    "ingredients": lambda: every_arm(SEARCHED, PLAIN, HOLM),
    "parts": lambda: every_arm(ROUND_3, DEFAULT),
    "parts-beside": parts_beside,
    "round2": lambda: every_arm(both_sets("search-round2"), both(), ("difference",)),
    "slowly": lambda: every_arm(FITTED, START),
}
