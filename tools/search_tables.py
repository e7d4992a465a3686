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
    gain_of,
    interval,
    long,
    table,
    wide,
)
from warminit.lab.verdict.cells import p_text

GOAL = 0.01
"""Below it the p of a goal that counts as met, as was written down."""


ROUND_3 = {CIFAR: "search-round3+search-round3-cifar10", FASHION: "search-round3-fashion"}
PARTS = {
    ("torch's", "x 0.1"): both(arm=DEFAULT),
    ("whitening", "torch's"): PLAIN,
    ("whitening", "x 0.1"): both(),
    ("coates-ng", "x 0.1"): both(arm="coates-ng"),
    ("coates-ng, 24 of 32 filters", "x 0.1"): both("'n_clusters': 24", "coates-ng"),
    ("dct, which sees no data", "x 0.1"): both(arm="dct"),
}
BESIDE = {
    ("whitening filters", "torch's filters, x 0.1"): (both(), both(arm=DEFAULT)),
    ("last layer x 0.1", "whitening alone"): (both(), PLAIN),
    ("coates-ng filters", "whitening, x 0.1"): (both(arm="coates-ng"), both()),
    ("dct filters", "whitening, x 0.1"): (both(arm="dct"), both()),
}
CANDIDATE = "experiments.candidates:start"
INGREDIENTS = {
    ("fraction of the bank", "8 of 32 filters"): "whitening(n_filters=8)",
    ("", "24 of 32"): "whitening(n_filters=24)",
    ("", "32 of 32"): "whitening(n_filters=32)",
    ("both signs", "8 directions, 16 filters"): f"{CANDIDATE}(n_clusters=16, pairs=True)",
    ("", "16 directions, 32 filters"): f"{CANDIDATE}(n_clusters=32, pairs=True)",
    ("brightness", "one filter of 16 constant"): f"{CANDIDATE}(brightness=True)",
    ("spatial weights", "the paper's"): f"{CANDIDATE}(spatial=True)",
    ("basis", "coates-ng"): "coates-ng",
    ("", "dct"): "dct",
    ("", "half whitening, half centroids"): f"{CANDIDATE}(basis=mixed)",
    ("", "centroids of whitened patches"): f"{CANDIDATE}(basis=whitened-kmeans)",
    ("", "centroids"): f"{CANDIDATE}(basis=kmeans)",
    ("", "Pre-Warm"): "prewarm",
    ("", "Gaussian, the patches' covariance"): f"{CANDIDATE}(basis=covariance)",
    ("", "Gaussian, white"): RANDOM,
    ("", "ZCA rows"): f"{CANDIDATE}(basis=zca)",
    ("eps", "0.0005"): "whitening(eps=0.0005)",
    ("", "1"): "whitening(eps=1.0)",
    ("scale", "0.1"): "whitening(scale=0.1)",
    ("", "0.5"): "whitening(scale=0.5)",
    ("", "1 "): "whitening(scale=1.0)",
    ("", "that of torch's responses"): "whitening(scale=match)",
    ("", "unit response"): "whitening(scale=unit)",
    ("", "each filter by itself"): "whitening(scaling=per-filter)",
    ("patches an image", "2"): "whitening(patches_per_image=2)",
    ("", "200"): "whitening(patches_per_image=200)",
    ("layers", "both convolutions"): "whitening(layers=2)",
    ("training", "the 16 filters stay fixed"): "whitening(trainable=False)",
}

HEADS = "experiments.heads:start"
WITH_HEAD = {
    ("last layer x 0",): f"{HEADS}(head=0.0)",
    ("last layer x 0.3",): f"{HEADS}(head=0.3)",
    ("hidden layer x 0.3 too",): f"{HEADS}(head=0.1, hidden=0.3)",
    ("hidden layer x 2 too",): f"{HEADS}(head=0.1, hidden=2.0)",
    ("eps 1",): f"{HEADS}(eps=1.0, head=0.1)",
    ("scale 0.5",): f"{HEADS}(head=0.1, scale=0.5)",
    ("scale 1",): f"{HEADS}(head=0.1, scale=1.0)",
    ("filters stay fixed",): f"{HEADS}(head=0.1, trainable=False)",
    ("coates-ng's filters",): f"{HEADS}(arm=coates-ng, head=0.1)",
    ("dct's filters",): f"{HEADS}(arm=dct, head=0.1)",
    ("Pre-Warm's filters",): f"{HEADS}(arm=prewarm, head=0.1)",
    ("torch's filters",): f"{HEADS}(arm=torch-default, head=0.1)",
}
ROUND_2 = {
    ("both signs of 16 directions",): both("'pairs': True, 'n_clusters': 32"),
    ("both signs of 8 directions",): both("'pairs': True"),
    ("one filter constant",): both("'brightness': True"),
    ("spatial weights",): both("'spatial': True"),
    ("8 filters",): both("'n_clusters': 8"),
    ("24 filters",): both("'n_clusters': 24"),
    ("32 filters",): both("'n_clusters': 32"),
    ("coates-ng",): both(arm="coates-ng"),
    ("dct",): both(arm="dct"),
    ("half whitening, half centroids",): both("'basis': 'mixed'"),
    ("centroids of whitened patches",): both("'basis': 'whitened-kmeans'"),
    ("centroids",): both("'basis': 'kmeans'"),
    ("Pre-Warm",): both(arm="prewarm"),
    ("ZCA rows",): both("'basis': 'zca'"),
    ("random patches",): both(arm="random-patches"),
    ("Gaussian, the patches' covariance",): both("'basis': 'covariance'"),
    ("both convolutions",): both("'layers': 2"),
}

