"""The page in a real browser: drop an image, see hits, filter, tick, mark, export, go back; wide and narrow."""

import base64
import csv
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from tests.serving.similarity.test_explore_images import png

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

#: Hands a file to the page as a person who drops it would.
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], arguments[1]));
for (const kind of ["dragenter", "dragover", "drop"]) {
  const event = new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not CHROMIUM or not DRIVER:
        pytest.skip("needs chromium and chromedriver (Debian's chromium and chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"]
    for argument in [*arguments, *(["--no-sandbox"] if os.geteuid() == 0 else [])]:
        options.add_argument(argument)
    folder = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.downloads = folder
    yield driver
    driver.quit()


class Page:
    """The page in the browser, and what a person does there."""

    def __init__(self, browser, url: str):
        self.browser, self.url = browser, url

    def open(self, query: str = "") -> "Page":
        self.browser.get(self.url + query)
        return self.settled()

    def run(self, script: str, *arguments):
        return self.browser.execute_script(f"return {script}", *arguments)

    def settled(self, condition: str = "true") -> "Page":
        """Wait until an answer is shown and a condition holds."""
        ready = (
            "document.readyState === 'complete' && !document.body.classList.contains('busy') && "
            "(document.querySelector('#status').textContent || !document.querySelector('#problem').hidden)"
        )
        end = time.monotonic() + 60
        while not self.run(f"Boolean({ready} && ({condition}))"):
            assert time.monotonic() < end, (condition, self.text("#problem"), self.browser.current_url)
            time.sleep(0.05)
        return self

    def all(self, selector: str) -> list:
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str):
        return self.browser.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.run("document.querySelector(arguments[0]).textContent", selector)

    @property
    def ids(self) -> list[str]:
        return self.run("[...document.querySelectorAll('.hit')].map((hit) => hit.dataset.id)")

    def press(self, keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(keys)

    def drop(self, content: bytes, name: str) -> None:
        self.browser.execute_script(DROP, base64.b64encode(content).decode(), name)

    def errors(self) -> list[str]:
        """What the browser complains about: scripts, blocked resources, failed requests."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def downloaded(self, name: str) -> Path:
        path, end = self.browser.downloads / name, time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < end, list(self.browser.downloads.iterdir())
            time.sleep(0.05)
        return path


@pytest.fixture
def page(browser, imaged):
    one = Page(browser, imaged.server.url)
    one.open()
    one.run("localStorage.clear()")
    one.errors()
    return one.open()


def test_an_image_that_is_dropped_finds_galaxies(page, imaged):
    page.drop(png(), "galaxy.png")
    page.settled("location.search.includes('vector=')")
    assert len(page.ids) == 14
    assert page.text("#heading") == "Like your image"
    pictures = "[...document.querySelectorAll('.hit img')].filter((image) => image.complete && image.naturalWidth)"
    page.settled(f"{pictures}.length >= 5")
    assert page.run("document.querySelector('#chosen img').src").startswith("data:image/jpeg")
    found, address = page.ids, page.browser.current_url
    # The address alone finds the same galaxies.
    query = address.split("?")[1]
    assert [hit["id"] for hit in imaged.get(f"/v1/similar?{query}")["hits"]] == found
    assert page.errors() == []


def test_a_galaxy_leads_to_its_neighbours_and_back(page):
    first = page.ids
    page.one(".hit:nth-child(3) a.frame").click()
    page.settled(f"location.search === '?like={first[2]}'")
    assert first[2] not in page.ids
    assert page.text("#heading") == f"Like {first[2]}"
    second = page.ids[0]
    page.one(".hit a.frame").click()
    page.settled(f"location.search === '?like={second}'")
    page.browser.back()
    page.settled(f"location.search === '?like={first[2]}' && document.querySelector('.hit').dataset.id === '{second}'")
    page.browser.back()
    page.settled("location.search === ''")
    assert page.ids == first


def test_a_filter_is_added_and_removed(page, imaged):
    before = page.ids
    page.one("#by-answer summary, #answer").click()
    page.run("document.querySelector('#answer').value = 'smooth_or_featured_smooth'")
    page.run("document.querySelector('#probability').value = '0.3'")
    page.one("#by-answer button").click()
    page.settled("location.search.includes('where=')")
    smooth = {name: imaged.index.row_of(name)["smooth_or_featured_smooth"] for name in before}
    assert page.ids == [name for name in before if smooth[name] >= 0.3]
    page.one("#conditions button").click()
    page.settled("location.search === '' || location.search === '?'")
    assert page.ids == before
    page.one("#where").send_keys("mag_rr < 20\n")
    page.settled("!document.querySelector('#problem').hidden")
    assert "There is no column 'mag_rr' in the index" in page.text("#problem")


def test_examples_are_ticked_by_keys_and_searched_together(page):
    from selenium.webdriver.common.keys import Keys

    names = page.ids
    page.one(".hit a.frame").send_keys(Keys.ARROW_RIGHT)
    page.press("l")
    page.press(Keys.ARROW_RIGHT)
    page.press("l")
    page.press(Keys.ARROW_RIGHT)
    page.press("u")
    assert len(page.all("#chosen li")) == 3
    assert page.run("document.activeElement.closest('.hit').dataset.id") == names[3]
    outline = "getComputedStyle(document.activeElement.closest('.hit')).boxShadow"
    assert page.run(outline) != "none", "the focus is visible"
    page.press("s")
    page.settled("location.search.includes('unlike=')")
    assert page.run("location.search") == f"?like={names[1]}&like={names[2]}&unlike={names[3]}"
    assert not set(names[1:4]) & set(page.ids)


def test_marked_galaxies_are_labelled_and_exported(page):
    names = page.ids
    page.one(".hit [data-action=mark]").click()
    page.run("(document.querySelector('#question').value = 'odd-feature')")
    page.run("document.querySelector('#question').dispatchEvent(new Event('change'))")
    from selenium.webdriver.common.keys import Keys

    page.one(".hit:nth-child(2) a.frame").send_keys("2")
    page.press(Keys.ARROW_RIGHT)
    page.press("1")
    assert page.text("#marked-count") == "3 marked, 2 labelled"
    page.open()
    assert page.text("#marked-count") == "3 marked, 2 labelled", "they stay"
    page.one("[data-export=labels]").click()
    rows = list(csv.DictReader(page.downloaded("labels.csv").open()))
    assert [(row["id"], row["question"], row["answer"]) for row in rows] == [
        (names[1], "odd-feature", "ring"),
        (names[2], "odd-feature", "none"),
    ]
    page.one("[data-export=csv]").click()
    table = list(csv.DictReader(page.downloaded("marked.csv").open()))
    assert [row["id"] for row in table] == names[:3]
    assert page.errors() == []


def test_all_answers_of_a_galaxy_are_shown(page, imaged):
    name = page.ids[0]
    page.one(".hit a.frame").send_keys("i")
    assert page.run("document.querySelector('#details').open")
    text = page.text("#details")
    assert all(word in text for word in (name, "spiral-arm-count", "dust-lane", "declination"))
    assert f"{imaged.index.row_of(name)['bar_weak']:.2f}" in text


def test_what_is_not_an_image_or_a_galaxy_is_one_sentence(page):
    page.drop(b"no image", "notes.txt")
    page.settled("!document.querySelector('#problem').hidden")
    assert "cannot be read as a picture" in page.text("#problem")
    page.one("#query").send_keys("nowhere\n")
    page.settled("document.querySelector('#problem').textContent.includes('nowhere')")
    assert "the nearest ids are" in page.text("#problem")


def test_what_an_address_holds_is_shown_and_not_run(page):
    hostile = "<img src=x onerror=\"document.body.dataset.run='yes'\">"
    page.open(f"?{urlencode({'where': hostile, 'like': hostile, 'unlike': hostile})}")
    page.settled("!document.querySelector('#problem').hidden")
    assert hostile in page.text("#conditions")
    assert hostile in page.text("#heading")
    assert page.run("document.body.dataset.run") is None


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_fits_and_has_a_name(page, width):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        page.open()
        page.one(".hit [data-action=mark]").send_keys(" ")
        assert page.run("document.documentElement.scrollWidth") <= width
        nameless = """[...document.querySelectorAll('a, button, input, select')].filter((one) =>
            !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).length"""
        assert page.run(nameless) == 0
        sizes = page.run("[...document.querySelectorAll('.buttons button')].map((one) => one.offsetHeight)")
        assert np.min(sizes) >= 24
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
