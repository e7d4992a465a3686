"""Options that exclude each other: refused by one sentence, and nothing is written."""

from typing import Any

import pytest

from arm_cases import bits, make_images, make_net
from warminit import WarminitError, init_

IMAGES = make_images(16, 2, 12, 12)
PIXELS = (IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())
CASES: list[tuple[str, dict[str, Any], str]] = [
    *(
        (method, {"scale": scale, "scaling": scaling}, rf"^scaling='{scaling}' and scale='{scale}'")
        for method in ("prewarm", "whitening", "whitening-small-head")
        for scale in ("match", "unit")
        for scaling in ("global", "per-filter")
    ),
    ("prewarm", {"fraction": 0.5, "n_filters": 3}, r"^fraction=0\.5 and n_filters=3: expected one"),
    *(
        (method, {"raw_images": PIXELS, "mean": 0.5, "std": 0.2}, "^raw_images and mean or std")
        for method in ("prewarm", "whitening", "dct")
    ),
    *(
        (method, {"layers": "2", "scope": "all"}, "^layers='2'.*scope='all'")
        for method in ("torch-default", "orthogonal", "lsuv")
    ),
]


@pytest.mark.parametrize(("method", "options", "text"), CASES)
def test_they_are_refused(method: str, options: dict[str, Any], text: str) -> None:
    model = make_net()
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=text):
        init_(model, IMAGES, method, **options)
    assert [bits(each) for each in model.parameters()] == before


@pytest.mark.parametrize("method", ["prewarm", "whitening"])
def test_each_alone_is_taken(method: str) -> None:
    for options in ({"scale": "match"}, {"scaling": "per-filter"}, {"scale": 0.2}):
        assert init_(make_net(), IMAGES, method, patches_per_image=9, **options).filters_set == 4
    assert init_(make_net(), IMAGES, method, raw_images=PIXELS).filters_set == 4
