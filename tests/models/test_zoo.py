"""models of timm and torchvision -> the layer that they say, the filters that are meant.

No weights are loaded: every model is built with `pretrained=False` or `weights=None`. A fresh model
that looked trained would fail here, since warnings are errors.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo_models as zoo
from arm_guarantees import bits, global_states
from robustness import Robustness
from warminit import init_, prewarm_, prewarm_filters, whiten_
from warminit.errors import WarminitError
from warminit.models.find import find_layer

if find_spec("timm") is None or find_spec("torchvision") is None:
    pytest.skip("timm or torchvision is not installed", allow_module_level=True)

import zoo_setup

zoo_setup.prepare()  # before timm, which imports torchvision

import timm  # noqa: E402
from torchvision.models import get_model  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # The zoos' own: some build with torch functions that are about to change.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # torch 2.6's own, where torchvision compiles.
    pytest.mark.filterwarnings("ignore:Skipping serialization of:UserWarning"),
]

STANDARDIZED = "standardizes its weight"


def tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor in what a model returns."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for each in output.values():
            yield from tensors(each)
    elif isinstance(output, Iterable):
        for each in output:
            yield from tensors(each)


def condition_and_check(model: nn.Module, images: Tensor, layer: str) -> Any:
    """Condition a model; its filters, its remainder and its forward pass are as promised."""
    conv: Any = model.get_submodule(layer)
    before = {name: bits(value) for name, value in model.state_dict().items()}
    rest, modes = conv.weight.detach().clone(), [m.training for m in model.modules()]
    states = global_states()
    report = prewarm_(model, images, patches_per_image=300, seed=1)
    assert global_states() == states
    assert report.layer == layer
    assert [m.training for m in model.modules()] == modes
    changed = {n for n, value in model.state_dict().items() if bits(value) != before[n]}
    # A model may hold one layer under two names (torchvision's SSD does).
    assert {id(model.state_dict(keep_vars=True)[name]) for name in changed} == {id(conv.weight)}
    found = find_layer(model, images=images)
    half = found.out_channels // 2
    assert report.filters_set == half
    assert torch.equal(conv.weight[half:], rest[half:])
    # The filters are those that the function makes of the images alone.
    meant = prewarm_filters(
        images, found.out_channels, found.kernel_size, patches_per_image=300, seed=1
    )
    assert torch.equal(conv.weight[:half], found.as_weight(meant))
    if STANDARDIZED not in str(report):
        answers: list[tuple[Tensor, Tensor]] = []
        handle = conv.register_forward_hook(
            lambda _m, fed, out: answers.append((fed[0], out.clone()))
        )
        check_forward(model, images)
        handle.remove()
        fed, out = answers[0]
        if found.flat is not None:
            wanted = F.linear(fed, found.as_weight(meant), None)
            wanted += 0 if conv.bias is None else conv.bias[:half]
            torch.testing.assert_close(out[..., :half], wanted.detach(), rtol=1e-3, atol=1e-4)
            return report
        if isinstance(conv.padding, str) or type(conv).__name__ == "Conv2dSame":
            return report
        function = F.conv3d if conv.weight.ndim == 5 else F.conv2d
        wanted = function(fed, meant, None, conv.stride, conv.padding, conv.dilation)
        if conv.bias is not None:
            wanted += conv.bias[:half].view(-1, *[1] * (wanted.ndim - 2))
        # The layer alone against the layer in its network: float32 sums in another order.
        torch.testing.assert_close(out[:, :half], wanted.detach(), rtol=1e-3, atol=1e-4)
    else:
        check_forward(model, images)
    return report


def check_forward(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        outputs = list(tensors(model.eval()(images[:1])))
    assert outputs
    assert all(bool(torch.isfinite(each).all()) for each in outputs)


def timm_model(name: str) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    model: Any = timm.create_model(name, pretrained=False)
    cfg = model.pretrained_cfg
    fixed = cfg["fixed_input_size"] or name in zoo.OWN_SIZE
    size = cfg["input_size"] if fixed else (3, 128, 128)
    return model, torch.rand(2, *size, generator=torch.Generator().manual_seed(0))


def check_timm(name: str) -> tuple[Any, ...]:
    """Hold one model to the promises; return the kind of its stem, () where it is refused."""
    model, images = timm_model(name)
    if name in zoo.REARRANGING:
        before = {key: bits(value) for key, value in model.state_dict().items()}
        with pytest.raises(
            WarminitError, match=r"no convolution has as many.*rearranges the pixel"
        ):
            prewarm_(model, images, patches_per_image=9)
        assert {key: bits(value) for key, value in model.state_dict().items()} == before
        return ()
    if name in zoo.FLAT:
        report = condition_and_check(model, images, zoo.FLAT[name])
        return type(model.get_submodule(report.layer)), report.parameters["patch_size"]
    told: Any = model.pretrained_cfg["first_conv"]
    several = told if isinstance(told, list | tuple) else [told]
    report = condition_and_check(model, images, several[0])
    assert report.found == "timm's metadata"
    stem: Any = model.get_submodule(report.layer)
    assert any(STANDARDIZED in note for note in report.notes) == ("Std" in type(stem).__name__)
    # Without the metadata: the same layer, or another one that takes the images beside it.
    del model.pretrained_cfg
    alone = find_layer(model, images=images)
    assert alone.name in several
    assert alone.found != "timm's metadata"
    return type(stem), stem.kernel_size, stem.stride, stem.groups, len(several)


@pytest.mark.parametrize("name", zoo.SAMPLE)
def test_a_sample_of_timm(name: str) -> None:
    check_timm(name)


@pytest.mark.parametrize(
    ("name", "head", "fed_by"),
    [
        ("resnet18", "fc", "layer4.1.bn2"),
        ("vit_tiny_patch16_224", "head", "norm"),
        ("convnext_atto", "head.fc", "head.norm"),
        ("mobilenetv3_small_050", "classifier", None),
        ("deit_tiny_distilled_patch16_224", None, None),  # two heads, averaged
    ],
)
def test_the_head_of_a_timm_model(name: str, head: str | None, fed_by: str | None) -> None:
    for share in (None, 0.1):
        model, images = timm_model(name)
        before = {key: each.clone() for key, each in model.state_dict().items()}
        report = init_(model, images, head_scale=share)
        changed = {k for k, each in model.state_dict().items() if not torch.equal(each, before[k])}
        small = head is not None and (fed_by is None or share is not None)
        assert changed == {f"{report.layer}.weight"} | ({f"{head}.weight"} if small else set())
        assert (report.provenance["head_scale"] == "unchanged") is not small
        normalized = f"{head} is unchanged: {fed_by} normalizes its input."
        assert any(normalized in note for note in report.notes) == (
            fed_by is not None and share is None
        )


@pytest.mark.full
def test_every_module_file_and_every_kind_of_stem_of_timm(robustness: Robustness) -> None:
    assert sorted(zoo.SMALLEST) == timm.models.list_modules()
    assert all(timm.models.is_model_in_modules(name, [file]) for file, name in zoo.SMALLEST.items())
    names = dict.fromkeys((*zoo.ALL, *zoo.SMALLEST.values(), *zoo.STEMS))
    kinds = {name: check_timm(name) for name in names}
    robustness.record(
        "timm_models",
        {
            "models": len(kinds),
            "module files": len(zoo.SMALLEST),
            "kinds of stem": len({*kinds.values()} - {()}),
            "conditioned": sum(kind != () for kind in kinds.values()),
            "refused by a sentence": sum(kind == () for kind in kinds.values()),
            "failed": 0,
        },
    )


def of_torchvision(names: Iterable[str]) -> list[Any]:
    marks = {name: [] if name in zoo.EVERY_COMMIT else [pytest.mark.full] for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


def torchvision_model(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", of_torchvision(zoo.CLASSIFIERS))
def test_classifiers_of_torchvision(name: str) -> None:
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    condition_and_check(torchvision_model(name), images, zoo.CLASSIFIERS[name])


@pytest.mark.parametrize("name", of_torchvision(zoo.DETECTORS))
def test_detectors_of_torchvision(name: str) -> None:
    """Their transform resizes and standardizes: the stem sees other pixels than the model."""
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    model = torchvision_model(name, weights_backbone=None)
    model.transform.min_size, model.transform.max_size = (96,), 96
    condition_and_check(model, images, zoo.DETECTORS[name])


@pytest.mark.parametrize("name", of_torchvision(zoo.SEGMENTERS))
def test_segmenters_of_torchvision(name: str) -> None:
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    model = torchvision_model(name, weights_backbone=None)
    condition_and_check(model, images, zoo.SEGMENTERS[name])


@pytest.mark.parametrize("name", of_torchvision(zoo.VIDEO))
def test_video_models_of_torchvision(name: str) -> None:
    images = torch.rand(2, 3, 8, 48, 48, generator=torch.Generator().manual_seed(0))
    condition_and_check(torchvision_model(name), images, zoo.VIDEO[name])


def test_metadata_are_the_same_with_weights_and_without() -> None:
    """Nothing in timm tells whether weights were loaded: only the values can."""
    model, _ = timm_model("resnet18")
    weights = model.state_dict()
    loaded: Any = timm.create_model(
        "resnet18", pretrained=True, pretrained_cfg_overlay={"state_dict": weights}
    )
    cfg = dict(loaded.pretrained_cfg)
    assert cfg.pop("state_dict").keys() == weights.keys()  # of this way of loading only
    assert cfg == model.pretrained_cfg
    assert model.pretrained_cfg["tag"] == "a1_in1k"


def test_a_stem_that_rearranges_pixels_is_refused_by_name() -> None:
    assert "tresnet_m" in zoo.REARRANGING
    check_timm("tresnet_m")


def test_the_first_layers_of_a_resnet_one_after_another() -> None:
    model, images = timm_model("resnet18")
    report = whiten_(model, images, layers=3, patches_per_image=300)
    assert report.layer == "conv1, layer1.0.conv1, layer1.0.conv2"
    check_forward(model, images)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_stems_of_other_channel_counts(channels: int) -> None:
    model = timm.create_model("convnext_atto", pretrained=False, in_chans=channels)
    images = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    condition_and_check(model, images, "stem.0")
