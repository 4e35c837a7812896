"""A real browser: Debian's chromium, without a window, on pages of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.waiting import wait_for

SWITCHES = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # It is to speak to the server under test, and to nobody else.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """A browser, and what tests ask of it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, port: int, *, user: str = "", path: str = "/") -> None:
        """Load a page; `user` is `name:password`."""
        self.driver.get(f"http://{user}{'@' if user else ''}127.0.0.1:{port}{path}")

    def run(self, script: str, *args: Any) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script, *args)

    def text(self, selector: str) -> str:
        """Return the text of the first element that a CSS selector finds."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def type(self, selector: str, text: str) -> None:
        """Let an input have a text, as if it were typed."""
        script = "const one = document.querySelector(arguments[0]); one.value = arguments[1];"
        self.run(f"{script} one.dispatchEvent(new Event('input'))", selector, text)

    def is_shown(self, selector: str) -> bool:
        """Whether that element takes up room."""
        return bool(self.run("return document.querySelector(arguments[0]).getClientRects().length", selector))

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table, by the names of its columns."""
        script = """
            const names = [...document.querySelectorAll(`#${arguments[0]} th`)].map((head) => head.textContent);
            return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) =>
                Object.fromEntries([...row.cells].map((cell, i) => [names[i], cell.textContent])));
        """
        return list(self.run(script, table))

    def resize(self, width: int, height: int = 900) -> None:
        """Let pages have a width and a height, in CSS pixels; a narrow one is a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str) -> None:
        """Prefer `dark` or `light`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        query = "return matchMedia(`(prefers-color-scheme: ${arguments[0]})`).matches"
        wait_for(lambda: self.run(query, scheme), what=f"the page is {scheme}")

    def complaints(self) -> list[str]:
        """Return what the console has shown since the last time: errors, warnings, violations of the policy."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Run a browser while the block runs.

    :param profile: an empty folder for all that it keeps
    """
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With both paths given, selenium looks for no driver and downloads none.
    driver = Chrome(options, Service(str(shutil.which("chromedriver"))))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
