"""What one pass tells of a model, and that one call makes at most two and reads its images once."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from arm_cases import make_images, make_net
from warminit import init_
from warminit.lab.networks.build import build_model
from warminit.models.survey import Survey
from zoo_setup import prepare

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)


class Reads(TorchFunctionMode):
    """Counts how often the extremes of a whole batch are looked for: once a check."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.count = size, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "aminmax" and args[0].numel() == self.size:
            self.count += 1
        return func(*args, **(kwargs or {}))


def vit() -> nn.Module:
    prepare()
    import timm

    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=5
    )
    return model


MODELS: dict[str, tuple[Any, int]] = {
    # The second pass shows how large a head's outputs are that no normalization feeds.
    "SimpleCNN": (lambda: build_model("simplecnn", 3, (32, 32), 10), 2),
    "ResNet-20": (lambda: build_model("resnet20", 3, (32, 32), 10), 1),
    "a vision transformer": (vit, 1),
    "no linear head": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)), 1),
}


@pytest.mark.parametrize("case", MODELS)
def test_the_default_call_makes_at_most_two_passes_and_reads_once(case: str) -> None:
    make, passes = MODELS[case]
    torch.manual_seed(0)
    model = make()
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    images = make_images(16, 3, 32, 32)
    begun: list[int] = []

    def batches() -> Iterator[Tensor]:
        begun.append(1)
        yield from images.split(8)

    with Reads(images.numel()) as reads:
        init_(model, batches())
    assert sizes == [1, 8][:passes]
    assert (len(begun), reads.count) == (1, 1)


def test_the_record_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 5), nn.LayerNorm(5)
    )
    survey = Survey(model, IMAGES)
    seen = [(call.name, call.normalizes, call.fed, call.gave) for call in survey.passed.calls]
    linear: Any = model[3]
    assert seen[0] == ("0", False, (1, 2, 12, 12), (1, 4, 10, 10))
    # A module of torch's normalizations calls the function, which is noted inside it.
    assert [name for name, *_ in seen] == ["0", "1", "batch_norm", "3", "4", "layer_norm"]
    model.eval()
    with torch.no_grad():
        fed = model[:3](IMAGES[:1])
        torch.testing.assert_close(survey.passed.calls[3].vector, linear(fed))
        torch.testing.assert_close(survey.passed.returned, [model(IMAGES[:1])])


def test_what_a_model_raises_is_kept_with_what_ran() -> None:
    model = make_net()
    model.append(nn.Linear(7, 2))  # it is fed 3
    survey = Survey(model, IMAGES)
    assert survey.order() == ["0", "2", "6", "7"]
    assert isinstance(survey.passed.error, RuntimeError)
    assert [call.name for call in survey.passed.calls if call.ended is None] == ["7"]


def test_the_pass_is_made_at_the_first_question_and_once() -> None:
    model, runs = make_net(), list[int]()
    model.register_forward_hook(lambda *_: runs.append(1))
    survey = Survey(model, IMAGES)
    assert not runs
    first = survey.order()
    assert survey.order() == first
    assert len(runs) == 1
