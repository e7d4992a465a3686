"""Table 1 of the paper -> what each data set is trained with, as published.

Source: Martinsn, "Pre-Warm", arXiv:2606.25256v1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """One data set's row of Table 1, with what Sections 3.4 and 4.4 say of it.

    Attributes:
        dataset: Name that `load_dataset` knows.
        title: Name that the paper prints.
        in_channels: C_in.
        image_size: Pixels of a side.
        fc_dim: Values that enter the first fully connected layer.
        lr_start: Learning rate of the first step.
        lr_end: Learning rate that the cosine schedule ends at.
        n_patches: Patches an image, as the runs had it (Table 1).
        scale: Standard deviation of the conditioned filters (Table 1).
        n_patches_rule: What the paper says that its rule gives (Sections 3.4 and 4.4).
        otsu_threshold: Section 3.4, grayscale sets only.
        foreground_density: Section 3.4, grayscale sets only.
        patch_norm: Mean L2 norm of mean-centered patches, Section 4.4, where it is given.
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
"""For every other data set: those of all but two of Table 1."""

SEEDS = 8
"""Seeds of every figure of Table 3 and of the grid search (Sections 3.3 and 4.3)."""

STEPS = 5000
"""Optimizer steps of a run of Table 3 (Section 3.3)."""

BATCH_SIZE = 256
"""Images a step (Section 3.3)."""
