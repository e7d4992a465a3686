"""filters -> a layer's effective weight, in every way that torch can hold one."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from arm_guarantees import bits, global_states, identity, values
from warminit import WarminitWarning, init_, prewarm_, whiten_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
IMAGES = torch.rand(6, 3, 10, 10, generator=torch.Generator().manual_seed(0))


def make(filters: int = 8, **options: Any) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(3, filters, 3, **options)


def expected(images: Tensor = IMAGES, **options: Any) -> Tensor:
    """The filters that a plain float32 layer gets."""
    plain = make(**options)
    prewarm_(plain, images, patches_per_image=9)
    return plain.weight.detach()


def answer(module: nn.Module, images: Tensor = IMAGES) -> Tensor:
    """What the layer really computes, in eval mode, apart from its bias."""
    with torch.no_grad():
        result: Tensor = module.eval()(images) - module(torch.zeros_like(images))
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fed", [*DTYPES, torch.uint8])
def test_every_dtype_of_weights_takes_every_dtype_of_images(
    dtype: torch.dtype, fed: torch.dtype
) -> None:
    images = (IMAGES * 255).byte() if fed == torch.uint8 else IMAGES.to(fed)
    model = make().to(dtype)
    before = identity(model)
    prewarm_(model, images, patches_per_image=9)
    assert identity(model) == before
    # The filters are those of the same pixels in float32, rounded once to the weight's dtype.
    seen = images.float() / 255 if fed == torch.uint8 else images.float()
    meant = expected(seen)[:4]
    # float64 images are clustered in float64: their filters differ in float32's last digits.
    close = {"rtol": 1e-4, "atol": 1e-5} if fed == torch.float64 else {"rtol": 0, "atol": 0}
    if dtype in {torch.bfloat16, torch.float16} and fed == torch.float64:
        close = {"rtol": 1e-2, "atol": 1e-3}
    torch.testing.assert_close(model.weight.detach()[:4], meant.to(dtype), **close)


def test_channels_last_keeps_its_layout_and_gets_the_same_filters() -> None:
    model = make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    strides = model.weight.stride()
    prewarm_(model, IMAGES.contiguous(memory_format=torch.channels_last), patches_per_image=9)
    assert model.weight.stride() == strides
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, expected())


def test_a_frozen_weight_stays_frozen_and_a_tied_one_stays_tied() -> None:
    first, second = make(), make()
    second.weight = first.weight
    model = nn.ModuleList([first, second])
    first.weight.requires_grad_(False)
    prewarm_(model, IMAGES, layers="0", patches_per_image=9)
    assert model[0].weight is model[1].weight
    assert not first.weight.requires_grad
    assert torch.equal(second.weight, expected())
    whiten_(first, IMAGES, patches_per_image=9, trainable=False)  # nothing is left to freeze


def test_an_optimizer_made_before_takes_the_same_steps_as_one_made_after() -> None:
    ends = []
    for before in (True, False):
        model = nn.Sequential(make(), nn.ReLU())
        made = torch.optim.AdamW(model.parameters(), lr=0.1) if before else None
        prewarm_(model, IMAGES, patches_per_image=9)
        optimizer = made or torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(IMAGES).square().mean().backward()
            optimizer.step()
        ends.append(values(model))
    assert ends[0] == ends[1]


class Doubled(nn.Module):
    """A parametrization that can be undone."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


class Negating(nn.Module):
    """A parametrization that takes any weight, and makes another of it."""

    def forward(self, weight: Tensor) -> Tensor:
        return -weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class Shuffling(Negating):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.roll(1, 0)


