"""A fresh process -> its first call, which imports neither torch's compiler nor scikit-learn."""

import subprocess
import sys

import pytest

CALL = """
import sys
import torch
import warminit
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4)
)
images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
warminit.init_(model, images{method})
print(sorted({{"torch._dynamo", "sympy", "sklearn", "scipy"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("method", ["", ', "prewarm"'])
def test_the_first_call_imports_no_compiler(method: str) -> None:
    code = CALL.format(method=method)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
