"""Headless Chromium, driven over its debugging pipe: no server, no network, no further package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_WAIT = 60.0  # seconds for an answer


class Browser:
    """One page of a browser with a profile of its own.

    Attributes:
        seen: every event of the page: console messages, exceptions, requests, dialogs.
    """

    def __init__(self, profile: Path, flags: Sequence[str] = ()) -> None:
        assert CHROMIUM
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--no-first-run",
        ]
        command = [CHROMIUM, *options, f"--user-data-dir={profile}", *flags, "about:blank"]
        redirected = [
            "bash",
            "-c",
            f'exec "$@" 3<&{read_commands} 4>&{write_answers}',
            "bash",
            *command,
        ]
        self._process = subprocess.Popen(
            redirected,
            pass_fds=(read_commands, write_answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.seen: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return dict(found["result"])
            self._note(found)

    def _note(self, event: dict[str, Any]) -> None:
        self.seen.append(event)
        if event.get("params", {}).get("type") == "beforeunload":
            self._number += 1
            message = {"id": self._number, "method": "Page.handleJavaScriptDialog"}
            message |= {"params": {"accept": True}, "sessionId": self._session}
            os.write(self._commands, json.dumps(message).encode() + b"\0")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], _WAIT)
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._answers, 1 << 20)
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path, *, scripts: bool = True, place: str = "") -> None:
        """Show a file, which is not the one that is shown, and wait until it and its script are
        there; a page that asks whether to leave it is left."""
        self.seen.clear()
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=page.as_uri() + place)
        until = time.monotonic() + _WAIT
        while not any(each.get("method") == "Page.loadEventFired" for each in self.seen):
            assert time.monotonic() < until
            self._note(self._read())
        if scripts:
            self.wait_for("!document.querySelector('.explorer[hidden]')")

    def run(self, expression: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """The text of every element that fits."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(self.run(f"{found}.map((each) => each.textContent)"))

    def wait_for(self, expression: str) -> None:
        """Return when an expression of the page is true."""
        until = time.monotonic() + _WAIT
        while not self.run(expression):
            assert time.monotonic() < until, expression

    def click(self, selector: str) -> None:
        """A click of the mouse into the middle of the first element that fits."""
        place = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            " found.scrollIntoView({ block: 'center' }); const box = found.getBoundingClientRect();"
            " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        mouse = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **mouse)

    def save_downloads(self, folder: Path) -> None:
        """Where files go that the page gives away."""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def press(self, key: str) -> None:
        """Enter, Tab or the space bar, as a person presses it."""
        code, text = {"Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " ")}[key]
        shared = {"key": key, "windowsVirtualKeyCode": code}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {})
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def screenshot(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        self.look(width, height, dark=dark)
        found = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the screen, and which colours its owner prefers."""
        narrow = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=narrow,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def complaints(self) -> list[str]:
        """What the page wrote to the console, raised, asked of the network, or asked the reader."""
        found: list[str] = []
        for each in self.seen:
            method, params = each.get("method", ""), each.get("params", {})
            if (
                method == "Network.requestWillBeSent"
                and params["request"]["url"] != params["documentURL"]
            ):
                found.append(f"request {params['request']['url']}")
            elif method in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
            ):
                found.append(json.dumps(params))
            elif method == "Page.javascriptDialogOpening" and params["type"] != "beforeunload":
                found.append("dialog")
        return found
