"""Headless Chromium through its DevTools pipe: enough to open a page, press, look, and hear errors and requests."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip

# The browser reads commands from descriptor 3 and answers on 4.
_LAUNCH = """import os, sys
for i in (0, 1): os.dup2(int(sys.argv[1 + i]), 100 + i)
for i in (0, 1): os.dup2(100 + i, 3 + i)
os.execv(sys.argv[3], sys.argv[3:])"""


def find_chromium() -> str | None:
    """The program, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


class Browser:
    """One browser with one page. `problems`: console errors and exceptions; `requests`: every address asked for."""

    def __init__(self, program: str, profile: Path) -> None:
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._last = b"", 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, timeout: float = 60.0, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout
        while True:
            found = self._receive(until)
            if found.get("id") == number:
                assert "error" not in found, found["error"]
                return dict(found["result"])
            self._hear(found)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            read = os.read(self._in, 1 << 20)
            assert read, "the browser is gone"
            self._buffer += read
        line, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {params['message']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path: Path) -> None:
        """Open a file and wait until the report says that it is ready."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && !!window.spectraReport")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """One key, down and up."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = 13 if key == "Enter" else 0
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, path: Path, width: int = 1280, *, dark: bool = False) -> None:
        """The whole page as PNG, at a width, light or dark."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.run(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )  # the theme is heard of
        self.run("window.spectraReport.draw()")
        time.sleep(0.5)
        made = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(made["data"]))

    def close(self) -> None:
        """End the browser that this object started."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def quiet(browser: Browser, page: Path) -> None:
    """No console error, no dialog, and no request but the page itself, what it holds (data:) and what it made (blob:)."""
    browser.run("new Promise((done) => setTimeout(done, 200))")
    assert browser.problems == []
    assert {r for r in browser.requests if not r.startswith(("data:", "blob:"))} <= {page.as_uri(), "about:blank"}


def choose(browser: Browser, select: str, value: str) -> None:
    browser.run(
        f"(() => {{ const s = document.getElementById({json.dumps(select)}); s.value = {json.dumps(value)};"
        "for (const t of ['input', 'change']) s.dispatchEvent(new Event(t, { bubbles: true })); })()"
    )


def click(browser: Browser, selector: str, words: str) -> None:
    """Click the first element of a selector whose text or label has these words."""
    browser.run(
        f"[...document.querySelectorAll({json.dumps(selector)})]"
        f".find((e) => ((e.ariaLabel || '') + e.textContent).includes({json.dumps(words)})).click()"
    )


def downloaded(browser: Browser, folder: Path) -> list[dict[str, str]]:
    """The rows of the CSV that the page offers."""
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.getElementById('csv').click()")
    target, until = folder / "spectra.csv", time.monotonic() + 20
    while not target.exists():
        assert time.monotonic() < until, list(folder.iterdir())
        time.sleep(0.05)
    return list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
