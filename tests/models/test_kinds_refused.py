"""float8, complex, sparse, nested, scripted, exported -> one clear error, nothing changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import values
from warminit import diagnose, init_, methods, prewarm_, save_filters
from warminit.errors import WarminitError
from warminit.initializers import METHODS

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch's own, on nested tensors, scripting and sparse layouts.
    pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore::DeprecationWarning"),
]

X = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def net(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, dtype=dtype), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(64, 10),
    )  # fmt: skip


def with_weight(change: Callable[[Tensor], Tensor]) -> Any:
    model = net()
    weight = change(model[0].weight.detach())
    model[0].weight = nn.Parameter(weight, requires_grad=weight.dtype is torch.float32)
    return model


OF_FILTERS = sorted(set(METHODS) - {"small-head"})
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("method", OF_FILTERS)
@pytest.mark.parametrize("kind", [*FLOAT8, torch.complex64, "sparse"], ids=str)
def test_weights_of_other_kinds_are_refused_by_every_method(kind: Any, method: str) -> None:
    model = with_weight(lambda weight: weight.to_sparse() if kind == "sparse" else weight.to(kind))
    words = "layout" if kind == "sparse" else str(kind)
    before = model[0].weight.clone()
    with pytest.raises(WarminitError, match=words):
        init_(model, X, method)
    assert torch.equal(model[0].weight.to_dense().real.float(), before.to_dense().real.float())


IMAGES: dict[str, tuple[Callable[[], Any], str]] = {
    "float8": (lambda: X.to(torch.float8_e4m3fn), "images has dtype torch.float8_e4m3fn"),
    "complex": (lambda: X.to(torch.complex64), "images has dtype torch.complex64"),
    "sparse": (X.to_sparse, "images is torch.sparse_coo"),
    "nested": (lambda: torch.nested.nested_tensor([X[0], X[1]]), "images is a nested tensor"),
    "masks": (lambda: (X, torch.zeros(16, 1, 16, 16)), "masks, pass only the images"),
}


NEEDS = {method.name: method.needs for method in methods()}
LOOKING = sorted(name for name in METHODS if "images" in NEEDS[name] and name != "small-head")


@pytest.mark.parametrize("method", [*LOOKING, "diagnose"])
@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_other_kinds_are_refused(kind: str, method: str) -> None:
    model = net()
    model.insert(2, nn.Conv2d(16, 16, 1))
    before = values(model)
    make, words = IMAGES[kind]
    with pytest.raises(WarminitError, match=words):
        diagnose(model, make()) if method == "diagnose" else init_(model, make(), method)
    assert values(model) == before


@pytest.mark.parametrize("method", ["whitening-small-head", "prewarm", "he-normal", "lsuv"])
def test_programs_are_refused_by_what_they_are(method: str) -> None:
    scripted: Any = torch.jit.script(net())
    with pytest.raises(WarminitError, match=r"is scripted: .* before it is scripted"):
        init_(scripted, X, method)
    exported = torch.export.export(net(), (X,)).module()
    with pytest.raises(WarminitError, match=r"is exported: .* before it is exported"):
        init_(exported, X, method)


def test_a_kernel_larger_than_the_images_is_not_met_by_a_smaller_patch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 31, padding=15))
    with pytest.raises(WarminitError, match="name a layer of a smaller kernel") as caught:
        prewarm_(model, X)
    assert "patch_size" not in str(caught.value)


def test_too_few_distinct_patches_are_named_by_every_method_that_learns_from_them() -> None:
    images = torch.zeros(16, 3, 16, 16)
    images[0, 0, 0, 0] = 1
    for method in ("prewarm", "coates-ng"):
        with pytest.raises(WarminitError, match="only 1 distinct patches"):
            init_(nn.Sequential(nn.Conv2d(3, 16, 3)), images, method, patches_per_image=8)


@pytest.mark.parametrize("kind", ["float8", "sparse", "meta"])
def test_filters_without_plain_values_are_not_saved(kind: str, tmp_path: Path) -> None:
    filters = torch.rand(4, 1, 3, 3)
    made: dict[str, Callable[[], Tensor]] = {
        "float8": lambda: filters.to(torch.float8_e4m3fn),
        "sparse": filters.to_sparse,
        "meta": lambda: filters.to("meta"),
    }
    with pytest.raises(WarminitError, match="a dense floating point tensor"):
        save_filters(made[kind](), tmp_path / "f.safetensors")
    assert not list(tmp_path.iterdir())


class Failing(nn.Module):
    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.conv, self.own = nn.Conv2d(3, 16, 3), forward

    def forward(self, *fed: Any) -> Any:
        return self.own(self, *fed)


class Pair(nn.Conv2d):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images), None


CANNOT_RUN: dict[str, Callable[[], nn.Module]] = {
    "TypeError": lambda: Failing(lambda self, x, y: self.conv(x + y)),
    "IndexError": lambda: Failing(lambda self, x: self.conv(x["image"])),
    "KeyError": lambda: Failing(lambda self, x: self.conv(dict[str, Tensor]()["image"])),
    "AttributeError": lambda: nn.Sequential(Pair(3, 8, 3)),
}


@pytest.mark.parametrize("method", ["lsuv", "krahenbuhl"])
@pytest.mark.parametrize("error", CANNOT_RUN)
def test_a_model_s_own_error_is_named(error: str, method: str) -> None:
    model = CANNOT_RUN[error]()
    before = values(model)
    with pytest.raises(WarminitError, match=f"cannot run on images of shape .*{error}"):
        init_(model, X, method)
    assert values(model) == before