class OneWay(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.tanh()


def parametrized(*parts: nn.Module) -> nn.Module:
    model = make()
    for part in parts:
        parametrize.register_parametrization(model, "weight", part)
    return model


TAKEN: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: parametrizations.weight_norm(make()),
    "a factor": lambda: parametrized(Doubled()),
    "two in a row": lambda: parametrized(Doubled(), Doubled()),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_parametrized_weights_compute_with_the_filters(kind: str) -> None:
    model = TAKEN[kind]().train()
    places = [(id(p), p.data_ptr(), p.stride()) for p in model.parameters()]
    rest = answer(model)[:, 4:]
    model.train()
    report = prewarm_(model, IMAGES, patches_per_image=9)
    assert report.notes == ()
    assert model.training
    assert [(id(p), p.data_ptr(), p.stride()) for p in model.parameters()] == places
    meant = F.conv2d(IMAGES, expected()[:4])
    # A norm and a quotient in float32: a few units in the last place of values near 1.
    torch.testing.assert_close(answer(model)[:, :4], meant, rtol=1e-4, atol=1e-5)
    assert torch.equal(answer(model)[:, 4:], rest)


def spectral() -> nn.Module:
    model = nn.Sequential(parametrizations.spectral_norm(make()), nn.ReLU())
    model.train()
    model[0].parametrizations.weight[0].eval()  # type: ignore[union-attr, index]
    return model


def one_norm_for_all() -> nn.Module:
    model: nn.Module = parametrizations.weight_norm(make(), dim=None)  # type: ignore[arg-type]
    with torch.no_grad():
        dict(model.named_parameters())["parametrizations.weight.original1"].mul_(2)
    return model


def old_hook(function: Callable[..., nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in torch, and still found in the wild
        return function(make())


def expanded() -> nn.Module:
    conv = make()
    conv.weight = nn.Parameter(torch.ones(1, 3, 3, 3).expand(8, 3, 3, 3))
    return conv


def under_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return make()


def quantized() -> nn.Module:
    from torch.ao.nn.quantized import Conv2d

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        return nn.Sequential(Conv2d(3, 8, 3), nn.ReLU())


REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], tuple[str, ...]]] = {
    "spectral norm": (spectral, {}, ("changes its weight", "Nothing was written", "Condition")),
    "orthogonal": (
        lambda: parametrizations.orthogonal(make()), {}, ("changes its weight", "Nothing was writ"),
    ),
    "expanded": (
        expanded, {}, ("has an expanded weight", "(8, 3, 3, 3) with strides (0, ", ".clone()"),
    ),
    "made under inference mode": (
        under_inference_mode, {}, ("made under it", "Build and initialize the model outside"),
    ),
    "a negation": (lambda: parametrized(Negating()), {}, ("cosine down to -",)),
    "rows that move": (lambda: parametrized(Shuffling()), {}, ("changes its weight",)),
    "one scale for all filters": (
        one_norm_for_all, {},
        ("other filters moved",),
    ),
    "a parametrization without an inverse": (
        lambda: parametrized(OneWay()), {},
        ("takes no weight", "Condition the model before the parametrization is registered"),
    ),
    "the old weight norm": (
        lambda: old_hook(nn.utils.weight_norm), {}, ("that a hook computes", "add the hook"),
    ),
    "the old spectral norm": (
        lambda: old_hook(nn.utils.spectral_norm), {}, ("that a hook computes", "add the hook"),
    ),
    "quantized": (
        quantized, {}, ("0 is a Conv2d whose weight is a method", "before it is quantized"),
    ),
    "quantized by name": (
        quantized, {"layers": "0"}, ("0 is a Conv2d whose weight", "before it is quantized"),
    ),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), {}, ("0 is lazy", "Run one batch")),
    "meta": (
        lambda: make(device="meta"), {}, ("meta device", "(8, 3, 3, 3)", "to_empty"),
    ),
    "float16 that is too small": (
        lambda: make().half(), {"scale": 1e6}, ("torch.float16 holds, 6.55e+04", "smaller scale"),
    ),
}  # fmt: skip


