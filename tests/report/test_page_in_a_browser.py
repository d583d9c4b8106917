"""The report in a real browser: opened from disk it asks for nothing, complains of nothing, and does what it offers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.material import EVIL, EVIL_NAME, evil_board, long_board

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --window-size=1280,900"
)
PHONE = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}


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
    assert started.get_log("browser") == []
    assert asked_elsewhere(started, path.as_uri()) == []


def asked_elsewhere(window: Any, own: str) -> list[str]:
    """The requests to any other place, but for those of the browser's own first page."""
    messages = [entry["message"] for entry in window.get_log("performance")]
    asked = [message for message in messages if '"Network.requestWillBeSent"' in message]
    return [m for m in asked if own not in m and '"url":"data:' not in m and '"documentURL":"chrome' not in m]


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
    """The texts of a column's cells in the rows that are shown, without their notes."""
    return list(
        window.execute_script(
            "const heads = [...document.querySelectorAll('#board thead th')].map(h => h.textContent);"
            "const text = c => [...c.childNodes].filter(n => n.nodeName !== 'SMALL').map(n => n.textContent).join('');"
            "return [...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden).map(r =>"
            " text(r.cells[heads.indexOf(arguments[0])]))",
            column,
        )
    )


def all_columns(window: Any) -> None:
    window.find_element("id", "all").click()


def head(window: Any, column: str) -> Any:
    return next(h for h in window.find_elements("css selector", "#board thead th") if h.text.startswith(column))


def test_no_text_from_outside_runs_and_all_of_it_is_shown(opened: Any) -> None:
    text = opened.execute_script("return document.body.innerText")
    assert EVIL_NAME in text
    assert f"{EVIL}pets" in text
    assert opened.execute_script("return document.scripts.length") == 1
    opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'ran = 1'; document.body.append(s)"
    )
    assert opened.execute_script("return typeof ran") == "undefined"
    assert any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser"))


def test_the_table_sorts_by_mouse_and_by_keyboard_with_what_is_unknown_last(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    first = shown(opened)
    all_columns(opened)
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
    assert shown(opened) == ["broken"]  # the status is in a column that is not shown yet
    box.clear()
    box.send_keys("<script>alert(1)</script> license")
    assert shown(opened) == ["model-02"]
    box.clear()
    opened.find_element("id", "failures").click()
    assert "broken" not in shown(opened)
    opened.find_element("id", "most").send_keys("2.5")
    assert shown(opened) == ["model-00", "model-01"]


def test_a_switch_shows_all_columns(opened: Any) -> None:
    visible = lambda: [h.text for h in opened.find_elements("css selector", "#board thead th") if h.is_displayed()]  # noqa: E731
    assert [name.split("\n")[0] for name in visible()] == [
        "rank",
        "candidate",
        "verified accuracy",
        "P(best)",
        "parameters",
    ]
    all_columns(opened)
    assert "knn" in visible()
    assert len(visible()) > 15
    all_columns(opened)
    assert len(visible()) == 5


def test_the_switch_works_without_script(started: Any, path: Path) -> None:
    started.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        started.get(path.as_uri())
        knn = started.find_element("xpath", "//table[@id='board']//th[.='knn']")
        assert not knn.is_displayed()
        all_columns(started)
        assert knn.is_displayed()
        assert not started.find_element("css selector", ".copy").is_displayed()
    finally:
        started.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_failures_unfold_with_their_reasons(opened: Any) -> None:
    groups = [group.text for group in opened.find_elements("css selector", "#table .items")]
    for text, reason in zip(groups, ("no weights", "too large", "the budget ended"), strict=False):
        assert f"{EVIL} {reason}" in text
    notes = opened.execute_script("return [...document.querySelectorAll('#board small')].map(n => n.textContent)")
    assert any("no classes" in note for note in notes)
    assert {"failed", "excluded by a limit"} <= set(notes)


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_a_point_says_its_candidates_name_to_mouse_and_keyboard(opened: Any, by_keyboard: bool) -> None:
    from selenium.webdriver import ActionChains

    point = opened.find_element("css selector", "#cost [open] .star" if by_keyboard else "#cost [open] circle")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    if by_keyboard:
        opened.execute_script("arguments[0].focus()", point)
    else:
        ActionChains(opened).move_to_element(point).perform()
    tip = opened.find_element("id", "tip")
    text = "model-00: accuracy, fine-tuned 90%" if by_keyboard else "model-01: accuracy, fine-tuned 80%"
    until(lambda: tip.is_displayed() and text in tip.text)


def test_the_head_of_a_column_says_what_it_means(opened: Any) -> None:
    opened.execute_script("arguments[0].focus()", head(opened, "P(best)").find_element("css selector", "button"))
    until(lambda: "best of all after fine-tuning" in opened.find_element("id", "tip").text)


def test_the_cost_can_be_changed(opened: Any) -> None:
    choices = opened.find_elements("css selector", "#cost > details")
    assert [choice.get_attribute("open") is not None for choice in choices] == [True] + [False] * (len(choices) - 1)
    summary = choices[1].find_element("css selector", "summary")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
    summary.click()
    until(lambda: choices[0].get_attribute("open") is None)
    assert choices[1].find_element("css selector", "svg").is_displayed()


def test_the_first_screen_holds_the_answer_its_number_its_verdict_and_its_facts(opened: Any) -> None:
    bottom = (
        "return Math.max(...['h1', '.number', '.badges', '.answer', '.tiles'].map(s => document.querySelector(s)."
        "getBoundingClientRect().bottom)) < innerHeight"
    )
    assert opened.execute_script(bottom)
    assert opened.find_element("css selector", ".number strong").text == "90.0%"
    assert opened.find_element("class name", "badges").text == "clear winner"
    facts = opened.find_element("class name", "tiles").text
    for fact in ("90.0%", "1M", "20 ms", "1 MB", "mit"):
        assert fact in facts


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_no_text_of_a_chart_covers_another(opened: Any, width: int) -> None:
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE | {"width": width, "mobile": width == 390})
    opened.refresh()
    drawn(opened)
    found = opened.execute_script(
        """
        document.querySelectorAll("details").forEach(d => { d.removeAttribute("name"); d.open = true; });
        const over = [];
        document.querySelectorAll(".chart svg, .intervals svg").forEach(svg => {
            const texts = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()])
                .filter(([, box]) => box.width > 0);
            texts.forEach(([a, x], i) => texts.slice(i + 1).forEach(([b, y]) => {
                const apart = x.right <= y.left || y.right <= x.left || x.bottom - 3 <= y.top || y.bottom - 3 <= x.top;
                if (!apart) over.push([a, b]);
            }));
        });
        return [document.querySelectorAll(".chart svg text.label").length, over];
        """
    )
    assert found[0] > 5
    assert found[1] == []


