"""The identity, seen as what the layers do: their outputs are their inputs."""

import pytest
import torch
from torch import nn

from arm_guarantees import bits
from body_cases import images
from warminit.errors import WarminitError
from warminit.initializers.bodies.dirac import dirac

pytestmark = pytest.mark.usefixtures("one_thread")


def behind_a_first(conv: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), conv)


@pytest.mark.parametrize("filters", [6, 9, 4])
@pytest.mark.parametrize("kernel", [3, 5, (1, 3)])
def test_the_first_outputs_are_the_inputs(filters: int, kernel: int | tuple[int, int]) -> None:
    conv = nn.Conv2d(6, filters, kernel, padding="same", bias=False)
    rest = conv.weight.detach()[6:].clone()
    report = dirac(behind_a_first(conv, 6), images(), seed=0)
    x = images(2, 6, 7, 5)
    shared = min(filters, 6)
    assert torch.equal(conv(x)[:, :shared], x[:, :shared])
    assert torch.equal(conv.weight[6:], rest)
    assert (report.filters_set, report.out_channels, report.layer) == (shared, filters, "1")


def test_a_strided_one_takes_every_second_position() -> None:
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
    dirac(behind_a_first(conv, 4), images(), seed=0)
    x = images(2, 4, 8, 8)
    assert torch.equal(conv(x)[:, :4], x[:, :, ::2, ::2])


@pytest.mark.parametrize(("groups", "filters"), [(2, 8), (2, 4), (4, 12), (8, 8)])
def test_groups_are_set_each_by_itself(groups: int, filters: int) -> None:
    conv = nn.Conv2d(8, filters, 3, padding=1, groups=groups, bias=False)
    dirac(behind_a_first(conv, 8), images(), seed=0)
    x = images(2, 8, 5, 5)
    out = conv(x).unflatten(1, (groups, -1))
    wanted = x.unflatten(1, (groups, -1))
    shared = min(out.shape[2], wanted.shape[2])
    assert torch.equal(out[:, :, :shared], wanted[:, :, :shared])


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions(dims: int) -> None:
    kind = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    conv = kind(3, 3, 3, padding=1, bias=False)
    model = nn.Sequential(kind(2, 3, 3, padding=1), conv)
    dirac(model, images(2, 2, *[6] * dims), seed=0)
    x = images(1, 3, *[6] * dims)
    assert torch.equal(conv(x), x)


def test_what_stays_and_what_the_report_says() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 3), nn.ReLU()
    )
    before = {name: bits(each) for name, each in model.named_parameters()}
    report = dirac(model, images(2, 3, 9, 9), seed=0)
    changed = [name for name, each in model.named_parameters() if bits(each) != before[name]]
    assert changed == ["3.weight"]
    assert report.notes == ("Convolutions not set: 1 without neighbours, 1 of even size",)


def test_a_layer_that_standardizes_its_weight_stays() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            out: torch.Tensor = self._conv_forward(x, weight, self.bias)
            return out

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Standardized(4, 4, 3), nn.Conv2d(4, 4, 3))
    report = dirac(model, images(2, 3, 9, 9), seed=0)
    assert report.layer == "2"
    assert report.notes == ("Convolutions not set: 1 that compute their weight",)


def test_the_control_has_the_norms_and_no_identity() -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    dirac(behind_a_first(conv, 16), images(), seed=3, content="random")
    norms = conv.weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(16))
    centers = conv.weight.detach()[range(16), range(16), 1, 1]
    # Each is one of 144 values of a direction: 0.08 by chance, 1 in the identity.
    assert float(centers.abs().max()) < 0.4


def test_a_model_without_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"Sequential has 1 .* expected at least one"):
        dirac(model, images(), seed=0)
    assert [bits(each) for each in model.parameters()] == before
