"""the report page in a real browser: drawn offline, used by mouse and keyboard, and accessible."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from report_browser import OVERLAPS, axe_source, open_page, resize, start, wait_for
from report_cases import demo, grid, hostile
from warminit.lab.data.load import load_dataset
from warminit.lab.report import write_report

# Each browser and page is used by all tests of this file: they belong into one process.
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def started(downloads: Path) -> Iterator[webdriver.Chrome]:
    browser = start(downloads)
    yield browser
    browser.quit()


@pytest.fixture
def browser(started: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    log: Any = started  # Selenium's own types leave get_log out
    log.get_log("browser")  # what an earlier test left
    yield started
    errors = [entry for entry in log.get_log("browser") if entry["level"] != "INFO"]
    assert not errors, "the console stays empty"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets = {"fashion-mini": load_dataset("fashion-mini")}
    return write_report(demo(), tmp_path_factory.mktemp("demo") / "report.html", datasets=datasets)


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, selector)]


@pytest.mark.parametrize("width", [400, 1600])
def test_no_text_of_a_figure_lies_over_another_or_is_cut_off(
    browser: webdriver.Chrome, page: Path, width: int
) -> None:
    open_page(browser, page, width)
    assert browser.execute_script("return document.querySelectorAll('.chart svg').length") >= 7
    # A chart is drawn anew when its page is resized, on a busy machine a little later.
    wait_for(lambda: browser.execute_script(OVERLAPS) == [], "no two labels overlap")
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width, "the page itself never scrolls sideways"


@pytest.mark.parametrize("width", [400, 1600])
def test_the_heat_maps_of_a_grid_fit_too(
    browser: webdriver.Chrome, tmp_path: Path, width: int
) -> None:
    open_page(browser, write_report(grid(), tmp_path / "grid.html"), width)
    # A chart is drawn anew when its page is resized, on a busy machine a little later.
    wait_for(lambda: browser.execute_script(OVERLAPS) == [], "no two labels overlap")


def test_nothing_is_asked_of_a_network(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(each => each.name)"
    )
    assert [name for name in asked if not name.startswith(("data:", "blob:"))] == []


def test_the_verdicts_come_first(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)
    assert texts(browser, "main h2")[0] == "Verdicts"
    shown = texts(browser, ".verdicts li")
    best_first = sorted(demo().comparisons, key=lambda each: each.gain, reverse=True)
    for text, comparison in zip(shown, best_first, strict=True):
        assert comparison.verdict in text


def test_a_table_sorts_both_ways_by_its_exact_values(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)
    heading = browser.find_element(
        By.XPATH, "//table[@id='table-results']//th[contains(., 'accuracy')]"
    )
    column = int(heading.get_property("cellIndex"))  # type: ignore[arg-type]

    def column_values() -> list[float]:
        return [
            float(value)
            for value in browser.execute_script(
                "return [...document.querySelectorAll('#table-results tbody tr')]"
                f".map(row => row.cells[{column}].dataset.value)"
            )
        ]

    button = heading.find_element(By.TAG_NAME, "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    expected = sorted(100 * (cell.mean or 0) for cell in demo().cells)
    assert column_values() == pytest.approx(expected)
    button.send_keys(Keys.ENTER)  # by keyboard as by mouse
    assert heading.get_attribute("aria-sort") == "descending"
    assert column_values() == pytest.approx(expected[::-1])


def test_dark_mode_is_kept_and_reaches_the_charts(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)

    def colours() -> list[str]:
        return [
            browser.execute_script("return getComputedStyle(document.body).backgroundColor"),
            browser.execute_script(
                "return document.querySelector('.chart .role-axis-title text').getAttribute('fill')"
            ),
        ]

    light = colours()
    toggle = browser.find_element(By.ID, "theme")
    toggle.click()
    wait_for(lambda: all(a != b for a, b in zip(colours(), light, strict=True)), "dark colours")
    assert toggle.get_attribute("aria-pressed") == "true"
    open_page(browser, page)
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("data-theme") == "dark"
    browser.find_element(By.ID, "theme").click()
    wait_for(lambda: colours() == light, "light colours again")


def test_a_chart_answers_the_mouse(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)
    mark = browser.find_element(By.CSS_SELECTOR, "#figure-forest .mark-symbol path")
    ActionChains(browser).move_to_element(mark).perform()
    shown = wait_for(
        lambda: texts(browser, "#vg-tooltip-element.visible") or None, "the tooltip is shown"
    )[0]
    comparison = demo().comparisons[0]
    assert comparison.arm in shown
    assert f"{100 * comparison.mean_difference:+.2f}" in shown
    assert f"{comparison.wins}/{comparison.n}" in shown


@pytest.mark.parametrize("figure", ["forest", "filters-0"])
@pytest.mark.parametrize("form", ["SVG", "PNG"])
def test_a_figure_is_saved(
    browser: webdriver.Chrome, page: Path, downloads: Path, figure: str, form: str
) -> None:
    open_page(browser, page)
    button = browser.find_element(By.CSS_SELECTOR, f"#figure-{figure} button[data-form={form}]")
    button.click()
    path = downloads / f"demo-{figure}.{form.lower()}"
    wait_for(lambda: path.exists() and path.stat().st_size > 1000, f"{path.name} is saved")
    content = path.read_bytes()
    if form == "PNG":
        assert content.startswith(b"\x89PNG")
    else:
        assert content.startswith(b"<svg")
        expected = b"difference from torch-default" if figure == "forest" else b"after prewarm"
        assert expected in content


def test_tables_are_copied_for_other_programs(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page)
    # What the clipboard is given; headless browsers keep the clipboard itself to themselves.
    browser.execute_script(
        "navigator.clipboard.writeText = async text => { window.copied = text; }"
    )

    def copied(form: str) -> str:
        browser.find_element(
            By.CSS_SELECTOR, f"[data-table=table-results][data-form={form}]"
        ).click()
        wait_for(lambda: form in browser.find_element(By.ID, "status").text, "it says so")
        text: str = browser.execute_script("return window.copied")
        return text

    lines = copied("CSV").splitlines()
    assert len(lines) == 1 + len(demo().cells)
    assert lines[0].startswith('arm,outcome,data set,model,seeds,"accuracy, %",sd,')
    mean = 100 * (demo().cells[1].mean or 0)
    assert float(lines[2].split(",")[5]) == pytest.approx(mean, rel=1e-12)
    latex = copied("LaTeX")
    assert "accuracy, \\%" in latex
    assert latex.count("\\\\") == 1 + len(demo().cells)
    markdown = copied("Markdown").splitlines()
    assert re.fullmatch(r"(\| -{3}:? )+\|", markdown[1])
    assert len(markdown) == 2 + len(demo().cells)


def test_everything_is_reached_by_keyboard_and_shows_it(
    browser: webdriver.Chrome, page: Path
) -> None:
    open_page(browser, page)
    seen: list[dict[str, Any]] = []
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    for _ in range(20):
        seen.append(
            browser.execute_script(
                "const e = document.activeElement; return {text: e.textContent.trim(), "
                "outline: getComputedStyle(e).outlineStyle, tag: e.tagName}"
            )
        )
        ActionChains(browser).send_keys(Keys.TAB).perform()
    assert seen[0]["text"] == "Skip to the verdicts"
    assert "Dark" in [each["text"] for each in seen]
    assert {"SVG", "PNG"} <= {each["text"] for each in seen}
    assert all(each["outline"] != "none" for each in seen)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_axe_finds_no_serious_violation(
    browser: webdriver.Chrome, page: Path, pytestconfig: pytest.Config, theme: str, width: int
) -> None:
    open_page(browser, page, width)
    browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
    browser.execute_script(
        "for (const each of document.querySelectorAll('details')) each.open = true"
    )
    browser.execute_script(axe_source(pytestconfig.rootpath / ".venv" / "axe"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(r => done(r.violations))"
    )
    serious = [
        (each["id"], each["nodes"][0]["html"][:200])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
    assert serious == [], json.dumps(serious, indent=1)


def test_a_hostile_name_is_shown_and_not_run(browser: webdriver.Chrome, tmp_path: Path) -> None:
    analysis, datasets = hostile()
    open_page(browser, write_report(analysis, tmp_path / "report.html", datasets=datasets))
    assert browser.execute_script("return window.attacked") is None
    assert "<script>window.attacked = 1</script>" in browser.find_element(By.TAG_NAME, "body").text
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []


def test_the_page_of_a_running_study_reloads_until_it_is_told_not_to(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    from report_cases import partly

    open_page(browser, write_report(partly(), tmp_path / "report.html"))
    assert browser.find_element(By.ID, "state").text == "This study is not finished"
    box = browser.find_element(By.ID, "reload")
    assert box.is_selected()
    box.click()
    open_page(browser, tmp_path / "report.html")
    assert not browser.find_element(By.ID, "reload").is_selected(), "it remembers"
    browser.find_element(By.ID, "reload").click()


def test_the_contents_stand_beside_the_page_or_fold_above_it(
    browser: webdriver.Chrome, page: Path
) -> None:
    open_page(browser, page, 1280)
    contents = browser.find_element(By.ID, "contents")
    main = browser.find_element(By.TAG_NAME, "main")
    assert contents.get_property("open") is True
    assert contents.rect["x"] + contents.rect["width"] < main.rect["x"]
    resize(browser, 400)
    wait_for(lambda: contents.get_property("open") is False, "the contents fold")
    assert contents.rect["y"] + contents.rect["height"] <= main.rect["y"]


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_the_outcome_is_not_cut(browser: webdriver.Chrome, page: Path, width: int) -> None:
    open_page(browser, page, width)
    right, scrolls = browser.execute_script(
        "const table = document.getElementById('table-results');"
        "const frame = table.parentElement.getBoundingClientRect().right;"
        "const cells = [...table.querySelectorAll('tr > :nth-child(2)')];"
        "return [Math.max(...cells.map(c => c.getBoundingClientRect().right)) - frame,"
        " document.documentElement.scrollWidth]"
    )
    assert right <= 0
    assert scrolls <= width, "the page itself never scrolls sideways"
