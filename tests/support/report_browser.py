"""a page on disk -> headless Chromium with the network cut, and what it shows."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PATIENCE = 60.0
"""Seconds that a test waits for a page on a busy machine before it fails."""

AXE_VERSION = "4.14.1"
AXE_SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"


def start(downloads: Path) -> webdriver.Chrome:
    """Start Chromium; where it is missing, CI fails and says what to install, others skip."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (binary and driver) and not os.environ.get("CI"):
        pytest.skip("no chromium with chromedriver here: apt-get install chromium chromium-driver")
    assert binary, "no chromium here; install it: apt-get install -y chromium chromium-driver"
    assert driver, "no chromedriver here; install it: apt-get install -y chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root, where Chromium's sandbox refuses to start
        "--disable-dev-shm-usage",
        "--proxy-server=127.0.0.1:9",  # nothing listens there: every request to a network fails
        "--window-size=1600,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option(
        "prefs",
        {"download.default_directory": str(downloads), "download.prompt_for_download": False},
    )
    return webdriver.Chrome(options=options, service=Service(driver))


def resize(browser: webdriver.Chrome, width: int, height: int = 1000) -> None:
    """Give the page this many CSS pixels; a window itself cannot be narrower than 500."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition is true and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain: {what}"
        time.sleep(0.1)


def open_page(browser: webdriver.Chrome, page: Path, width: int = 1600) -> None:
    """Open a page from disk, as high as it is, and wait until every chart is drawn."""
    resize(browser, width)
    browser.get(page.as_uri())
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize(browser, width, int(height) + 2000)
    wait_for(
        lambda: browser.execute_script(
            "return [...document.querySelectorAll('.chart')].every(chart => "
            "chart.dataset.drawn || !chart.checkVisibility())"
        ),
        "every chart is drawn",
    )


def axe_source(folder: Path) -> str:
    """Return axe-core's script, fetched once by npm; a missing npm or another file fails."""
    kept = Path(os.environ.get("WARMINIT_AXE", folder)) / f"axe-core-{AXE_VERSION}.tgz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Each process fetches into a folder of its own: another may read the file by now.
        with tempfile.TemporaryDirectory(dir=kept.parent) as own:
            subprocess.run(
                ["npm", "pack", f"axe-core@{AXE_VERSION}", "--pack-destination", own],
                check=True,
                capture_output=True,
            )
            (Path(own) / kept.name).replace(kept)
    found = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert found == AXE_SHA256, f"{kept} is not the axe-core that was reviewed: sha256 {found}"
    with tarfile.open(kept) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll('.chart svg, .panels svg')) {
  const shown = t => t.textContent.trim() && t.checkVisibility({ opacityProperty: true });
  const texts = [...svg.querySelectorAll('text')].filter(shown);
  const frame = svg.getBoundingClientRect();
  // A text of several lines is one box a line.
  const boxes = texts.flatMap(t => {
    const lines = [...t.querySelectorAll('tspan')];
    return (lines.length ? lines : [t]).map(e => [e.textContent, e.getBoundingClientRect(), t]);
  });
  for (const [text, a] of boxes) {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 1)
      found.push(`${text} is cut off`);
  }
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [x, a, s] = boxes[i], [y, b, t] = boxes[j];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // Line boxes are higher than their letters, by about a quarter.
    if (s !== t && wide > 1 && high > 4) found.push(`${x} over ${y}`);
  }
}
return found;
"""
"""Texts of figures that lie over one another or outside of their figure."""