SEARCHED = {CIFAR: "search-round1", FASHION: "search-round1-fashion"}
FITTED = {CIFAR: "search-fitted-cifar10", FASHION: "search-fitted"}
SLOWLY = {
    ("unit response",): f"{START}(scale=unit)",
    ("scale 1",): f"{START}(scale=1.0)",
    ("scale 2",): f"{START}(scale=2.0)",
    ("scale 4",): f"{START}(scale=4.0)",
    ("filters stay fixed",): f"{START}(trainable=False)",
    ("both convolutions",): f"{START}(layers=2)",
    ("last layer x 0.3",): f"{START}(head_scale=0.3)",
    ("coates-ng, 24 of 32 filters",): both("'n_clusters': 24", "coates-ng"),
    ("plain whitening",): PLAIN,
}
OF_HEADS = dict.fromkeys((CIFAR, FASHION), "search-round1-heads")
OF_IMAGES = dict.fromkeys((CIFAR, FASHION), "search-images")
OF_ROUND_2 = dict.fromkeys((CIFAR, FASHION), "search-round2")
IMAGES = "experiments.candidates:few_images(n_images={})".format
FEW_IMAGES = {(str(n),): IMAGES(n) for n in (2, 8, 32)}
ROUND_4 = {CIFAR: "search-round4-cifar10", FASHION: "search-round4-fashion"}
LEVELS = ("accuracy, %", *GAIN, "cross-entropy")


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
        met = 100 * c.mean_difference >= least and (c.p_holm or 1) < GOAL
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
                found = [difference(pair), interval(pair), p_text(p), _met((p or 1) < GOAL)]
                rows.append([*asked, *found])
    return table(("when", "data set", "asked", *GAIN, "p", ""), rows)


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def after_5000() -> list[str]:
    """Return the parts of the default after the paper's steps, at the search's seeds."""
    rows = [
        Pair((TITLES[dataset], *part), study, arm, other, dataset)
        for dataset, study in ROUND_4.items()
        for part, arm, other in (
            (("torch's", "torch's"), DEFAULT, ""),
            (("torch's", "x 0.1"), both(arm=DEFAULT), DEFAULT),
            (("whitening", "x 0.1"), both(), DEFAULT),
        )
    ]
    return long(("data set", "filters", "last layer"), LEVELS, rows)


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


def slowly_5000() -> list[str]:
    """Return filters that turn slowly after the paper's steps on Fashion-MNIST."""
    study, others = "search-round5-fashion", {DEFAULT: "search-round4-fashion", START: ""}
    arms = {"the default's": "", "unit response": "(scale=unit)", "fixed": "(trainable=False)"}
    rows = [
        Pair((name, beside), study, f"{START}{change}", beside, other=other)
        for name, change in arms.items()
        for beside, other in others.items()
        if change or other
    ]
    return long(("filters", "beside"), ("accuracy, %", *GAIN), rows)


def confirmed_beside() -> list[str]:
    """Return other pairs of the confirmation than those with torch's default."""
    rows = [
        Pair((TITLES[dataset], arm, beside), "confirmation", arm, beside, dataset)
        for arm, beside in ((START, PLAIN), ("prewarm", RANDOM))
        for dataset in (CIFAR, FASHION)
    ]
    return long(("data set", "initializer", "beside"), (*GAIN, "seeds ahead"), rows)


def passed() -> list[str]:
    """Return the ingredients that pass Holm's correction over their table and data set."""
    lines = []
    for words, arms, studies, beside in (
        ("plain whitening", INGREDIENTS, SEARCHED, PLAIN),
        ("whitening, last layer x 0.1", WITH_HEAD, OF_HEADS, f"{HEADS}(head=0.1)"),
    ):
        for dataset, study in studies.items():
            rows = [
                Pair((" ".join(first).strip(),), study, arm, beside, dataset)
                for first, arm in arms.items()
            ]
            for row, p in zip(rows, corrected(rows, lambda test: test.p_two_sided), strict=True):
                if p is not None and p < 0.05:
                    lines.append([words, TITLES[dataset], *row.labels, difference(row), p_text(p)])
    return table(("beside", "data set", "in place of it", "difference", "Holm p"), lines)


SEARCH: dict[str, Callable[[], list[str]]] = {
    "after-5000": after_5000,
    "confirmation-beside": confirmed_beside,
    "goals": goals,
    "half": half,
    "heads": lambda: wide(("in place of it",), WITH_HEAD, OF_HEADS, f"{HEADS}(head=0.1)"),
    "images": lambda: wide(("images",), FEW_IMAGES, OF_IMAGES, IMAGES(256)),
    "ingredients": lambda: wide(("ingredient", "instead"), INGREDIENTS, SEARCHED, PLAIN),
    "parts": lambda: wide(("filters", "last layer"), PARTS, ROUND_3, DEFAULT),
    "parts-beside": lambda: wide(("what is added", "to"), BESIDE, ROUND_3, ""),
    "passed": passed,
    "round2": lambda: wide(("instead",), ROUND_2, OF_ROUND_2, both(), ("difference",)),
    "slowly": lambda: wide(("in place of the default's",), SLOWLY, FITTED, START),
    "slowly-5000": slowly_5000,
}
