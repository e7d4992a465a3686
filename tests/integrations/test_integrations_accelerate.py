"""The recipe for Accelerate -> the filters that training starts with, the batches that it sees."""

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import integration_setup as setup
from warminit import prewarm_, prewarm_filters

if find_spec("accelerate") is None:
    pytest.skip("accelerate is not installed", allow_module_level=True)

from accelerate import Accelerator

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(condition: bool) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Train for 20 steps as on the page; return batches, stems as each is answered, fresh stem."""
    images, labels = setup.labelled(640)
    rows = torch.utils.data.TensorDataset(images, labels)
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(rows, batch_size=32, shuffle=True)
    stem = nn.Conv2d(1, 8, 3, stride=2)
    model = nn.Sequential(stem, nn.ReLU(), nn.Flatten(), nn.Linear(1352, 10))
    fresh = stem.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    accelerator = Accelerator(cpu=True)
    prepared, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    batches, stems = [], []
    for step, (batch, wanted) in enumerate(loader):
        if condition and step == 0:
            prewarm_(accelerator.unwrap_model(prepared), batch, mean=setup.MEAN, std=setup.STD)
        batches.append(batch.clone())
        stems.append(stem.weight.detach().clone())
        accelerator.backward(cross_entropy(prepared(batch), wanted))
        optimizer.step()
        optimizer.zero_grad()
    return batches, stems, fresh


def test_training_starts_with_the_filters_of_the_first_batch() -> None:
    batches, stems, fresh = trained(condition=True)
    assert len(batches) == setup.STEPS
    meant = prewarm_filters(batches[0], 8, 3, mean=setup.MEAN, std=setup.STD)
    assert torch.equal(stems[0][:4], meant)
    assert torch.equal(stems[0][4:], fresh[4:])
    assert not torch.equal(stems[1], stems[0])
    assert (stems[-1] - stems[0]).abs().max() < setup.STEPS * 2e-3
    # The order of batches is as without.
    assert all(map(torch.equal, batches, trained(condition=False)[0]))
