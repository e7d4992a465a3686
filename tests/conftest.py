"""environment, options -> fixtures. What test files share: data, threads, long runs, records."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from robustness import Robustness

ROBUSTNESS_FILE = Path(__file__).parents[1] / "docs" / "results" / "robustness.json"

# A run of the tests is a pure function of the code: the same examples each time, and no deadline,
# because a busy machine is no fault of the code.
settings.register_profile(
    "sample", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", settings.get_profile("sample"), max_examples=1000)


_KEPT = pytest.StashKey[Robustness]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-full",
        action="store_true",
        help="run the tests marked 'full' too, and write docs/results/robustness.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEPT] = Robustness()
    settings.load_profile("full" if config.getoption("--run-full") else "sample")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--run-full"):
        long = [item for item in items if item.get_closest_marker("full")]
        if long:
            config.hook.pytest_deselected(items=long)
            items[:] = [item for item in items if item not in long]
    for item in items if hasattr(config, "workerinput") else ():
        if isinstance(item, pytest.Function) and not item.get_closest_marker("xdist_group"):
            fixtures = item._fixtureinfo.name2fixturedefs.values()
            # One worker makes a fixture of a module once; tests dealt out to two make it twice.
            if any(each[-1].scope == "module" for each in fixtures):
                item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; none is here"))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """Collect what a pytest-xdist worker recorded (the hook exists where xdist is installed)."""
    entries = getattr(node, "workeroutput", {}).get("robustness", {})
    for name, counts in entries.items():
        node.config.stash[_KEPT].record(name, counts)  # type: ignore[attr-defined]  # xdist: untyped


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    entries = config.stash[_KEPT].entries
    if hasattr(config, "workeroutput"):
        config.workeroutput["robustness"] = entries
    elif config.getoption("--run-full") and entries:
        write_robustness(entries, ROBUSTNESS_FILE)


def write_robustness(entries: Mapping[str, Mapping[str, int | float]], path: Path) -> None:
    """Merge the entries into the file: a name recorded again is replaced, the others stand.

    Each entry carries the versions that it was made with, for a later run may renew only some. No
    dates: the same code on the same versions gives the same bytes.
    """
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = ("numpy", "scikit-learn", "torch")
    environment = {"python": platform.python_version(), "system": platform.system()}
    environment |= {name: version(name) for name in names}
    for name, counts in entries.items():
        kept[name] = {"counts": dict(counts), "environment": environment}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def robustness(pytestconfig: pytest.Config) -> Robustness:
    """Return the record of the long tests: `robustness.record(name, {"faults": 30, "lost": 0})`."""
    return pytestconfig.stash[_KEPT]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder of real image sets, laid out like the Hugging Face hub."""
    value = os.environ.get("WARMINIT_DATA")
    if not value:
        pytest.skip("WARMINIT_DATA is unset: the real image sets are not at hand")
    path = Path(value)
    if not path.is_dir():
        pytest.fail(f"WARMINIT_DATA={value!r} is not a folder; unset it or give the right one")
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run the test with one torch thread (training twice at once is slower), and restore."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
