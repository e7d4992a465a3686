"""One step of a run: what it computes with, and that it asks nothing of the host."""

from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from operation_counts import operations
from stepping_cases import CPU, stepper
from training_cases import make_dataset, make_spec, run, same
from warminit.lab.networks.build import build_model
from warminit.lab.runs import stepping
from warminit.lab.runs import train as training
from warminit.lab.runs.batches import batch_order, batch_plan, place_split, planned_batch
from warminit.lab.runs.evaluate import evaluator

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_plan_names_the_images_and_how_they_are_moved() -> None:
    dataset = make_dataset(shape=(3, 8, 8))
    split = place_split(dataset, "train", CPU)
    plain = list(islice(batch_plan(75, 16, seed=4), 10))
    moved = list(islice(batch_plan(75, 16, seed=4, augmentation="flip-crop"), 10))
    order = torch.cat(list(islice(batch_order(75, 16, seed=4), 3)))[:10]
    for indices, bare, rows in zip(order, plain, moved, strict=True):
        assert (bare.dtype, bare.shape, rows.dtype, rows.shape) == (
            (torch.int64, (1, 16), torch.int64, (4, 16))
        )
        assert torch.equal(bare[0], indices)
        assert torch.equal(rows[0], indices)
        images, labels = planned_batch(split, rows)
        assert torch.equal(labels, dataset.train_labels[indices])
        for image, index, row, column, mirrored in zip(images, *rows.tolist(), strict=True):
            padded = torch.zeros(3, 16, 16)
            padded[:, 4:12, 4:12] = dataset.train_images[index]
            pixels = padded[:, row : row + 8, column : column + 8]
            pixels = pixels.flip(2) if mirrored else pixels
            expected = (pixels.double() / 255 - split.mean[0]) / split.std[0]
            torch.testing.assert_close(image.double(), expected, rtol=0, atol=2e-6)
    _, rows, columns, mirrored = torch.stack(moved).unbind(1)
    assert [int(each) for each in (*rows.aminmax(), *columns.aminmax())] == [0, 8, 0, 8]
    assert set(mirrored.flatten().tolist()) == {0, 1}


@pytest.mark.parametrize("augmentation", ["none", "flip-crop"])
def test_a_run_is_the_same_however_many_batches_are_planned_at_once(
    augmentation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(augmentation=augmentation)
    at_once = run(spec)
    for module in (stepping, training):
        monkeypatch.setattr(module, "PLANNED_STEPS", 7)  # 20 steps: 7, 7 and 6
    assert same(run(spec), at_once)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_the_optimizer_reads_the_learning_rate_where_the_step_writes_it(optimizer: str) -> None:
    taken = stepper(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), optimizer=optimizer)
    (group,) = taken._optimizer.param_groups
    assert group["lr"] is taken._rate
    assert group["fused"]
    rates = []
    for _ in range(3):
        taken()
        rates.append(group["lr"].item())
    # Cosine from 1e-3 to 1e-5 over 20 steps: cos(pi / 20) and cos(pi / 10) by a table.
    expected = [1e-3, 5.05e-4 + 4.95e-4 * 0.9876883406, 5.05e-4 + 4.95e-4 * 0.9510565163]
    assert rates == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("augmentation", ["none", "flip-crop"])
@pytest.mark.parametrize("name", ["simplecnn", "resnet20", "small-vit"])
def test_a_step_and_an_evaluation_ask_nothing_of_the_host(name: str, augmentation: str) -> None:
    model = build_model(name, 3, (8, 8), 3)
    taken = stepper(model, augmentation=augmentation)
    testing = place_split(make_dataset(shape=(3, 8, 8)), "test", CPU)
    # On a GPU each of these waits until a value has come to the host.
    waiting = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique"}
    for work in (taken, evaluator(model, testing, 3, "float32")):
        names = operations(work).names
        assert names["convolution"] + names["native_batch_norm"] > 0  # it was seen
        assert not waiting & set(names)


def test_an_evaluation_leaves_its_values_on_the_device() -> None:
    model = build_model("simplecnn", 3, (8, 8), 3)
    values = evaluator(model, place_split(make_dataset(shape=(3, 8, 8)), "test", CPU), 3, "float32")
    found = values()
    assert isinstance(found, Tensor)
    # Accuracy, balanced accuracy, loss, calibration error.
    assert (found.shape, found.dtype) == ((4,), torch.float64)
    assert model.training
