"""The report in a real browser: opened from disk it asks for nothing, complains of nothing, and does what it offers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.material import EVIL, EVIL_NAME, evil_board

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
PHONE = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
HARMLESS = "INFO"
"""Bokeh says in the console how long it took."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "board.html"
    evil_board().report(path)
    return path


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no browser: install Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()


@pytest.fixture
def opened(started: Any, path: Path) -> Iterator[Any]:
    """The report, just opened; after every test nothing was asked for, and nothing stands in the console."""
    started.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    scheme(started, "light")
    started.get_log("performance"), started.get_log("browser")
    started.get(path.as_uri())
    drawn(started)
    yield started
    assert [entry for entry in started.get_log("browser") if entry["level"] != HARMLESS] == []
    asked = [e["message"] for e in started.get_log("performance") if "Network.requestWillBeSent" in e["message"]]
    assert [message for message in asked if path.as_uri() not in message and '"url":"data:' not in message] == []


def scheme(window: Any, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 10
    while not (found := what()):
        assert time.monotonic() < end, "it did not come about within ten seconds"
        time.sleep(0.05)
    return found


def drawn(window: Any) -> None:
    until(lambda: window.execute_script("return document.documentElement.dataset.drawn"))


def shown(window: Any, column: str = "candidate") -> list[str]:
    """The texts of a column's cells in the rows that are shown."""
    return list(
        window.execute_script(
            "return [...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden).map(r =>"
            " [...r.children].find(c => c.dataset.column === arguments[0]).innerText.trim())",
            column,
        )
    )


def head(window: Any, column: str) -> Any:
    return next(h for h in window.find_elements("css selector", "#board thead th") if h.text.startswith(column))


def test_no_text_from_outside_runs_and_all_of_it_is_shown(opened: Any) -> None:
    text = opened.execute_script("return document.body.innerText")
    assert EVIL_NAME in text
    assert f"{EVIL}pets" in text
    assert opened.execute_script("return document.scripts.length") == 3
    opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'ran = 1'; document.body.append(s)"
    )
    assert opened.execute_script("return typeof ran") == "undefined"
    assert any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser"))