# Orthogonal rows are no usual initialization of a convolution.
@pytest.mark.filterwarnings("ignore:.*looks trained:warminit.errors.WarminitWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_cannot_be_written_are_refused_and_kept(kind: str) -> None:
    build, options, fragments = REFUSED[kind]
    model = build()
    has_values = not any(p.is_meta or nn.parameter.is_lazy(p) for p in model.parameters())
    before = (identity(model), values(model)) if has_values else None
    states = global_states()
    with pytest.raises(WarminitError) as caught:
        prewarm_(model, IMAGES, **{"patches_per_image": 9, **options})
    assert not [text for text in fragments if text not in str(caught.value)], str(caught.value)
    assert global_states() == states
    if has_values:
        assert (identity(model), values(model)) == before


def test_a_call_under_inference_mode_is_refused() -> None:
    conv = make()
    before = conv.weight.detach().clone()
    with (
        torch.inference_mode(),
        pytest.raises(WarminitError, match="cannot be written under torch"),
    ):
        prewarm_(conv, IMAGES, patches_per_image=9)
    assert torch.equal(conv.weight, before)


def test_filters_that_cannot_be_frozen_are_not_written() -> None:
    model = parametrizations.weight_norm(make())
    before = values(model)
    with pytest.raises(WarminitError, match="trainable=False: expected a plain weight"):
        whiten_(model, IMAGES, patches_per_image=9, trainable=False)
    assert values(model) == before


class Standardized(nn.Conv2d):
    """Weight standardization (Qiao et al., 2019): each filter to mean 0 and deviation 1."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        flat = self.weight.flatten(1)
        weight = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-5)
        result: Tensor = self._conv_forward(input, weight.view_as(self.weight), self.bias)
        return result


def test_a_standardized_convolution_is_written_and_the_report_says_what_is_lost() -> None:
    model = Standardized(3, 8, 3)
    report = prewarm_(model, IMAGES, patches_per_image=9)
    assert "keep their shape and lose their scale" in report.notes[0]
    assert torch.equal(model.weight[:4], expected()[:4])
    responses, meant = answer(model)[:, :4], expected()[:4]
    flat = meant.flatten(1).double()
    flat = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-5)
    torch.testing.assert_close(responses, F.conv2d(IMAGES, flat.float().view_as(meant)))


def test_a_forward_without_a_convolution_is_refused() -> None:
    class Unseen(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
            return input * self.weight.mean()

    model = Unseen(3, 8, 3)
    before = values(model)
    with pytest.raises(WarminitError, match="without a convolution in its forward"):
        prewarm_(model, IMAGES, patches_per_image=9)
    assert values(model) == before


# torch's own advice on Python 3.13.0, as `torch.compile` is first used.
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
@pytest.mark.parametrize(
    "wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel], ids=["compile", "DP"]
)
def test_wrapped_models_share_the_filters_and_run(wrap: Callable[[nn.Module], Any]) -> None:
    plain = nn.Sequential(make(), nn.ReLU())
    model = wrap(plain)
    model(IMAGES)  # compiled before it is written
    assert prewarm_(model, IMAGES, patches_per_image=9).layer == "0"
    meant = F.relu(F.conv2d(IMAGES, expected(), plain[0].bias))  # type: ignore[arg-type]
    torch.testing.assert_close(model(IMAGES), meant)


@pytest.mark.parametrize("cfg", [{"tag": "a1_in1k", "first_conv": "0"}, {"url": "x"}, {}, None])
def test_a_trained_layer_is_named_with_the_weights_of_its_metadata(cfg: Any) -> None:
    model = nn.Sequential(make())
    nn.init.constant_(model[0].weight, 0.5)  # type: ignore[arg-type]
    model.pretrained_cfg = cfg
    with pytest.warns(WarminitWarning, match="looks trained") as caught:
        prewarm_(model, IMAGES, patches_per_image=9)
    assert ("timm's metadata name the weights a1_in1k" in str(caught[0].message)) == (
        cfg is not None and "tag" in cfg
    )


def test_fresh_models_are_not_called_trained_for_their_metadata() -> None:
    # timm writes the same metadata with pretrained=True and False.
    model = nn.Sequential(make())
    model.pretrained_cfg = {"tag": "a1_in1k", "url": "x"}  # type: ignore[assignment]
    assert prewarm_(model, IMAGES, patches_per_image=9).notes == ()


@pytest.mark.gpu
@pytest.mark.parametrize("arm", ["prewarm", "whitening"])
def test_every_device_and_layout_gets_the_same_filters(arm: str) -> None:
    """One set of positions; sums in another order, so k-means may differ in float32's noise."""
    layouts = (torch.contiguous_format, torch.channels_last)
    results = []
    for place, images_at, layout in itertools.product(("cpu", "cuda"), ("cpu", "cuda"), layouts):
        model = make().to(place, memory_format=layout)  # type: ignore[call-overload]
        images = IMAGES.to(images_at).contiguous(memory_format=layout)
        before = bits(model.weight[4:])
        init_(model, images, arm, patches_per_image=9)
        assert model.weight.device.type == place
        assert bits(model.weight[4:]) == before
        results.append(model.weight.detach().cpu().contiguous())
    for result in results:
        torch.testing.assert_close(result, results[0], rtol=1e-3, atol=1e-4)
