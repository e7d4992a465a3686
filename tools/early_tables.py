"""The first studies, and what did not help anywhere -> the tables of these two pages, by name."""

from collections.abc import Callable

from kept_format import RESULTS
from paired_rows import (
    CIFAR,
    DEFAULT,
    FASHION,
    GAIN,
    HEAD,
    PLAIN,
    RANDOM,
    START,
    TITLES,
    Pair,
    both,
    comparisons,
    long,
    runs,
    table,
)
from warminit.lab.verdict.kept import kept_study

RIVALS, CONTROL = "rivals-cifar10-1000", "control-fashion-mnist-1000"
DEEP, NETWORKS = "deep-cifar10-1000", "deep-models-cifar10-500"
CONFIRMED = (("confirmation", CIFAR), ("confirmation", FASHION))
ON_THE_WAY = {
    "accuracy_at_25_percent": "step 200",
    "accuracy_at_50_percent": "step 500",
    "accuracy_at_75_percent": "step 700",
    "accuracy": "step 1,000",
}
"""Column of a kept run -> the last evaluation by then."""


def lead() -> list[str]:
    """Return how the lead of each arm shrinks on the way, on CIFAR-10."""
    rows = []
    for arm in (PLAIN, "coates-ng", "prewarm", RANDOM):
        tables = [runs(RIVALS, metric=metric) for metric in ON_THE_WAY]
        rows.append([arm, *(f"{100 * (t[arm] - t[DEFAULT]).mean():+.2f}" for t in tables)])
    return table(("initializer", *ON_THE_WAY.values()), rows)


def seconds() -> list[str]:
    """Return how long initializers took, and training, on average over the seeds."""
    of_call, of_training = (
        runs(RIVALS, metric=f"{part}_seconds").mean() for part in ("init", "train")
    )
    words = {PLAIN: "whitening", "prewarm": "Pre-Warm, the paper's own k-means", "lsuv": "`lsuv`"}
    rows = [(each, f"{of_call[arm]:.1g}") for arm, each in words.items()]
    return table(("what", "seconds"), [*rows, ("training", f"{of_training[DEFAULT]:.0f}")])


def seeds_needed() -> list[str]:
    """Return how many seeds would see an effect of Pre-Warm with a power of 0.8."""
    rows = []
    for study in (CONTROL, RIVALS):
        for (dataset, _, arm), c in comparisons(study).items():
            if arm == "prewarm" and c.seeds_needed is not None:
                needed = (str(c.seeds_needed[effect]) for effect in ("0.002", "0.005"))  # type: ignore[index]  # JSON has text for keys
                rows.append((TITLES[dataset], str(c.n), *needed))
    return table(("data set", "seeds", "for 0.2 points", "for 0.5 points"), rows)


def _asked(what: str, study: str, arm: str, beside: str = DEFAULT, *, words: str = "",
           dataset: str = "", model: str = "") -> Pair:  # fmt: skip
    """Return a row of what did not help; `words` stand for the other arm's label."""
    dataset = dataset or only_dataset(study)
    link = f"[{study}]({study}/README.md)"
    return Pair((what, words or beside, TITLES[dataset], link), study, arm, beside, dataset, model)


def only_dataset(study: str) -> str:
    """Return the only data set of a study."""
    (dataset,) = kept_study(RESULTS / study).datasets
    return dataset


def of_default() -> list[Pair]:
    """Return where the default, or a part of it, gained nothing or lost."""
    fixed = f"{START}(trainable=False)"
    return [
        _asked("the default, 5,000 steps", "full", START, dataset=FASHION),
        _asked("small last layer alone, 5,000 steps", "search-round4-cifar10", both(arm=DEFAULT)),
        _asked("small last layer alone, 5,000 steps", "search-round4-fashion", both(arm=DEFAULT)),
        *(_asked("small last layer with a warm-up", "robustness-warmup", START, PLAIN,
                 words="torch's last layer", dataset=dataset) for dataset in (CIFAR, FASHION)),
        _asked("small last layer, ResNet-20", "search-parts-resnet20", HEAD, model="resnet20"),
        _asked("the default, small ViT", "robustness-models", START, model="small-vit"),
        _asked("the default, rate x 3", "robustness-rate-high", START, dataset=CIFAR),
        _asked("the default, rate x 3, float32", "robustness-rate-high-parts", START),
        _asked("Pre-Warm's scale, no BatchNorm", "search-nobn-unit", START, PLAIN, dataset=FASHION),
        _asked("small last layer, six convolutions", "search-plain-before", f"{START}(scale=0.25)"),
        _asked("hidden units kept alive", "search-live-fitted",
               f"experiments.live:start(arm={START}, divided=input)", START, words="the default"),
        _asked("trained filters", "search-fitted", START, fixed, words="fixed ones"),
        _asked("trained filters", "search-fitted-cifar10", START, fixed, words="fixed ones"),
    ]  # fmt: skip


def of_prewarm() -> list[Pair]:
    """Return Pre-Warm beside torch's default, and its content beside random content."""
    two, one = "prewarm(layers=2)", "prewarm"
    first = [
        _asked("Pre-Warm", study, one, beside, dataset=dataset)
        for beside in (DEFAULT, RANDOM)
        for study, dataset in (*CONFIRMED, (RIVALS, ""), (CONTROL, ""))
    ]  # fmt: skip
    return [
        *first,
        _asked("Pre-Warm, ResNet-20", NETWORKS, one, model="resnet20"),
        _asked("Pre-Warm, small ViT", NETWORKS, one, model="small-vit"),
        _asked("Pre-Warm, small ViT", NETWORKS, one, RANDOM, model="small-vit"),
        _asked("whitening, small ViT", NETWORKS, PLAIN, RANDOM, model="small-vit"),
        _asked("Pre-Warm on two layers", DEEP, two, one),
        _asked("whitening on two layers", DEEP, f"{PLAIN}(layers=2)", PLAIN),
        *(_asked("Pre-Warm with a small last layer", "search-round1-heads",
                 "experiments.heads:start(arm=prewarm, head=0.1)",
                 "experiments.heads:start(arm=torch-default, head=0.1)",
                 words="torch's filters, the same layer", dataset=dataset)
          for dataset in (CIFAR, FASHION)),
    ]  # fmt: skip


def of_others() -> list[Pair]:
    """Return the other initializers that gained nothing or lost."""
    found = [("lsuv", RIVALS, CIFAR), ("random-patches", RIVALS, CIFAR)]
    for arm in ("he-normal", RANDOM):
        found += [(arm, *each) for each in ((RIVALS, CIFAR), (CONTROL, FASHION), *CONFIRMED)]
    rows = [_asked(arm, study, arm, dataset=dataset) for arm, study, dataset in found]
    return [*rows, _asked("coates-ng", RIVALS, "coates-ng", PLAIN)]


ASKED = ("what was tried", "beside", "data set", "study")
SHOWN = (*GAIN, "seeds ahead")
EARLY: dict[str, Callable[[], list[str]]] = {
    "lead": lead,
    "seconds": seconds,
    "seeds-needed": seeds_needed,
    "negative-default": lambda: long(ASKED, SHOWN, of_default()),
    "negative-prewarm": lambda: long(ASKED, SHOWN, of_prewarm()),
    "negative-others": lambda: long(ASKED, SHOWN, of_others()),
}
