"""docs/, mkdocs.yml -> the site: it builds, every link leads somewhere, and a browser shows it."""

import functools
import html
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from report_browser import resize, start, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        if find_spec(name) is None:
            # An environment of the library alone has no mkdocs; CI has.
            pytest.skip(f'{name} is not installed: pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"  # nothing listens there: a build that fetches would fail
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ
        | {"NO_MKDOCS_2_WARNING": "1", "http_proxy": nowhere, "https_proxy": nowhere},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "WARNING" not in done.stderr
    return folder


class Links(HTMLParser):
    """Collects where a page leads, what a browser loads for it, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loaded += [given["src"]] if "src" in given else []
        self.loaded += [given["href"]] if tag == "link" and "href" in given else []


@cache
def parsed(path: Path) -> Links:
    return Links(path.read_text(encoding="utf-8"))


def test_every_link_and_anchor_of_the_site_leads_somewhere(site: Path) -> None:
    checked = 0
    for page in site.rglob("*.html"):
        for link in parsed(page).links:
            parts = urlsplit(link)
            if parts.scheme or page.name == "404.html":  # whose links are from the root
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.name} leads to {link}, which is not there"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in parsed(target).anchors, f"{page.name}: {link}"
            checked += 1
    assert checked > 500


def test_a_reader_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in parsed(page).loaded:
            assert not urlsplit(address).netloc, f"{page.name} loads {address}"
        # The theme fetches a library for diagrams, where a page has one.
        assert "mermaid" not in page.read_text(encoding="utf-8")
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:|@import", sheet.read_text(encoding="utf-8"))


def test_the_reference_shows_every_public_name(site: Path) -> None:
    public = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE)
    # An alias is shown under the name of its home too; ours is the one that is linked to.
    assert set(public) <= parsed(site / "api.html").anchors


def test_examples_are_shown_in_full(site: Path) -> None:
    page = site / "examples.html"
    shown = html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))
    for path in (ROOT / "examples").glob("*.*"):
        assert path.stem in parsed(page).anchors
        assert (page.with_suffix("") / path.name).read_bytes() == path.read_bytes()
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                code = cell["source"] if cell["cell_type"] == "code" else []
                assert all(line.rstrip("\n") in shown for line in code), path.name


# ---------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    started = start(tmp_path_factory.mktemp("downloads"))
    yield started
    started.quit()


TOO_WIDE = """
return [...document.querySelectorAll('pre > code')]
  .filter(code => code.scrollWidth > code.clientWidth)
  .map(code => code.textContent.slice(0, 80));
"""


def test_no_code_scrolls_sideways_at_1280_pixels(browser: webdriver.Chrome, site: Path) -> None:
    resize(browser, 1280)
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 15
    found = {}
    for page in pages:
        browser.get(page.as_uri())
        if wide := browser.execute_script(TOO_WIDE):
            found[page.name] = wide
    assert found == {}


@pytest.mark.parametrize("width", [400, 768, 1280])
@pytest.mark.parametrize("name", ["index", "tutorial", "choose"])
def test_no_page_scrolls_sideways(
    browser: webdriver.Chrome, site: Path, name: str, width: int
) -> None:
    resize(browser, width)
    browser.get((site / f"{name}.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "shown"), [("default", "light"), ("slate", "dark")])
def test_the_home_page_has_one_picture_for_each_theme(
    browser: webdriver.Chrome, site: Path, scheme: str, shown: str
) -> None:
    browser.get((site / "index.html").as_uri())
    browser.execute_script(
        "document.body.setAttribute('data-md-color-scheme', arguments[0])", scheme
    )
    pictures = browser.find_elements(By.CSS_SELECTOR, ".front img")
    visible = [each.get_attribute("src") or "" for each in pictures if each.is_displayed()]
    assert [Path(urlsplit(each).path).name for each in visible] == [f"filters-{shown}.svg"]


def test_search_finds_a_page(browser: webdriver.Chrome, site: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        resize(browser, 1280)
        browser.get(f"http://127.0.0.1:{server.server_port}/index.html")
        box = browser.find_element(By.CSS_SELECTOR, "input[name=query]")
        wait_for(box.is_displayed, "the search box is there")
        box.send_keys("adapt_stem_")
        found = wait_for(
            lambda: browser.find_elements(By.CSS_SELECTOR, ".md-search-result__link"),
            "the search finds something",
        )
        assert any("adapt" in (each.get_attribute("href") or "") for each in found)
        server.shutdown()
