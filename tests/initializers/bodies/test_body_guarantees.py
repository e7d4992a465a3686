"""What every method for the body guarantees: objects, bits, generators, wrappers, errors."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from arm_guarantees import bits, global_states, identity, values, versions
from body_cases import conv_mixer, images
from distributed_ranks import FSDP2_ON_CPU
from warminit import InitReport
from warminit.errors import WarminitError
from warminit.initializers.bodies.convcov import convcov
from warminit.initializers.bodies.dirac import dirac
from warminit.initializers.bodies.embed_scale import embed_scale
from warminit.initializers.bodies.impulse import impulse
from warminit.initializers.bodies.mimetic import mimetic
from warminit.initializers.bodies.parameters import Change, write_
from warminit.initializers.bodies.sinusoidal import sinusoidal
from warminit.initializers.bodies.zero_residual import zero_residual
from warminit.lab.networks.simple import ResNet20, SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")

Method = Callable[..., InitReport]
VIT = partial(SmallViT, 3, (16, 16), 5)
METHODS: dict[str, tuple[Method, Callable[[], nn.Module], set[str]]] = {
    "dirac": (dirac, partial(ResNet20, 3, 5), {"conv1", "conv2"}),
    "mimetic": (mimetic, VIT, {"qkv", "proj"}),
    "impulse": (impulse, VIT, {"qkv", "proj", "positions"}),
    "convcov": (convcov, conv_mixer, {"0"}),
    "zero-residual": (zero_residual, partial(ResNet20, 3, 5), {"bn2"}),
    "embed-scale": (embed_scale, VIT, {"patch_embed"}),
    "sinusoidal": (sinusoidal, partial(ResNet20, 3, 5), {"conv1", "conv2", "fc"}),
}
WITH_DATA = [name for name in METHODS if name != "sinusoidal"]
WITH_CONTENT = ["dirac", "mimetic", "impulse", "convcov", "sinusoidal"]
NOT_RANDOM = {"dirac", "zero-residual", "embed-scale", "sinusoidal"}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
IMAGES = images(4, 3, 16, 16)


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return METHODS[name][1]()


def apply(
    name: str, model: nn.Module, given: Tensor = IMAGES, seed: int = 0, **more: Any
) -> InitReport:
    return METHODS[name][0](model, given, seed=seed, **more)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_all_objects_stay_and_the_rest_keeps_its_bits(name: str, dtype: torch.dtype) -> None:
    model = build(name).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    next(model.parameters()).requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    model.train()
    kept, before, states, given = identity(model), values(model), global_states(), IMAGES.clone()
    report = apply(name, model, given)
    assert identity(model) == kept
    assert global_states() == states
    assert torch.equal(given, IMAGES)
    changed = {key for key, value in values(model).items() if value != before[key]}
    assert changed
    own = METHODS[name][2]
    assert {key.split(".")[-2 if "." in key else 0] for key in changed} <= own
    assert all(bool(torch.isfinite(each).all()) for each in model.parameters())
    assert report.method == name
    assert 0 < report.filters_set <= report.out_channels


@pytest.mark.parametrize("name", METHODS)
def test_the_seed_and_nothing_else_is_random(name: str) -> None:
    models = [build(name) for _ in range(3)]
    apply(name, models[0], seed=5)
    torch.rand(7)
    apply(name, models[1], seed=5)
    apply(name, models[2], seed=6)
    after = [values(model) for model in models]
    assert after[0] == after[1]
    assert (after[0] == after[2]) == (name in NOT_RANDOM)


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_a_control_is_another_model_and_random_by_its_seed_alone(name: str) -> None:
    after = []
    for seed, content in ((0, "own"), (0, "random"), (0, "random"), (1, "random")):
        torch.rand(3)
        model, states = build(name), global_states()
        assert apply(name, model, seed=seed, content=content).parameters["content"] == content
        assert global_states() == states
        after.append(values(model))
    own, control, same, other = after
    assert control == same
    assert own != control != other


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("wrapper", [partial(torch.compile, backend="eager"), nn.DataParallel])
def test_wrappers_are_seen_through(name: str, wrapper: Any) -> None:
    plain, inner = build(name), build(name)
    layer = apply(name, plain).layer
    assert apply(name, wrapper(inner)).layer == layer
    assert values(inner) == values(plain)


@pytest.mark.parametrize("name", METHODS)
def test_a_loader_gives_what_its_tensor_gives(name: str) -> None:
    one, other = build(name), build(name)
    apply(name, one)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES), batch_size=4)
    apply(name, other, loader)  # type: ignore[arg-type]
    assert values(one) == values(other)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_written_where_the_last_layer_cannot_be(name: str) -> None:
    model = build(name)
    last = apply(name, build(name)).layer.split(", ")[-1]
    home: Any = model.get_submodule(last.removesuffix(".weight"))
    home.weight = nn.Parameter(home.weight.detach().to(torch.int8), requires_grad=False)
    before, written, states = values(model), versions(model), global_states()
    with pytest.raises(WarminitError):
        apply(name, model)
    assert values(model) == before
    assert versions(model) == written
    assert global_states() == states


def test_values_that_the_dtype_does_not_hold() -> None:
    model = build("embed-scale").half()
    before = values(model)
    with pytest.raises(WarminitError, match=r"patch_embed.weight: .*at most 6.55e\+04 in torch.fl"):
        apply("embed-scale", model, rms=1e7)
    assert values(model) == before


class Refuses(Tensor):
    """A tensor that cannot be copied into, as some quantized and remote ones."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.copy_ and isinstance(args[0], cls):
            raise RuntimeError("this tensor takes no values")
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch gives it no types


