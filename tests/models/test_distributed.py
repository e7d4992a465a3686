"""shards of images on many ranks -> the same filters on all of them, or the same error."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import distributed_ranks as ranks_of
from sharded_methods import CALLS, EQUAL
from warminit.images.patches import center_patches, sample_patches
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.stems.filters import scale_bank, shape_filters, weight_centroids
from warminit.initializers.stems.whitening import whitening_directions

pytestmark = pytest.mark.usefixtures("one_thread")

Answers = list[dict[str, Any]]


@pytest.fixture(scope="module", params=[2, 4])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What every rank of 2 and of 4 answered, each a process of its own under torchrun."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-W", "error::UserWarning:warminit", "-m", "torch.distributed.run"]
    command += ["--standalone", f"--nproc-per-node={request.param}", ranks_of.__file__]
    # A rank that waits for another would end here, and not never.
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr[-4000:]
    files = sorted(folder.glob("*.pt"))
    assert len(files) == request.param
    return [torch.load(file, weights_only=False) for file in files]


def pooled(ranks: int) -> Tensor:
    """The patches of all ranks, as each takes them of its own shard, in the order of the ranks."""
    patches = []
    for rank in range(ranks):
        generator = torch.Generator().manual_seed(ranks_of.SEED)
        images = ranks_of.shard(rank)
        patches.append(sample_patches(images, ranks_of.N_PATCHES, (3, 3), generator))
    return torch.cat(patches)


def same(answers: Answers, name: str) -> Any:
    """Rank 0's answer; those of the others must be equal to the bit."""
    if name.endswith("fsdp") and not ranks_of.FSDP2_ON_CPU:
        pytest.skip("this torch has FSDP2 for GPUs alone")
    first = answers[0][name]
    for other in answers[1:]:
        assert_same_bits(other[name], first)
    return first


def assert_same_bits(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, tuple):
        for pair in zip(one, other, strict=True):
            assert_same_bits(*pair)
    else:
        assert one == other


def test_the_filters_are_those_of_all_patches_in_one_process(answers: Answers) -> None:
    layer, state = same(answers, "prewarm")
    assert layer == "stem"
    centered = center_patches(pooled(len(answers)))
    centroids = kmeans(centered, 4, torch.Generator().manual_seed(ranks_of.SEED))
    bank = scale_bank(weight_centroids(centroids, (3, 3)), ranks_of.SCALE)
    assert torch.equal(state["stem.weight"][:4], shape_filters(bank, (3, 3)))
    untouched = ranks_of.net().state_dict()
    assert torch.equal(state["stem.weight"][4:], untouched["stem.weight"][4:])
    for name in untouched.keys() - {"stem.weight"}:
        assert torch.equal(state[name], untouched[name]), name


def test_so_are_whitening_directions(answers: Answers) -> None:
    weight = same(answers, "whitening")
    directions = whitening_directions(center_patches(pooled(len(answers))), 4)
    expected = shape_filters(scale_bank(directions, ranks_of.SCALE), (3, 3))
    assert torch.equal(weight[:4], expected)


def test_one_shard_alone_gives_other_filters(answers: Answers) -> None:
    # Or else the tests above could pass with rank 0's patches only.
    _, state = same(answers, "prewarm")
    generator = torch.Generator().manual_seed(ranks_of.SEED)
    alone = sample_patches(ranks_of.shard(0), ranks_of.N_PATCHES, (3, 3), generator)
    centroids = kmeans(center_patches(alone), 4, torch.Generator().manual_seed(ranks_of.SEED))
    bank = scale_bank(weight_centroids(centroids, (3, 3)), ranks_of.SCALE)
    assert not torch.allclose(state["stem.weight"][:4], shape_filters(bank, (3, 3)), atol=1e-3)


def test_derived_hyperparameters_are_rank_0s_everywhere(answers: Answers) -> None:
    parameters, _ = same(answers, "derived")
    assert parameters["patches_per_image"] >= 1


def test_ddp_and_fsdp2_models_get_the_same_filters(answers: Answers) -> None:
    _, state = same(answers, "prewarm")
    layer, weight = same(answers, "ddp")
    assert layer == "stem"
    assert torch.equal(weight, state["stem.weight"])
    layer, sharded = same(answers, "fsdp")
    assert layer == "stem"
    for name, each in sharded.items():
        assert torch.equal(each, state[name]), name


