"""docs/results/why.json -> the tables of `why.md`, by name."""

import json
from collections.abc import Callable, Sequence

from kept_format import RESULTS
from paired_rows import TITLES, table

WHY = json.loads((RESULTS / "why.json").read_text(encoding="utf-8"))


def of(part: str, headings: Sequence[str], *columns: tuple[str, int, int]) -> list[str]:
    """Return a table of one part: columns are key, how many of its values, and digits."""
    rows = [
        [
            TITLES[dataset],
            name,
            *(_shown(found[key], most, digits) for key, most, digits in columns),
        ]
        for dataset, arms in WHY[part].items()
        for name, found in arms.items()
    ]
    return table(("data set", "initializer", *headings), rows)


def _shown(value: float | list[float], most: int, digits: int) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(f"{each:.{digits}f}" for each in values[:most])


REASONS: dict[str, Callable[[], list[str]]] = {
    "first-steps": lambda: of(
        "first_steps",
        ("hidden values before, after one step", "deviation of the logits",
         "loss before, after 1 to 4 steps",
         "steps 1, 20, 40, 60 of the second convolution, in learning rates"),
        ("hidden_rms", 2, 2), ("logit_sd", 2, 2), ("loss", 5, 2), ("step_of_second_layer", 4, 2),
    ),
    "spread": lambda: of(
        "spread",
        ("condition within a filter, log10", "largest to smallest signal of a filter",
         "responses (at most 16)", "inputs of the second layer (288)",
         "gradient, first layer (9 or 27)", "gradient, second layer (64)"),
        *((name, 1, 1) for name in (
            "log10_condition_within_a_filter", "signal_largest_to_smallest_filter",
            "responses_of_set_filters", "inputs_of_second_layer",
            "gradient_of_first_layer", "gradient_of_second_layer",
        )),
    ),
    "live-units": lambda: of(
        "live_units", ("at 3e-3, before steps 1, 2, 5, 13, 51", "at 9e-3"),
        ("at_0.003", 5, 2), ("at_0.009", 5, 2),
    ),
    "outputs": lambda: of(
        "outputs", ("size of the outputs", "loss before, after 20 steps"),
        ("rms_of_outputs", 1, 3), ("loss", 2, 2),
    ),
}  # fmt: skip
