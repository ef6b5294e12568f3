"""The pages in a browser: they hold on phone and desktop, keep live, and serve keyboard and eyes.

Screenshots go to the folder that pytest keeps for each test.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from portal_cluster import until
from portal_records import T0, approved
from portal_site import PortalSite
from portal_turns import turns
from portal_world import CARRIER, GOAL
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from connectors.portal import tables
from connectors.portal.writer import StoreWriter

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
PHONE, DESKTOP = (390, 844), (1280, 900)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()),
        reason="no /usr/bin/chromium and chromedriver: apt-get install chromium chromium-driver",
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def served(tmp_path):
    made = PortalSite(tmp_path).fill().serve()
    yield made
    made.close()


def view(browser, size, scheme="light"):
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def text_of(browser, selector):
    """Text as a reader sees it, found and read in one step: the page may change in between."""
    shown = "const found = document.querySelector(arguments[0]); return found && found.innerText"
    return (browser.execute_script(shown, selector) or "").strip()


def live(browser):
    return "on" in browser.find_element(By.ID, "live").get_attribute("class").split()


def utc_shown(browser):
    return browser.find_element(By.CSS_SELECTOR, ".entry .clock .zone.there").is_displayed()


def complaints(browser):
    """What the browser found wrong with a page: scripts, policies, files."""
    return [entry["message"] for entry in browser.get_log("browser")]


CONTRAST = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0.99) return colour;
  }
  return [255, 255, 255];
};
const poor = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !node.getClientRects().length || node.closest(".unseen, .skip, svg")) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return poor;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_fit_read_well_and_break_no_policy(browser, served, tmp_path, size, scheme):
    served.add(*turns(served.now))
    view(browser, size, scheme)
    for name, path in {
        "home": "/",
        "story": "/shipments/SHP-1001",
        "expected": "/shipments/SHP-3900",
        "order": "/orders/80001234",
        "search": "/search?q=SHP",
        "nothing": "/search?q=zzzz",
        "split": "/shipments/SHP-7000",
        "part": "/shipments/SHP-7000-A",
        "unheard": "/shipments/SHP-7000-B",
        "cancelled": "/orders/80007000",
        "moved": "/shipments/SHP-7100",
        "taken-back": "/shipments/SHP-7200",
        "again": "/shipments/SHP-7300",
    }.items():
        browser.get(served.base + path)
        browser.save_screenshot(str(tmp_path / f"{name}.png"))
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], f"{name} is {width} px wide"
        assert browser.execute_script(CONTRAST) == [], name
        assert complaints(browser) == [], name


def test_a_change_appears_by_itself_and_leaves_open_what_was_opened(browser, served):
    view(browser, PHONE)
    browser.get(served.base + "/shipments/SHP-3900")
    until(lambda: live(browser), what="the live connection")
    browser.find_element(By.CSS_SELECTOR, ".entry details summary").click()
    assert "Why it counts" in text_of(browser, ".entry details")
    served.add(
        approved(
            "delivered",
            4,
            entity_id="SHP-3900",
            occurred=served.now,
            stop=GOAL,
            status_after="delivered",
            **CARRIER,
        )
    )
    until(lambda: text_of(browser, "#status") == "Delivered", what="the new status")
    assert "Expected" not in text_of(browser, "main")
    assert browser.find_elements(By.CSS_SELECTOR, ".entry.just-now")
    assert browser.find_element(By.ID, "news").get_attribute("textContent") == "New: Delivered"
    assert len(browser.find_elements(By.CSS_SELECTOR, "details[open]")) == 1
    assert "Details" in text_of(browser, "details[open] summary")
    assert complaints(browser) == []


def test_a_reader_finds_a_shipment_with_the_keyboard_alone(browser, served):
    view(browser, DESKTOP)
    browser.get(served.base + "/")
    field = browser.switch_to.active_element
    assert field.get_attribute("name") == "q"
    field.send_keys("0047 1122", Keys.ENTER)
    until(lambda: "/shipments/SHP-1001" in browser.current_url, what="the shipment's page")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"
    summary = browser.find_element(By.CSS_SELECTOR, ".entry.corrected summary")
    browser.execute_script("arguments[0].focus()", summary)
    summary.send_keys(Keys.ENTER)
    opened = text_of(browser, ".entry.corrected details")
    assert "Corrected" in opened
    assert "provisionally" in opened


def test_times_change_to_utc_and_stay_so(browser, served):
    view(browser, DESKTOP)
    browser.get(served.base + "/shipments/SHP-2002")
    assert not utc_shown(browser)
    browser.find_element(By.ID, "clocks").click()
    assert utc_shown(browser)
    assert browser.find_element(By.ID, "clocks").get_attribute("aria-pressed") == "true"
    browser.get(served.base + "/shipments/SHP-1001")
    assert utc_shown(browser)
    browser.find_element(By.ID, "clocks").click()
    assert not utc_shown(browser)


def test_the_page_says_so_when_kafka_goes_away_and_when_it_is_back(browser, served, tmp_path):
    view(browser, PHONE)
    browser.get(served.base + "/shipments/SHP-1001")
    until(lambda: live(browser), what="the live connection")
    assert not browser.find_elements(By.CSS_SELECTOR, "#banner .banner")
    with served.engine.begin() as connection:
        connection.execute(tables.reading.update().values(read_to=T0))
    StoreWriter(served.engine, served.url, lambda: served.now).tell("waiting", "Kafka at a:1", T0)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#banner .banner"), what="the banner")
    browser.save_screenshot(str(tmp_path / "away.png"))
    assert "Kafka does not answer" in text_of(browser, "#banner")
    assert "Arrived at destination" in text_of(browser, "#status")
    assert browser.execute_script(CONTRAST) == []
    served.add(approved("departed", 40, entity_id="SHP-5"))
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "#banner .banner"), what="no banner")


def test_a_lost_connection_shows(browser, served):
    view(browser, DESKTOP)
    browser.get(served.base + "/shipments/SHP-1001")
    until(lambda: live(browser), what="the live connection")
    served.app.stop.set()
    until(lambda: not live(browser), what="the sign of the lost connection")
    title = browser.find_element(By.ID, "live").get_attribute("title")
    assert title == "Connection lost, trying again"