def test_a_write_that_fails_half_way_is_undone() -> None:
    """Behind all checks: the second of two layers raises when values are copied into it."""
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(model[1].weight.detach().as_subclass(Refuses))
    before = bits(model[0].weight)
    changes = [Change(str(i), model[i], "weight", torch.ones(3, 3)) for i in range(2)]
    with pytest.raises(RuntimeError, match="takes no values"):
        write_(changes)
    assert bits(model[0].weight) == before


@pytest.fixture
def one_rank() -> Iterator[None]:
    """A process group of this process alone: parameters are sharded as on many ranks."""
    store = dist.HashStore()  # type: ignore[attr-defined]  # torch does not list it
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(not FSDP2_ON_CPU, reason="this torch has FSDP2 for GPUs alone")
@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("name", METHODS)
def test_fully_sharded_models(name: str) -> None:
    plain, model = build(name), build(name)
    layer = apply(name, plain).layer
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    sharded: dict[str, Any] = dict(model.named_parameters())
    before = {key: bits(each.full_tensor()) for key, each in sharded.items()}
    if name == "zero-residual":
        with pytest.raises(WarminitError, match=r"is sharded: expected a whole tensor"):
            apply(name, model)
        wanted = before
    else:
        assert apply(name, model).layer == layer
        wanted = values(plain)
    assert {key: id(each) for key, each in model.named_parameters()} == {
        key: id(each) for key, each in sharded.items()
    }
    assert {key: bits(each.full_tensor()) for key, each in sharded.items()} == wanted


@pytest.mark.parametrize("name", WITH_DATA)
def test_nothing_is_written_for_images_that_cannot_be_used(name: str) -> None:
    for given in (IMAGES[:, :2], IMAGES[:0], IMAGES[0, 0]):
        model = build(name)
        before, states = values(model), global_states()
        with pytest.raises(WarminitError):
            apply(name, model, given)
        assert values(model) == before
        assert global_states() == states


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "0", None])
@pytest.mark.parametrize("name", METHODS)
def test_an_unusable_seed(name: str, seed: Any) -> None:
    with pytest.raises(WarminitError, match=re.escape(f"seed={seed!r}")):
        apply(name, build(name), seed=seed)


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_an_unknown_content(name: str) -> None:
    model = build(name)
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"content='white': expected 'own' or 'random'"):
        apply(name, model, content="white")
    assert [bits(each) for each in model.parameters()] == before


@pytest.mark.parametrize("name", METHODS)
def test_a_model_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    with pytest.raises(WarminitError, match="meta"):
        apply(name, model)
