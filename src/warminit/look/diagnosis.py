"""figures of an input layer -> Diagnosis: as values, as a table, and two side by side."""

import math
from dataclasses import dataclass, fields
from typing import Any

from warminit.layout import Layout, Tabled, aligned


@dataclass(frozen=True, slots=True)
class Diagnosis(Tabled):
    """Hold figures on the responses of input filters; every number is finite, or None.

    Responses are inner products of the filters with uncentered patches, scaled as the model is fed,
    at positions one pixel apart inside the image. The layer's dilation, groups and bias count; its
    stride and padding do not. The bias affects only the three figures on outputs.

    Attributes:
        layer: Dotted name of the layer.
        found: Reason why this layer was chosen.
        out_channels: Number of filters F of the layer.
        patch_values: Number of values D of a filter's patch, over all input channels.
        n_patches: Number of patches behind the figures.
        every_position: Whether these are all patches of the images, rather than a sample.
        seed: Seed of the sample.
        rank: Number of singular values of the (F, D) bank above max(F, D) * eps of float32 * the
            largest.
        effective_rank: Exponential of the entropy of the singular values divided by their sum, 1 to
            min(F, D) (Roy & Vetterli, EUSIPCO 2007). None if all filters are zero.
        condition_number: Largest over smallest singular value; None if rank < min(F, D).
        duplicate_pairs: Pairs (i, j), i < j, of filters with |cosine| > 0.99.
        dead_filters: Filters that are zero, or respond with zero to every patch.
        constant_filters: Other filters with a constant response.
        response_variances: Population variance of each filter's response; 0 for the two above.
        response_spread: Coefficient of variation (population standard deviation over mean) of the
            variances above 0; None if there are fewer than two.
        energy_captured: Share, 0 to 1, of the patches' energy (sum of squares, each patch centered)
            in the span of the filters. None if every patch is flat.
        relu_dead_channels: Channels with no output (response + bias) above 0 in any image.
        relu_dead_share: Share of these channels, 0 to 1.
        nonpositive_share: Share, 0 to 1, of outputs that a ReLU would set to 0.
        white_distance: Root mean square of the correlations between the outputs of two channels.
            This is ||correlation - I||_F / sqrt(n (n - 1)) over the n channels of variance above 0.
            0 means white outputs (up to each channel's scale), 1 means copies of one channel. A
            sample of P patches adds about 1 / sqrt(P). Outputs of rank r < n cannot go below
            sqrt((n - r) / (r (n - 1))) (Welch's bound). None if fewer than two channels vary.
        notes: Reasons for None, and other remarks for the reader.
    """

    layer: str
    found: str
    out_channels: int
    patch_values: int
    n_patches: int
    every_position: bool
    seed: int
    rank: int
    effective_rank: float | None
    condition_number: float | None
    duplicate_pairs: tuple[tuple[int, int], ...]
    dead_filters: tuple[int, ...]
    constant_filters: tuple[int, ...]
    response_variances: tuple[float, ...]
    response_spread: float | None
    energy_captured: float | None
    relu_dead_channels: tuple[int, ...]
    relu_dead_share: float
    nonpositive_share: float
    white_distance: float | None
    notes: tuple[str, ...] = ()

    def tables(self) -> list[Layout]:
        """Return the figures as one table."""
        return [Layout("diagnosis", self.rows(), below=[f"note: {note}" for note in self.notes])]

    def compare(self, other: "Diagnosis", names: tuple[str, str] = ("first", "second")) -> str:
        """Format two diagnoses as one table of plain text, side by side.

        Args:
            other: Diagnosis of another model, or of the same one after another initialization.
            names: Names of the two columns.

        Returns:
            One line per figure, then the notes of both, each with its column's name.
        """
        both = zip(self.rows(), other.rows(), strict=True)
        rows = [("", *names), *((name, ours, theirs[1]) for (name, ours, _), theirs in both)]
        notes = [
            f"note on {name}: {note}"
            for name, diagnosis in zip(names, (self, other), strict=True)
            for note in diagnosis.notes
        ]
        if any(getattr(self, key) != getattr(other, key) for key in ("n_patches", "patch_values")):
            notes.append("note: the two were not measured on the same patches")
        return "\n".join([*aligned(rows), *notes])

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name as JSON values: tuples become lists."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
        return {**values, "duplicate_pairs": [list(pair) for pair in self.duplicate_pairs]}

    def rows(self) -> list[tuple[str, str, str]]:
        """Return label, value and remark for each line of the table."""
        count, size = self.out_channels, self.patch_values
        mean = math.fsum(self.response_variances) / count
        dead = len(self.relu_dead_channels)
        how = "every position" if self.every_position else f"sampled, seed {self.seed}"
        return [
            ("layer", self.layer, self.found),
            ("filters", f"{count} x {size}", "filters x values of a patch"),
            ("patches", str(self.n_patches), how),
            ("rank", f"{self.rank} of {min(count, size)}", ""),
            ("effective rank", _plain(self.effective_rank), "of the bank's singular values"),
            ("condition number", _plain(self.condition_number), "1 is orthogonal"),
            ("near-duplicates", f"{len(self.duplicate_pairs)} pairs", "|cosine| > 0.99"),
            ("dead filters", f"{len(self.dead_filters)} of {count}", "zero, or no response"),
            ("constant filters", f"{len(self.constant_filters)} of {count}", "never vary"),
            ("response variance", _plain(mean), "mean over filters"),
            ("response spread", _plain(self.response_spread), "deviation / mean; 0 is even"),
            ("energy captured", _plain(self.energy_captured), "of centered patches, by the span"),
            ("ReLU-dead channels", f"{dead} of {count}", "never above 0"),
            ("outputs <= 0", _plain(self.nonpositive_share), "share"),
            ("distance from white", _plain(self.white_distance), "RMS correlation; 0 is white"),
        ]


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
