"""bad input -> WarminitError that names the argument, both values and the next step.

After every row the model is bit-identical, and so are the states of the global generators.
"""

import pickle
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bad_inputs import COLOUR, GRAY, ROWS, fed, make_images, make_model
from warminit import derive_rules, prewarm_
from warminit.errors import WarminitError


def snapshot(model: Any) -> list[tuple[Any, ...]]:
    """Every parameter: which object it is, its version, and its bits where it has any."""
    rows: list[tuple[Any, ...]] = []
    for name, p in model.named_parameters() if isinstance(model, nn.Module) else ():
        has_values = not (p.is_meta or nn.parameter.is_lazy(p))
        values = p.detach().numpy().tobytes() if has_values else type(p)
        rows.append((name, id(p), p._version if has_values else 0, p.requires_grad, values))
    return rows


def global_states() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))


@pytest.mark.parametrize("name", ROWS)
def test_the_text_says_what_is_wrong_and_nothing_is_written(name: str) -> None:
    build, fragments = ROWS[name]
    call, model, images = build()
    before, states = snapshot(model), global_states()
    with pytest.raises(WarminitError) as caught:
        call(model, images)
    text = str(caught.value)
    absent = [fragment for fragment in fragments if fragment not in text]
    assert not absent, f"{absent} not in: {text}"
    assert re.fullmatch(r"[^\n]{30,400}\.", text), f"one paragraph, a sentence at its end: {text}"
    assert snapshot(model) == before
    assert global_states() == states


def test_the_good_call_behind_every_row_runs() -> None:
    # Otherwise a row could be refused for another reason than its own.
    assert prewarm_(make_model(), make_images(*GRAY)).filters_set == 16
    assert prewarm_(make_model(3), fed(), mean=[0.35] * 3, std=[0.3] * 3).filters_set == 16
    assert derive_rules(fed(), mean=[0.35] * 3, std=[0.3] * 3).n_patches >= 1
    assert derive_rules(fed(), raw_images=make_images(*COLOUR)).n_patches >= 1


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
def test_more_clusters_than_filters_is_the_listing_s_case_and_no_error(algorithm: str) -> None:
    # Section 4.3 sweeps n_clusters = 64 on 32 filters: the first F centroids become filters.
    report = prewarm_(make_model(filters=4), make_images(*GRAY), n_filters=9, algorithm=algorithm)  # type: ignore[arg-type]
    assert (report.filters_set, report.parameters["n_filters"]) == (4, 9)
    assert "4 of 9" in str(report)
