"""The picture of docs/how-to/explore.md: the page on a running `morph explore`, in Chromium.

python docs/images/explore.py http://127.0.0.1:8080/ "?like=ID"
"""

import shutil
import sys
import time
from pathlib import Path

from selenium import webdriver

#: Pixels of the window.
WIDTH, HEIGHT = 1280, 860

#: Choose a question for the labels, and mark and label three galaxies.
MARK = """
const choose = document.querySelector("#question");
choose.value = "bar";
choose.dispatchEvent(new Event("change"));
for (const number of [0, 2, 5]) document.querySelectorAll("[data-action=mark]")[number].click();
document.querySelectorAll("#answers button")[0].click();
"""


def main(url: str, query: str) -> None:
    """Draw docs/images/explore.png."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(url + query)
        end = time.monotonic() + 60
        while time.monotonic() < end and not browser.find_elements("css selector", ".hit"):
            time.sleep(0.2)
        browser.execute_script(MARK)
        time.sleep(5)
        browser.save_screenshot(str(Path(__file__).with_name("explore.png")))
    finally:
        browser.quit()


if __name__ == "__main__":
    main(*sys.argv[1:3])
