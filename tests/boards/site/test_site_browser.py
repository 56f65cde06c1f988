"""The site in a real browser, from the disk. Needs Chromium and its driver (Debian: chromium, chromium-driver)."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from bench.boards.rows import UNDEFINED

selenium = pytest.importorskip("selenium", reason="selenium is not installed (extra 'dev')")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium with its driver (chromedriver) is installed"
)

FIRST, PAPER = "htba-scenes-laptop", "htba-on-scenes-5-poisoned-as-the-some-paper-reports-it"
FULL = 3
"""The place of the table of full runs."""
PHONE, DESK = (390, 844), (1280, 900)
FLAGS = [
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, *(["no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, folder):
    """Opens a page at a width, light or dark; the browser."""

    def opened(name="index.html", size=DESK, scheme="light", media=""):
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        browser.get((folder / name).as_uri())
        return browser

    yield opened
    assert browser.get_log("browser") == []


def one(browser, css):
    return browser.find_element("css selector", css)


def column(browser, name, table=0, first=False):
    """The texts of a column of the table, the rows that are shown, from the top; first: of its defenses alone."""
    script = """
        const table = document.querySelectorAll("table")[arguments[1]];
        const plain = each => each.textContent.replace(/ [\u2191\u2193]$/, "");
        const place = Array.from(table.tHead.rows[0].cells).findIndex(each => plain(each) === arguments[0]);
        const rows = (arguments[2] ? table.tBodies[0] : table).querySelectorAll("tr[data-find]");
        return Array.from(rows).filter(row => row.checkVisibility())
            .map(row => row.cells[place].textContent.trim());
    """
    return browser.execute_script(script, name, table, first)


def heading(browser, name, table=0):
    found = browser.find_elements("css selector", "table")[table].find_elements("css selector", "thead button")
    return next(each for each in found if plain(each) == name)


def plain(button):
    """Its text without the arrow that says what is better."""
    return button.text.rstrip(" \u2191\u2193")


def way(button):
    return button.find_element("xpath", "..").get_attribute("aria-sort")


def numbers(texts):
    return [float(text.removeprefix("\u2248 ").partition(" ")[0]) for text in texts]


def run_page(folder, part):
    return "runs/" + next(path.name for path in (folder / "runs").glob("*.html") if part in path.name)


def test_a_click_sorts_and_what_is_undefined_stays_last(show):
    browser = show()
    button = heading(browser, "ASR triggered", FULL)
    button.click()
    first = numbers(column(browser, "ASR triggered", FULL, first=True))
    assert (way(button), first) == ("ascending", sorted(first))
    button.click()
    falling = numbers(column(browser, "ASR triggered", FULL, first=True))
    assert (way(button), falling) == ("descending", sorted(first, reverse=True))
    assert len(set(first)) >= 3
    precision = heading(browser, "precision", 1)
    for _ in range(2):  # rising, then falling
        precision.click()
        texts = column(browser, "precision", 1, first=True)
        assert texts[-1] == UNDEFINED
        assert UNDEFINED not in texts[:-1]
    heading(browser, "defense", FULL).click()
    assert way(button) is None
    names = [name for name in column(browser, "defense", FULL) if name[0].isalpha()]
    assert names == ["poisoncam", "slow", "none", "oracle"], "controls stay below"
    above = "return document.querySelectorAll('table')[arguments[0]].tBodies[1].rows[0].className"
    assert browser.execute_script(above, FULL) == "kind", "and so does what they are"


def test_the_filter_takes_words_and_kinds(show):
    browser = show()
    wanted, count = one(browser, "#words-wanted"), one(browser, "#count")
    assert count.text == "All 7 lines shown."
    wanted.send_keys("SLOW laptop")
    assert column(browser, "defense") == ["slow"]
    assert count.text == "1 of 7 lines shown."
    assert not one(browser, f"#{PAPER}").is_displayed()
    shown = (
        f"return Array.from(document.querySelectorAll('#{FIRST} .point')).filter(e => !e.hasAttribute('hidden')).length"
    )
    assert browser.execute_script(shown) == 1
    wanted.clear()
    wanted.send_keys("nobody")
    assert count.text == "0 of 7 lines shown."
    assert not one(browser, f"#{FIRST}").is_displayed()
    wanted.clear()
    wanted.send_keys(" ")
    one(browser, "[value=control]").click()
    assert "oracle" not in column(browser, "defense")
    assert count.text == "6 of 7 lines shown."


def test_links_lead_to_a_run_and_back_and_a_point_to_its_line(show):
    browser = show()
    one(browser, "[aria-label='poisoncam, seed 1']").click()
    assert browser.title == "poisoncam against htba on scenes, seed 1"
    assert "/runs/" in browser.current_url
    one(browser, "header a").click()
    assert browser.current_url.endswith("/index.html")
    point = one(browser, f"#{FIRST} .point")
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", point)
    anchor = browser.current_url.partition("#")[2]
    assert anchor.startswith(f"{FIRST}-")
    assert one(browser, "tr:target").get_attribute("id") == anchor


def test_with_the_keyboard_alone(show):
    from selenium.webdriver.common.keys import Keys

    browser = show()
    one(browser, "#words-wanted").send_keys("scenes", Keys.ENTER)
    for _ in range(25):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if plain(browser.switch_to.active_element) == "AUROC":
            break
    button = browser.switch_to.active_element
    assert (button.tag_name, plain(button)) == ("button", "AUROC")
    assert button.value_of_css_property("outline-style") == "solid"
    button.send_keys(Keys.ENTER)
    assert way(button) == "ascending"
    button.send_keys(Keys.SPACE)
    assert way(button) == "descending"
    found = numbers(column(browser, "AUROC", first=True))
    assert found == sorted(found, reverse=True)
    assert browser.switch_to.active_element == button
    precision = heading(browser, "precision", 1)
    for _ in range(2):
        precision.send_keys(Keys.ENTER)
        assert column(browser, "precision", 1, first=True)[-1] == UNDEFINED
    assert "index.html" in browser.current_url
    stops = "return document.querySelectorAll('th[tabindex], .seeds a:not([tabindex=\"-1\"])').length"
    assert browser.execute_script(stops) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "slow", "submitted"])
def test_a_phone_never_scrolls_sideways(show, folder, name, scheme):
    part = "seed0" if name == "submitted" else name
    browser = show(name if name == "index.html" else run_page(folder, part), PHONE, scheme)
    sizes = "const page = document.documentElement; return [innerWidth, page.scrollWidth - page.clientWidth]"
    assert browser.execute_script(sizes) == [PHONE[0], 0]
    if name == "index.html":
        widths = "const t = document.querySelector('.scroll'); return [t.scrollWidth, t.clientWidth]"
        wide, inside = browser.execute_script(widths)
        assert wide > inside
        assert one(browser, "#words-wanted").rect["width"] <= PHONE[0] - 32
        moved = """const part = document.querySelector('.scroll'); part.scrollLeft = 200;
            const edge = each => each.getBoundingClientRect().left;
            const left = css => edge(part.querySelector(css)) - edge(part);
            return [left('tbody th[scope=row]'), left('tbody td.number'), left('caption .stay') >= 0]"""
        name, rank, caption = browser.execute_script(moved)
        assert (name, caption) == (0, True), "the name stays when the table is moved"
        assert rank < 0
        assert "gradient" in one(browser, ".scroll").value_of_css_property("background-image")


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(show, scheme):
    browser = show(scheme=scheme)
    ground = luminance(one(browser, "body").value_of_css_property("background-color"))
    assert (ground > 0.8) == (scheme == "light")
    assert (ground < 0.05) == (scheme == "dark")
    for css in [
        "h1",
        "td",
        ".kind th",
        "td .soft",
        "thead button",
        "a",
        "output",
        "figcaption",
        ".plot .axes",
        ".point.defense",
        ".point.control",
    ]:
        low, high = sorted([ground, luminance(one(browser, css).value_of_css_property("color"))])
        assert (high + 0.05) / (low + 0.05) >= 4.5, css
    fill = one(browser, ".point text").value_of_css_property("fill")
    assert fill != one(browser, "body").value_of_css_property("background-color")


def test_no_text_of_a_record_runs_and_the_policy_holds(show, folder):
    browser = show()
    assert browser.execute_script("return window.taken") is None
    inject = "const s = document.createElement('script'); s.textContent = 'window.taken = 3'; document.body.append(s)"
    browser.execute_script(inject)
    assert browser.execute_script("return window.taken") is None
    (entry,) = browser.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_on_paper_there_are_no_controls(show):
    browser = show(media="print")
    assert not one(browser, "#filter").is_displayed()
    assert one(browser, f"#{FIRST} table").is_displayed()