def test_the_budget_is_accounted_for(opened: Any) -> None:
    budget = opened.find_element("id", "budget").text
    assert f"{EVIL} 20m" in budget
    assert "12,345" in budget
    cells = opened.find_elements("css selector", "#budget details[open] tbody tr:last-child > *")
    assert [cell.text for cell in cells] == [f"{EVIL} verify", "", "2", "20 min", "decided"]


def test_the_map_and_the_provenance_are_folded(opened: Any) -> None:
    for section in ("map", "estimators", "provenance", "citations"):
        folded = opened.find_element("css selector", f"#{section} > details")
        assert folded.get_attribute("open") is None
        folded.find_element("css selector", "summary").click()
    charts = opened.find_elements("css selector", "#map figure")
    assert EVIL in charts[0].find_element("css selector", ".legend").text
    assert [chart.is_displayed() for chart in charts] == [True, False]
    summaries = opened.find_elements("css selector", "#map details.choice > summary")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", summaries[1])
    summaries[1].click()
    until(lambda: [chart.is_displayed() for chart in charts] == [False, True])


@pytest.mark.parametrize("every", [False, True])
def test_a_phone_scrolls_the_page_one_way_only_and_shows_the_ordering_column(opened: Any, every: bool) -> None:
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    opened.refresh()
    drawn(opened)
    if every:
        all_columns(opened)
        opened.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    cell = opened.find_element("css selector", "#board tbody tr.best td:nth-child(3)")
    assert cell.text.startswith("90.0%")
    assert cell.rect["x"] + cell.rect["width"] <= 391
    name = opened.find_element("css selector", "#board tbody th")
    before = name.rect["x"]
    opened.execute_script("document.querySelector('#table .scroller').scrollLeft = 300")
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
    weak = opened.execute_script(
        """
        const value = text => {
            const c = text.match(/[\\d.]+/g).map(Number);
            const linear = x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
            const part = c.slice(0, 3).map(x => linear(x / 255));
            return [0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2], c.length > 3 ? c[3] : 1];
        };
        const back = element => {
            for (let e = element; e; e = e.parentElement) {
                const [light, alpha] = value(getComputedStyle(e).backgroundColor);
                if (alpha === 1) return light;
            }
            return 1;
        };
        return [...document.querySelectorAll(".badge, .kicker, .number span, small, .answer, nav a, dt, .tick, .label")]
            .map(e => [e.textContent, value(getComputedStyle(e)[e.ownerSVGElement ? "fill" : "color"])[0], back(e)])
            .filter(([, a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5);
        """
    )
    assert weak == []


def test_a_long_table_is_shown_in_pages_and_sorted_and_filtered_as_a_whole(started: Any, tmp_path: Path) -> None:
    long_board(600).report(tmp_path / "long.html")
    started.get_log("browser")
    started.get((tmp_path / "long.html").as_uri())
    drawn(started)
    assert len(shown(started)) == 250
    assert started.find_element("id", "page").text == "page 1 of 3"
    started.find_element("id", "next").click()
    assert shown(started, "rank")[:2] == ["251", "252"]
    assert shown(started)[0] == f"{EVIL_NAME}250"
    all_columns(started)
    head(started, "logme").click()
    assert started.find_element("id", "page").text == "page 1 of 3"
    assert max(int(text) for text in shown(started, "logme")) == int(shown(started, "logme")[0]) > 590
    started.find_element("id", "filter").send_keys(">537")
    assert shown(started) == [f"{EVIL_NAME}537"]
    assert started.find_element("id", "count").text == "1 of 600 candidates"
    assert not started.find_element("id", "next").is_enabled()
    assert started.find_elements("css selector", "#board img") == []
    assert started.get_log("browser") == []
