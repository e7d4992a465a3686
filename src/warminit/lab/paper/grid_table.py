"""a finished grid study -> the grid of Section 4.3, beside the paper's claims on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from warminit.lab.paper.published import GRID, GRID_CONFIRMATION_P, GRID_STEPS
from warminit.lab.study.table1 import SEEDS
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.wording import counted, expected_false_alarms, stars

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class GridRow:
    """Hold one configuration compared with torch's default initialization.

    Attributes:
        patch_size: Height and width of the patches.
        n_clusters: Number of conditioned filters.
        n_patches: Patches per image.
        scale: Standard deviation of the conditioned filters.
        comparison: Comparison of the training loss; a negative difference is a gain.
    """

    patch_size: int
    n_clusters: int
    n_patches: int
    scale: float
    comparison: Comparison

    @property
    def delta(self) -> float:
        """The paper's loss delta, baseline minus Pre-Warm: positive is a gain."""
        return -self.comparison.mean_difference

    @property
    def in_grid(self) -> bool:
        """Whether it is one of the paper's 224 configurations."""
        return all(getattr(self, name) in values for name, values in GRID.items())

    @property
    def significant(self) -> bool:
        """As in the paper: one-sided p below 0.05, not corrected."""
        p = self.comparison.p_one_sided
        return p is not None and p < LEVEL


@dataclass(frozen=True, slots=True)
class Claim:
    """Hold a claim of Section 4.3, with the paper's finding and ours.

    Attributes:
        text: Counted quantity.
        paper: Finding of the paper.
        here: Our finding.
        agrees: Whether both findings agree; None if this cannot be decided.
    """

    text: str
    paper: str
    here: str
    agrees: bool | None


def grid_rows(analysis: Analysis, dataset: str) -> list[GridRow]:
    """Return every configuration with a result on a data set, the smallest one-sided p first."""
    parameters = {arm.label: arm.parameters for arm in analysis.study.arms}
    rows = [
        GridRow(
            patch_size=int(parameters[cell.arm]["patch_size"]),
            n_clusters=int(parameters[cell.arm]["n_filters"]),
            n_patches=int(parameters[cell.arm]["patches_per_image"]),
            scale=float(parameters[cell.arm]["scale"]),
            comparison=cell.comparison,
        )
        for cell in analysis.cells
        if cell.comparison is not None and cell.dataset == dataset
    ]
    return sorted(rows, key=lambda row: _order(row.comparison.p_one_sided))


def _order(p: float | None) -> float:
    return 2.0 if p is None else p


def grid_claims(rows: Sequence[GridRow]) -> list[Claim]:
    """Compare the claims of Section 4.3 with the rows; p are one-sided and uncorrected."""
    grid = [row for row in rows if row.in_grid]
    if not any(row.comparison.p_one_sided is not None for row in grid):
        return []
    matching = [row for row in grid if row.patch_size == 3]
    gains = sum(row.delta > 0 for row in matching)
    confirmation = _find(rows, n_patches=22, scale=0.2)
    scales = [
        scale
        for scale in (0.05, 0.1, 0.2, 0.25, 0.3)
        if (row := _find(rows, n_patches=25, scale=scale)) is not None and row.significant
    ]
    found = ", ".join(f"{scale:g}" for scale in scales)
    return [
        Claim(
            "patch_size 3: configurations with a positive loss delta",
            "all",
            f"{gains} of {len(matching)}",
            gains == len(matching),
        ),
        _none_significant("patch_size 5", [row for row in grid if row.patch_size == 5]),
        _none_significant("n_clusters not 16", [row for row in grid if row.n_clusters != 16]),
        _none_significant("n_patches not 25", [row for row in grid if row.n_patches != 25]),
        Claim(
            "scales significant at n_patches 25 (16 clusters, patch_size 3)",
            "0.1, 0.2, 0.25",
            found or "none",
            found == "0.1, 0.2, 0.25",
        ),
        Claim(
            "p at n_patches 22, scale 0.2 (16 clusters, patch_size 3)",
            f"{GRID_CONFIRMATION_P}{stars(GRID_CONFIRMATION_P)}",
            *_confirmed(confirmation),
        ),
    ]


def _confirmed(row: GridRow | None) -> tuple[str, bool | None]:
    p = None if row is None else row.comparison.p_one_sided
    if p is None:
        return "-", None
    return f"{p:.4f}{stars(p)}", stars(p) == stars(GRID_CONFIRMATION_P)


def _none_significant(text: str, rows: Sequence[GridRow]) -> Claim:
    found = sum(row.significant for row in rows)
    return Claim(
        f"{text}: configurations with p < 0.05", "none", f"{found} of {len(rows)}", not found
    )


def _find(rows: Sequence[GridRow], *, n_patches: int, scale: float) -> GridRow | None:
    wanted = (3, 16, n_patches, scale)
    found = {(row.patch_size, row.n_clusters, row.n_patches, row.scale): row for row in rows}
    return found.get(wanted)


def grid_caveats(analysis: Analysis) -> list[str]:
    """Return the differences of a grid study from the paper's; with any, it is no reproduction."""
    study, found = analysis.study, []
    if study.protocol.steps != GRID_STEPS:
        found.append(f"{study.protocol.steps:,} of the paper's {GRID_STEPS} steps")
    if len(study.seeds) != SEEDS:
        found.append(f"{counted(len(study.seeds), 'seed')} in place of {SEEDS}")
    if analysis.missing:
        found.append(f"{counted(analysis.missing, 'run')} missing")
    if analysis.failed:
        found.append(f"{counted(len(analysis.failed), 'run')} failed")
    return found


def multiplicity(rows: Sequence[GridRow]) -> str:
    """Return a sentence on the number of tests, with the number of findings."""
    if not rows:
        return ""
    tested = [row for row in rows if row.in_grid and row.comparison.p_one_sided is not None]
    holm = [row for row in rows if (row.comparison.p_holm or 1.0) < LEVEL]
    return (
        f"{len(tested)} tests at 0.05 expect about {expected_false_alarms(len(tested))} with no "
        f"effect at all; {sum(row.significant for row in tested)} are below 0.05 here before "
        f"correction. By Holm's correction over all {len(rows)} comparisons, {len(holm)} stand."
    )
