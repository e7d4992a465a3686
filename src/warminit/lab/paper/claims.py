"""the paper -> its claims, each with its section, its text, and the study that tests it.

`findings` adds the measured result of each claim.
"""

from dataclasses import dataclass
from typing import Literal

from warminit.lab.paper.published import GRID_CONFIRMATION_P, TABLE_3
from warminit.lab.study.table1 import SEEDS, STEPS

Kind = Literal["rule", "seconds", "axis", "counts", "gain", "all gains", "content", "steps"]

Verdict = Literal["reproduced", "not reproduced", "undecided", "not run yet", "not testable here"]

Found = tuple[str, Verdict, str]
"""Our figure, the verdict, and its reason in one sentence."""

MEASURED = ("mnist", "fashion-mnist", "cifar10", "cifar100")
"""Data sets of Table 3 that are completely available."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Hold one claim of the paper.

    Attributes:
        key: Short name, unique.
        section: Section of the claim.
        text: Text of the claim.
        paper: Figure of the paper, as printed.
        kind: Kind of the test.
        datasets: Required data sets, by the laboratory's names.
        command: Command that measures the claim.
        runs: Number of required runs, with controls; 0 if rules are evaluated.
        steps: Training steps of each run.
        error: Known error in the claim as printed, or "".
    """

    key: str
    section: str
    text: str
    paper: str
    kind: Kind
    datasets: tuple[str, ...]
    command: str
    runs: int = 0
    steps: int = 0
    error: str = ""


def _rule(key: str, text: str, paper: str, datasets: tuple[str, ...], error: str = "") -> Claim:
    command = f"warminit reproduce table2 --datasets {','.join(datasets)}"
    return Claim(key, "3.4", text, paper, "rule", datasets, command, error=error)


def _axis(key: str, text: str, paper: str, runs: int, error: str = "") -> Claim:
    command = "warminit reproduce grid --axes"
    return Claim(
        key, "4.3", text, paper, "axis", ("fashion-mnist",), command, runs, 500, error=error
    )


def _gain(dataset: str, title: str, error: str = "") -> Claim:
    row = TABLE_3[dataset]
    return Claim(
        f"gain-{dataset}",
        "5.1",
        f"Pre-Warm improves the final test accuracy on {title}.",
        f"{100 * row.difference:+.2f} points, one-sided p {row.p_one_sided:.4f},"
        f" {row.wins}/{SEEDS} seeds ahead",
        "gain",
        (dataset,),
        f"warminit reproduce table3 --datasets {dataset}",
        2 * SEEDS,
        STEPS,
        error,
    )


CLAIMS = (
    _rule(
        "patches-grayscale",
        "Otsu's foreground density gives the patch count of grayscale images (Equation 5).",
        "58 on MNIST, 22 on Fashion-MNIST",
        ("mnist", "fashion-mnist"),
        "the argument given for Equation 5 does not lead to it: it asks for F / d patches in all",
    ),
    _rule(
        "patches-cifar10",
        "The mean patch norm gives the patch count of CIFAR-10 (Equation 6).",
        "27, mean norm 0.522",
        ("cifar10",),
        "the runs used 28",
    ),
    _rule(
        "patches-cifar100",
        "The same rule gives 16 on CIFAR-100.",
        "16",
        ("cifar100",),
        "Equation 6 on the training split gives 30",
    ),
    Claim(
        "seconds",
        "1",
        "The initialization takes under 0.1 s on a T4 GPU.",
        "< 0.1 s",
        "seconds",
        ("fashion-mnist",),
        "warminit reproduce table2",
    ),
    _axis(
        "patch-size",
        "The patch size must equal the kernel size: no patch size of 5 was significant.",
        "3, not 5",
        2 * SEEDS,
    ),
    _axis(
        "clusters",
        "Only half of the filters as clusters, 16 of 32, gives a significant gain.",
        "16, not 8, 32 or 64",
        4 * SEEDS,
    ),
    _axis(
        "threshold",
        "The patch count has a sharp threshold: significant at 25, not at 20 or 30.",
        "25 and, by the rule, 22",
        8 * SEEDS,
        "a difference between significant and not significant is not itself tested",
    ),
    _axis(
        "confirmation",
        "At the rule's 22 patches, Pre-Warm has a lower loss after 500 steps.",
        f"p = {GRID_CONFIRMATION_P}",
        2 * SEEDS,
    ),
    _axis(
        "scale",
        "The scale does not matter from 0.1 to 0.25.",
        "significant at 0.1, 0.2 and 0.25",
        3 * SEEDS,
        "0.25 is not in the grid that the section states",
    ),
    Claim(
        "counts",
        "4.4",
        "The rule's patch counts are those that are best on colour images, hence c = 6.65.",
        "28 on CIFAR-10, 16 on SVHN; c = 6.65",
        "counts",
        ("cifar10", "cifar100"),
        "warminit run patch-counts",
        2 * 7 * SEEDS,
        500,
        "c was fitted to these two optima, and the sweep looked at test accuracy",
    ),
    _gain("mnist", "MNIST"),
    _gain("fashion-mnist", "Fashion-MNIST"),
    _gain("cifar10", "CIFAR-10"),
    _gain(
        "cifar100", "CIFAR-100", "its relative error change is printed as -11.89 % and is -1.19 %"
    ),
    _gain("svhn", "SVHN"),
    Claim(
        "all-gains",
        "5.1",
        "The improvement is significant at 0.05 on all five data sets.",
        "five one-sided p below 0.05, not corrected",
        "all gains",
        (*MEASURED, "svhn"),
        "warminit reproduce table3",
        5 * 2 * SEEDS,
        STEPS,
        "with Holm's correction of the printed p, Fashion-MNIST and CIFAR-10 stand at 0.0616",
    ),
    Claim(
        "content",
        "1, 6",
        "It is what the filters take from the data that helps.",
        "no control of the same scale",
        "content",
        MEASURED,
        "warminit reproduce table3 --control",
        4 * 2 * SEEDS,
        STEPS,
        "a gain could come from the filters' scale: in the colour runs they are about 2.25 times"
        " as large as the rest of the bank",
    ),
    Claim(
        "steps",
        "1",
        "It reduces the number of steps that the first layer needs.",
        "no figure",
        "steps",
        MEASURED,
        "warminit reproduce table3",
        4 * 2 * SEEDS,
        STEPS,
    ),
)
"""The paper's claims in the order of its argument: rules, their search, the main result, why."""
