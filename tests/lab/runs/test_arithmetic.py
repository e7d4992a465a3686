"""Named precisions: what a GPU is told, that it holds for the turn alone, and who has which."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from study_cases import tiny_study, write_data
from training_cases import make_spec, run
from warminit.errors import WarminitError
from warminit.lab.engines.driver import run_study
from warminit.lab.runs.arithmetic import arithmetic, emulated
from warminit.lab.study.protocol import Precision

REFUSED = (
    "precision='tf32' on device='cpu': expected cuda, since only GPUs support this "
    "format. Choose precision='float32', or 'bfloat16', or device='cuda'."
)


def settings() -> dict[str, object]:
    cudnn = torch.backends.cudnn
    return {
        "products": torch.get_float32_matmul_precision(),
        "tf32 in cuDNN": cudnn.allow_tf32,
        "cuDNN": cudnn.enabled,
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
        "attention": _cur_sdpa_kernel_backends(),
    }


@pytest.mark.parametrize(
    ("precision", "products"), [("float32", "highest"), ("tf32", "high"), ("bfloat16", "highest")]
)
def test_a_gpu_is_told_the_format_and_afterwards_has_its_own_again(
    precision: Precision, products: str
) -> None:
    before = settings()
    try:
        # The opposite of what a run needs, as a caller may have it.
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = True
        callers = settings()
        with arithmetic(precision, torch.device("cuda")):
            assert settings() == {
                "products": products,
                "tf32 in cuDNN": precision == "tf32",
                "cuDNN": True,
                "benchmark": False,
                "deterministic": True,
                "attention": [SDPBackend.MATH],
            }
        assert settings() == callers
        with pytest.raises(KeyError), arithmetic(precision, torch.device("cuda:1")):
            raise KeyError
        assert settings() == callers
        with arithmetic(precision, torch.device("cpu")):
            assert settings() == callers
    finally:
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
    assert settings() == before


def test_the_cpu_has_no_tf32_and_says_so_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(WarminitError) as error:
        run(make_spec(precision="tf32"))
    assert str(error.value) == REFUSED
    study = tiny_study(
        write_data(tmp_path), protocol={"steps": 2, "batch_size": 16, "precision": "tf32"}
    )
    with pytest.raises(WarminitError) as error:
        run_study(study, tmp_path / "out")
    assert str(error.value) == REFUSED
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", None])
def test_a_processor_without_a_unit_for_bfloat16_is_named(
    unit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False} | {unit: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert ("emulates the format" in emulated("bfloat16", "cpu")) == (unit is None)
    assert not emulated("float32", "cpu")
    assert not emulated("bfloat16", "cuda:0")


def test_an_unknown_processor_gets_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"architecture": "arm64"}, raising=False
    )
    assert not emulated("bfloat16", "cpu")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not emulated("bfloat16", "cpu")
