"""ResNet-50, ViT-B/16, 64 images -> seconds and memory of `init_`, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Measured

GROUP = "architectures"
IMAGES = 64
REPEATS = 3
SUPPORT = Path(__file__).parents[1] / "tests" / "support"

CASES = (
    ("ResNet-50", "resnet50", None, 1.0),
    ("ResNet-50", "resnet50", "whitening+dirac+zero-residual", 1.5),
    ("ViT-B/16", "vit_base_patch16_224", None, 3.0),
    ("ViT-B/16", "vit_base_patch16_224", "mimetic", 20.0),
)
"""Title, timm's name, method (None for the default), and seconds asked for."""

MEMORY = 4.0
"""Most memory above model and images, in sizes of the weights: two copies, new values, a pass."""

_CHILD = """
import json, resource, sys, time
support, name, method, repeats, images = json.loads(sys.argv[1])
sys.path.insert(0, support)
import zoo_setup
zoo_setup.prepare()  # timm imports torchvision, which may be of another torch
import timm, torch
from warminit import init_
torch.set_num_threads(1)
torch.manual_seed(0)
model = timm.create_model(name)
batch = torch.randn(images, 3, 224, 224)
fresh = {key: value.clone() for key, value in model.state_dict().items()}
size = sum(each.numel() * each.element_size() for each in model.parameters())
seconds = []
now = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
for _ in range(repeats):
    model.load_state_dict(fresh)
    started = time.process_time()
    report = init_(model, batch, method)
    seconds.append(time.process_time() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
row = report.parameters.get("default_for", "")
print(json.dumps({"seconds": seconds, "size": size, "above": peak - now, "row": row}))
"""


def measure(_data_root: Path | None) -> Iterator[Measured]:
    """Measure `init_` on large models of timm, by the CPU time of one thread."""
    if find_spec("timm") is None:
        return
    for title, name, method, wanted in CASES:
        given = json.dumps([str(SUPPORT), name, method, REPEATS, IMAGES])
        command = [sys.executable, "-W", "ignore", "-c", _CHILD, given]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this Python
        found = json.loads(done.stdout.splitlines()[-1])
        seconds = sorted(found["seconds"])
        what = method or f"the default ({found['row']})"
        setting = f"{title}, {IMAGES} images of 224 x 224"
        yield Measured(
            GROUP,
            setting,
            f"init_, {what}: seconds",
            wanted,
            "at most",
            seconds[len(seconds) // 2],
            {what: found["seconds"]},
            "CPU time of one thread",
        )
        yield Measured(
            GROUP,
            setting,
            f"init_, {what}: peak memory above model and images, in sizes of the weights",
            MEMORY,
            "at most",
            found["above"] / found["size"],
            {},
            f"{found['above'] / 2**20:.0f} MiB; the weights have {found['size'] / 2**20:.0f}",
        )


def skipped() -> list[str]:
    """Say what this machine cannot measure."""
    if find_spec("timm") is None:
        return ['ResNet-50 and ViT-B/16: timm is not installed, pip install "warminit[timm]"']
    return []
