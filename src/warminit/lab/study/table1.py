"""Table 1 of the paper -> the published training settings of each data set.

Source: Martinsn, "Pre-Warm", arXiv:2606.25256v1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """Hold one row of Table 1, with figures of Sections 3.4 and 4.4.

    Attributes:
        dataset: Name for `load_dataset`.
        title: Name in the paper.
        in_channels: C_in.
        image_size: Side length in pixels.
        fc_dim: Values that enter the first fully connected layer.
        lr_start: Learning rate of the first step.
        lr_end: Learning rate that the cosine schedule ends at.
        n_patches: Patches per image in the runs (Table 1).
        scale: Standard deviation of the conditioned filters (Table 1).
        n_patches_rule: Result of the rule according to the paper (Sections 3.4 and 4.4).
        otsu_threshold: Section 3.4, grayscale sets only.
        foreground_density: Section 3.4, grayscale sets only.
        patch_norm: Mean L2 norm of mean-centered patches, Section 4.4, if published.
    """

    dataset: str
    title: str
    in_channels: int
    image_size: int
    fc_dim: int
    lr_start: float
    lr_end: float
    n_patches: int
    scale: float
    n_patches_rule: int
    otsu_threshold: float | None = None
    foreground_density: float | None = None
    patch_norm: float | None = None


TABLE_1 = {
    row.dataset: row
    for row in (
        Configuration(
            "mnist", "MNIST", 1, 28, 3136, 3e-3, 3e-5, 58, 0.20, 58,
            otsu_threshold=0.4434, foreground_density=0.1373,
        ),
        Configuration(
            "fashion-mnist", "Fashion-MNIST", 1, 28, 3136, 3e-3, 3e-5, 22, 0.20, 22,
            otsu_threshold=0.3809, foreground_density=0.3602,
        ),
        Configuration(
            "cifar10", "CIFAR-10", 3, 32, 4096, 3e-3, 3e-5, 28, 0.25, 27, patch_norm=0.522
        ),
        Configuration("svhn", "SVHN", 3, 32, 4096, 5e-4, 3e-6, 16, 0.25, 16, patch_norm=0.308),
        Configuration("cifar100", "CIFAR-100", 3, 32, 4096, 2e-3, 3e-5, 16, 0.25, 16),
    )
}  # fmt: skip
"""Table 1, by data set, in its order."""

OTHER_LEARNING_RATES = (3e-3, 3e-5)
"""Rates for other data sets: those of all but two rows of Table 1."""

SEEDS = 8
"""Seeds of every figure of Table 3 and of the grid search (Sections 3.3 and 4.3)."""

STEPS = 5000
"""Optimizer steps of a run of Table 3 (Section 3.3)."""

BATCH_SIZE = 256
"""Images per step (Section 3.3)."""
