"""A table's name -> its lines, for every page that says what kept studies show together."""

from collections.abc import Callable

from early_tables import EARLY
from kept_format import RESULTS
from paired_rows import (
    CIFAR,
    FASHION,
    GAIN,
    PLAIN,
    START,
    TITLES,
    comparisons,
    gain_of,
    named,
    runs,
    table,
)
from search_tables import SEARCH
from setting_tables import SETTINGS
from warminit.initializers.default import DEFAULTS, NOT_SEEN
from warminit.lab.verdict.kept import kept_study
from warminit.lab.verdict.scale import p_text
from why_tables import REASONS

# ---------------------------------------------------------------- by architecture
KINDS = {
    "plain": ("a plain CNN", {"normalized": "simplecnn", "not normalized": "simplecnn-nobn"}),
    "residual": ("a residual network", {"normalized": "resnet20"}),
    "depthwise": ("depthwise convolutions", {}),
    "attention": ("a vision transformer", {"normalized": "small-vit"}),
}
"""Kind of architecture -> its words, and the network of the studies that stands for it."""

SETS, CALL = (CIFAR, FASHION), "`init_(model, images)`"


def choose() -> list[str]:
    """Return the decision table: a row an architecture, then what else decides."""
    rows: list[tuple[str, ...]] = []
    for kind, (words, networks) in KINDS.items():
        mine = [row for row in DEFAULTS if row.architecture.startswith(f"{kind},")]
        measured = [row for row in mine if row.evidence]
        # Rows of one kind that do the same are one, where at most one of them was measured.
        one = len({row.method for row in mine}) == 1 and len(measured) < 2
        for row in (measured or mine)[:1] if one else mine:
            norm = row.architecture.partition(", ")[2]
            label = words if one else f"{words}, {norm}"
            applied = f"{CALL} applies `{row.method}`"
            rows.append((label, applied, row.evidence, row.method, networks.get(norm, "")))
    by_name = f'`init_(model, images, "{PLAIN}")`'
    rows += [
        ("for long, and need probabilities", by_name, "full", PLAIN, ""),
        ("a plain CNN with a warm-up", CALL, "robustness-warmup", START, ""),
        ("pretrained weights", "[none](#when-not-to)", "", "", ""),
        ("and cannot measure", "[none](#when-not-to): torch's default", "", "", ""),
    ]
    lines = [[words, called, *_measured(*where)] for words, called, *where in rows]
    unseen = next(row.method for row in DEFAULTS if row.architecture == NOT_SEEN)
    said = f"A model whose operations one image does not show gets `{unseen}`."
    return [
        *table(("you train", "call", *(TITLES[each] for each in SETS), "measured"), lines),
        "",
        said,
    ]


def _measured(study: str, method: str, network: str) -> list[str]:
    if not study:
        return ["", "", "not measured" if method else ""]
    about = kept_study(RESULTS / study)
    networks = {network} if network in about.models else set(about.models)
    gains = {
        dataset: "{} ({})".format(*gain_of(c))
        for (dataset, model, arm), c in comparisons(study).items()
        if arm == method and model in networks
    }
    link = f"[{about.protocol.steps:,} steps](results/{study}/README.md)"
    return [*(gains.get(each, "") for each in SETS), link]


# ---------------------------------------------------------------- whole studies
TESTED = ("accuracy, %", *GAIN, "Holm p")
JUDGED = (*GAIN, "Holm p", "verdict")


def study(*names: str, columns: tuple[str, ...], model: bool = False) -> list[str]:
    """Return every arm of some studies, each corrected by Holm within its study."""
    shown = ["data set", *["network"] * model, "initializer", *columns]
    lines = []
    for name in names:
        found = comparisons(name)
        for dataset, network in dict.fromkeys(place[:2] for place in found):
            losses = runs(name, dataset, network, "loss").mean()
            here = [c for place, c in found.items() if place[:2] == (dataset, network)]
            most = max(here, key=lambda c: c.n)
            for arm, mean, c in (
                (most.baseline, most.mean_baseline, None),
                *((c.arm, c.mean_arm, c) for c in here),
            ):
                cells = {
                    "data set": TITLES[dataset], "network": network,
                    "initializer": f"`{named(arm)}`",
                    "study": f"[{name}]({name}/README.md)",
                    "accuracy, %": f"{100 * mean:.2f}", "cross-entropy": f"{losses[arm]:.2f}",
                }  # fmt: skip
                if c is not None:
                    cells |= dict(zip(GAIN, gain_of(c), strict=True))
                    cells |= {"Holm p": p_text(c.p_holm), "verdict": c.outcome}
                    cells["seeds ahead"] = f"{c.wins} of {c.n}"
                lines.append([cells.get(each, "") for each in shown])
    return table(shown, lines)


GROUPS = {
    "confirmation": "the default, on test sets",
    "full": "the default, 5,000 steps",
    "robustness-": "the default, other settings",
    "search-": "the search for the default",
    "practice-": "the practice of today",
    "paper/table3-": "the paper's Table 3",
    "paper/": "the paper, other questions",
    "": "earlier studies",
}
"""How the name of a kept study begins -> what it belongs to, in the order of the page."""


def studies() -> list[str]:
    """Return one row a kept study: what it belongs to, its size, and how its comparisons ended."""
    rows = []
    for file in sorted(RESULTS.rglob("verdicts.json")):
        name = str(file.parent.relative_to(RESULTS))
        at, group = next((i, GROUPS[g]) for i, g in enumerate(GROUPS) if name.startswith(g))
        about, found = kept_study(file.parent), comparisons(name).values()
        ended = [c.outcome for c in found]
        datasets = ", ".join(TITLES[each] for each in about.datasets)
        seeds = str(max((c.n for c in found), default=len(about.seeds)))
        images = "validation" if about.validation else "test"
        outcomes = ", ".join(f"{ended.count(each)} {each}" for each in sorted(set(ended)))
        link = f"[{file.parent.name}]({name}/README.md)"
        steps = f"{about.protocol.steps:,}"
        rows.append((at, [group, link, datasets, steps, seeds, images, outcomes]))
    headings = ("belongs to", "study", "data sets", "steps", "seeds", "evaluated on", "comparisons")
    return table(headings, [row for _, row in sorted(rows, key=lambda each: each[0])])


TABLES: dict[str, Callable[[], list[str]]] = {
    "choose": choose,
    "studies": studies,
    "confirmation": lambda: study("confirmation", columns=(*TESTED, "seeds ahead")),
    "full": lambda: study("full", "full-mnist", columns=(*TESTED, "seeds ahead", "cross-entropy")),
    "warmup": lambda: study(
        "robustness-no-warmup", "robustness-warmup", columns=("study", "accuracy, %", *GAIN)
    ),
    "earlier": lambda: study("rivals-cifar10-1000", "control-fashion-mnist-1000", columns=JUDGED),
    "earlier-networks": lambda: study("deep-models-cifar10-500", columns=JUDGED, model=True),
    **SEARCH,
    **SETTINGS,
    **EARLY,
    **REASONS,
}
"""Every table that a page can ask for."""
