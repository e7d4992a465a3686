"""two ranks, each with a batch of its own -> the same filters on both, before and after."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import integration_ranks
from warminit import prewarm_filters


@pytest.mark.full  # two processes each, which import a trainer: 16 s of processor time
@pytest.mark.parametrize("trainer", ["lightning", "transformers"])
def test_all_ranks_start_alike(trainer: str, tmp_path: Path) -> None:
    library = {"lightning": "pytorch_lightning"}.get(trainer, trainer)
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, integration_ranks.__file__, trainer, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    half = len(one[1]) // 2
    assert not torch.equal(one[0], two[0])  # each rank saw a batch of its own,
    assert torch.equal(one[1], two[1])  # both started with the same filters,
    for images, start, _ in (one, two):  # which are of both batches, not of one,
        alone = prewarm_filters(images, len(start), start.shape[-1], patches_per_image=9)
        assert not torch.equal(start[:half], alone)
    assert torch.equal(one[2], two[2])  # and they trained as one model.
    assert not torch.equal(one[2], one[1])
