"""the paper -> its own figures as data, each with its section or table, and its known errors.

Source: Martinsn, "Pre-Warm", arXiv:2606.25256v1. Nothing here is measured by this package, except
where an `Erratum` says so.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Hold one data set's row of Table 3: final test accuracy over 8 seeds, from 0 to 1.

    Attributes:
        kaiming: Mean of the baseline, which is torch's default initialization.
        kaiming_sd: Standard deviation of the baseline over the seeds.
        prewarm: Mean of Pre-Warm.
        prewarm_sd: Standard deviation of Pre-Warm over the seeds.
        difference: Mean paired difference.
        error_change: Relative change of the classification error in percent, as printed.
        p_one_sided: One-sided p of the paired t.
        wins: Number of seeds, of `SEEDS`, at which Pre-Warm is better.
    """

    kaiming: float
    kaiming_sd: float
    prewarm: float
    prewarm_sd: float
    difference: float
    error_change: float
    p_one_sided: float
    wins: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Hold one row of Table 2: a hyperparameter, its rule by kind of image, and the reason."""

    parameter: str
    grayscale: str
    colour: str
    rationale: str


@dataclass(frozen=True, slots=True)
class Erratum:
    """Hold a figure of the paper that contradicts the rest of the paper, or the data.

    Attributes:
        table: Table of the figure, `table1` or `table3`.
        dataset: Row of the figure; `mean` for the last row of Table 3.
        quantity: Column of the figure.
        printed: Printed value.
        corrected: Corrected value.
        why: Reason in one sentence.
    """

    table: Literal["table1", "table3"]
    dataset: str
    quantity: str
    printed: float
    corrected: float
    why: str


INIT_SECONDS = 0.1
"""Section 1: the initialization "completes in under 0.1 seconds on a T4 GPU"."""

TABLE_2 = (
    Rule("patch_size", "= K", "= K", "Direct filter correspondence"),
    Rule("n_clusters", "= floor(F / 2)", "= floor(F / 2)", "Half conditioned, half random"),
    Rule(
        "n_patches",
        "= floor((F / 4) / d)",
        "= floor((F / 4) * c * mean ||p||), c = 6.65",
        "Informative patch dominance",
    ),
    Rule("scale", "0.20", "0.25", "Kaiming parity at C_in = 3"),
)
"""Table 2. F: filters of the layer; K: its kernel size; d: Otsu's foreground density (Equation 5);
mean ||p||: mean L2 norm of mean-centered patches of raw pixels (Equation 6)."""

TABLE_3 = {
    "mnist": Accuracy(0.9928, 0.0004, 0.9933, 0.0003, 0.0005, -6.94, 0.0109, 7),
    "fashion-mnist": Accuracy(0.9267, 0.0019, 0.9283, 0.0013, 0.0016, -2.18, 0.0308, 6),
    "cifar10": Accuracy(0.7471, 0.0031, 0.7494, 0.0036, 0.0023, -0.91, 0.0322, 6),
    "svhn": Accuracy(0.8908, 0.0018, 0.8956, 0.0028, 0.0048, -4.40, 0.0007, 8),
    "cifar100": Accuracy(0.4282, 0.0034, 0.4349, 0.0036, 0.0068, -11.89, 0.0033, 7),
}
"""Table 3, by data set, in its order."""

MEAN_DIFFERENCE = 0.0032
"""Last row of Table 3."""

MEAN_ERROR_CHANGE = -5.26
"""Last row of Table 3, in percent, as printed."""

GRID = {
    "patch_size": (3, 5),
    "n_clusters": (8, 16, 32, 64),
    "n_patches": (10, 15, 20, 25, 30, 50, 100),
    "scale": (0.05, 0.1, 0.2, 0.3),
}
"""The grid of Section 4.3: 224 configurations, Fashion-MNIST, loss at 500 steps."""

GRID_STEPS = 500
"""Steps after which the grid search compares training losses (Section 4.3)."""

GRID_CONFIRMATION_P = 0.0025
"""Section 4.3: n_patches = 22, n_clusters = 16, patch_size = 3, scale 0.20, loss at 500 steps."""

COLOUR_OPTIMA = {"cifar10": 28, "svhn": 16}
"""Section 4.4: n_patches at the optimum of the author's sweep, to which c was fitted."""

ERRATA = (
    Erratum(
        "table1", "cifar100", "n_patches_rule", 16, 30,
        "the text says that the rule gives 16; on the real training set Equation 6 gives 30 "
        "(mean patch norm 0.568)",
    ),
    Erratum(
        "table3", "cifar100", "error_change", -11.89, -1.19,
        "from the paper's own accuracies, 0.0068 / (1 - 0.4282) is 1.19 %",
    ),
    Erratum(
        "table3", "mean", "error_change", -5.26, -3.12,
        "the mean of the column with CIFAR-100's corrected value",
    ),
)  # fmt: skip
"""Errors of the paper in the figures above."""


def erratum(table: Literal["table1", "table3"], dataset: str, quantity: str) -> Erratum | None:
    """Return the known error in a figure of the paper, or None.

    Example:
        >>> erratum("table3", "cifar100", "error_change").corrected
        -1.19
    """
    known = {(each.table, each.dataset, each.quantity): each for each in ERRATA}
    return known.get((table, dataset, quantity))