def test_a_sharded_weight_is_read_back_too(answers: Answers) -> None:
    note, unchanged = same(answers, "standardized fsdp")
    assert "standardizes its weight: the filters keep their shape" in note
    assert not unchanged
    error, unchanged = same(answers, "mirrored fsdp")
    assert "changes its weight: its effective weight differs from the filters" in error
    assert unchanged


def test_deeper_layers_too(answers: Answers) -> None:
    """Each rank's activations are its own: BatchNorm sees the rank's shard, as in training."""
    state = same(answers, "deep")
    fresh = ranks_of.net().state_dict()
    assert torch.equal(state["stem.weight"], same(answers, "prewarm")[1]["stem.weight"])
    assert not torch.equal(state["deeper.weight"][:3], fresh["deeper.weight"][:3])
    assert torch.equal(state["deeper.weight"][3:], fresh["deeper.weight"][3:])
    assert torch.equal(state["norm.running_mean"], fresh["norm.running_mean"])
    for name, each in same(answers, "deep fsdp").items():
        # FSDP2 computes with gathered copies: the same kernels on the same values.
        torch.testing.assert_close(each, state[name], rtol=1e-5, atol=1e-6)


def test_a_small_head_is_the_same_on_every_rank(answers: Answers) -> None:
    state, fresh = same(answers, "small head"), ranks_of.classifier().state_dict()
    assert torch.equal(state["stem.weight"], same(answers, "whitening"))
    deviation = fresh["head.weight"].square().mean().sqrt()
    expected = fresh["head.weight"] / deviation * 0.1 / 18**0.5  # 6 inputs
    torch.testing.assert_close(state["head.weight"], expected)
    for name in fresh.keys() - {"stem.weight", "head.weight"}:
        assert torch.equal(state[name], fresh[name]), name


def test_so_is_a_sharded_one(answers: Answers) -> None:
    state = same(answers, "small head")
    for name, each in same(answers, "small head fsdp").items():
        torch.testing.assert_close(each, state[name], rtol=1e-6, atol=0)
    for rank, answer in enumerate(answers):
        text = answer["small head without a batch fsdp"]
        assert "list without a single batch" in text
        assert text.startswith("rank 1 failed") == (rank != 1)


def test_every_method_sets_a_model_of_fsdp2_as_a_whole_one_or_says_why_not(
    answers: Answers,
) -> None:
    told = same(answers, "every method fsdp")
    assert set(told) == set(CALLS)
    for name, answer in told.items():
        if name in {"lsuv", "krahenbuhl"}:
            assert "is sharded" in answer
            assert "Initialize the model before you shard it. Kept: True" in answer
        else:
            assert answer == EQUAL, (name, answer)


def test_every_method_refuses_fsdp1_on_every_rank_alike(answers: Answers) -> None:
    told = same(answers, "every method in FSDP1")
    assert set(told) == set(CALLS)
    for name, answer in told.items():
        assert "is wrapped by FullyShardedDataParallel (FSDP1)" in answer, (name, answer)
        assert answer.endswith("shard it with fully_shard (FSDP2). Kept: True")


ON_ONE_RANK = {
    "NaN": "NaN or infinite values",
    "other channels": "images has 1 channels in 4 dimensions here, and 3 in 4 on rank 0",
    "no batch": "list without a single batch",
    "a loader that fails": "the disk of this rank is gone.",
    "smaller than the kernel": "3 x 3 do not fit images of 2 x 2",
}


@pytest.mark.parametrize("case", ON_ONE_RANK)
def test_an_error_on_one_rank_is_raised_on_every_rank(answers: Answers, case: str) -> None:
    for rank, answer in enumerate(answers):
        text, kept = answer[case]
        assert ON_ONE_RANK[case] in text
        assert text.startswith("rank 1 failed, so no rank was changed. Its error: ") == (rank != 1)
        assert kept, f"the model of rank {rank} has changed"


def test_an_error_of_the_pooled_patches_is_every_ranks_own(answers: Answers) -> None:
    for text, kept in (answer["too few distinct patches"] for answer in answers):
        assert "the images give only 2 distinct patches" in text
        assert kept


def test_alone_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.all_gather", None)
    monkeypatch.setattr("torch.distributed.all_gather_object", None)
    monkeypatch.setattr("torch.distributed.broadcast", None)
    layer, state = ranks_of.prewarmed(0, 1)
    assert layer == "stem"
    assert bool(torch.isfinite(state["stem.weight"]).all())


def test_the_ranks_folder_is_where_torchrun_finds_it() -> None:
    assert Path(ranks_of.__file__).name == "distributed_ranks.py"