def test_the_table_sorts_by_mouse_and_by_keyboard_with_what_is_unknown_last(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    first = shown(opened)
    head(opened, "parameters").find_element("css selector", "button").click()
    assert shown(opened) == ["huge", *first[:11][::-1], "broken"]
    assert head(opened, "parameters").get_attribute("aria-sort") == "descending"
    head(opened, "parameters").find_element("css selector", "button").send_keys(Keys.ENTER)
    assert shown(opened) == [*first[:11], "huge", "broken"]
    head(opened, "latency").find_element("css selector", "button").click()
    assert shown(opened)[:2] == first[:2]
    head(opened, "MACs").find_element("css selector", "button").click()
    assert shown(opened)[:2] == first[:2]


def test_the_table_filters_by_words_size_and_failure(opened: Any) -> None:
    box = opened.find_element("id", "filter")
    box.send_keys("F1 model-0")
    assert shown(opened) == ["model-01", "model-05", "model-09"]
    assert opened.find_element("id", "count").text == "3 of 13 candidates"
    box.clear()
    box.send_keys("no weights")
    assert shown(opened) == ["broken"]
    box.clear()
    box.send_keys("<script>alert(1)</script> license")
    assert shown(opened) == ["model-02"]
    box.clear()
    opened.find_element("id", "failures").click()
    assert "broken" not in shown(opened)
    opened.find_element("id", "most").send_keys("2.5")
    assert shown(opened) == ["model-00", "model-01"]


def test_columns_can_be_shown_and_hidden(opened: Any) -> None:
    opened.find_element("css selector", ".chooser summary").click()
    visible = lambda: [h.text for h in opened.find_elements("css selector", "#board thead th") if h.is_displayed()]  # noqa: E731
    assert "knn" not in visible()
    for name in ("knn", "MACs"):
        boxes = opened.find_elements("css selector", ".choices input")
        next(box for box in boxes if box.get_attribute("data-column") == name).click()
    assert "knn" in visible()
    assert "MACs" not in visible()


def test_failures_unfold_with_their_reasons(opened: Any) -> None:
    groups = [group.text for group in opened.find_elements("css selector", ".left-out")]
    assert len(groups) == 3
    for text, reason in zip(groups, ("no weights", "too large", "the budget ended"), strict=True):
        assert f"{EVIL} {reason}" in text
    cells = opened.find_elements("css selector", "#board td[data-column=status] details:not([open]) summary")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", cells[0])
    cells[0].click()
    assert any("no classes" in text for text in shown(opened, "status"))


@pytest.mark.parametrize(("chart", "row"), [("cost", 3), ("verified", 1), ("map", 3)])
def test_the_mouse_on_a_point_shows_the_candidates_name(opened: Any, chart: str, row: int) -> None:
    from selenium.webdriver import ActionChains

    element = opened.find_element("id", f"chart-{chart}")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    x, y, name = opened.execute_script(
        """
        const [chart, row] = arguments;
        const view = Object.values(Bokeh.index).flatMap(v => v.roots || [v]).find(v => v.model.name === chart);
        const data = view.model.document.get_model_by_name(chart + "-points").data;
        const box = (view.canvas_view || view.canvas).el.getBoundingClientRect();
        const sx = view.frame.x_scale.compute(data.x[row]), sy = view.frame.y_scale.compute(data.y[row]);
        return [box.left + sx, box.top + sy, data.name[row]];
        """,
        chart,
        row,
    )
    actions = ActionChains(opened)
    actions.w3c_actions.pointer_action.move_to_location(int(x), int(y))
    actions.perform()
    tooltips = lambda: opened.execute_script(  # noqa: E731 (tooltips live in shadow roots)
        """
        const texts = [], walk = node => {
            if (node.shadowRoot) walk(node.shadowRoot);
            if (node.classList && [...node.classList].some(c => c.includes("tooltip"))) texts.push(node.textContent);
            node.childNodes.forEach(walk);
        };
        walk(document.body);
        return texts.join(" ");
        """
    )
    until(lambda: name in tooltips())


def test_the_cost_can_be_changed(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    names = opened.find_element("id", "front-names").text
    assert names == "model-00"
    Select(opened.find_element("id", "cost-choice")).select_by_value("macs")
    assert opened.find_element("id", "front-names").text.split(", ")[-1] == "model-00"
    assert len(opened.find_element("id", "front-names").text.split(", ")) == 11
    label = "return Object.values(Bokeh.index).flatMap(v => v.roots || [v])[0].model.below[0].axis_label"
    assert opened.execute_script(label) == "multiply-accumulates for one input"
    Select(opened.find_element("id", "quality-choice")).select_by_value("accuracy, fine-tuned")
    assert opened.find_element("id", "front-names").text == "model-01, model-00"
    label = label.replace("below", "left")
    assert opened.execute_script(label) == "accuracy, fine-tuned"


def test_the_first_screen_holds_the_answer_its_facts_and_the_code(opened: Any) -> None:
    bottom = (
        "return Math.max(...['h1', '.facts', '#code'].map(s => document.querySelector(s)."
        "getBoundingClientRect().bottom)) < innerHeight"
    )
    assert opened.execute_script(bottom)
    facts = opened.find_element("class name", "facts").text
    for fact in ("90.0%", "1M", "20 ms", "10 MB", "1 MB", "mit"):
        assert fact in facts


def test_the_budget_is_accounted_for(opened: Any) -> None:
    budget = opened.find_element("id", "budget").text
    assert f"{EVIL} 20m" in budget
    assert "12,345" in budget
    assert [
        cell.text for cell in opened.find_elements("css selector", "[open] > .scroller .stages tr:last-child td")
    ] == [
        f"{EVIL} verify",
        "",
        "2",
        "20 min",
        "decided",
    ]


def test_the_map_is_coloured_by_family_or_by_score(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    assert EVIL in opened.find_element("id", "legend-family_colour").text
    Select(opened.find_element("id", "map-choice")).select_by_value("score_colour")
    assert not opened.find_element("id", "legend-family_colour").is_displayed()
    assert opened.find_element("id", "legend-score_colour").is_displayed()


def test_a_phone_scrolls_the_page_one_way_only(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    opened.refresh()
    drawn(opened)
    assert opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    assert (
        opened.execute_script("return document.querySelector('#chart-cost canvas, #chart-cost > *').clientWidth") < 390
    )
    name = opened.find_element("css selector", "#board tbody th")
    before = name.rect["x"]
    opened.execute_script("document.querySelector('.scroller').scrollLeft = 300")
    assert 0 <= name.rect["x"] <= before  # the names stay while the numbers move


@pytest.mark.parametrize(("name", "darker"), [("light", "text"), ("dark", "page")])
def test_light_and_dark_follow_the_reader(opened: Any, name: str, darker: str) -> None:
    scheme(opened, name)
    script = """
        const channel = text => { const c = text.match(/\\d+/g).map(Number); return c[0] + c[1] + c[2]; };
        const style = getComputedStyle(document.body);
        return [channel(style.color), channel(style.backgroundColor)];
    """
    text, page = opened.execute_script(script)
    assert (text < page) == (darker == "text")
    assert abs(text - page) > 400
    label = "return Object.values(Bokeh.index).flatMap(v => v.roots || [v])[0].model.below[0].axis_label_text_color"
    wanted = opened.execute_script(
        "return getComputedStyle(document.documentElement).getPropertyValue('--text').trim()"
    )
    assert opened.execute_script(label) == wanted
    names = """
        const figure = Object.values(Bokeh.index).flatMap(v => v.roots || [v])[0].model;
        return figure.renderers.find(r => r.name === "cost-labels").glyph.text_color.value;
    """
    assert opened.execute_script(names) == wanted
