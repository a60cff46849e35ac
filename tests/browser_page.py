"""A page in headless Chromium, driven over its DevTools protocol: open, wait, click, look."""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp


def chromium() -> str | None:
    """The browser's command; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


class Page:
    """Context manager: one tab. What is waited for is there within `patience` seconds, or TimeoutError."""

    def __init__(self, width: int = 1400, height: int = 1000, patience: float = 90.0) -> None:
        self.width, self.height, self.patience = width, height, patience
        self._number = 0

    def __enter__(self) -> "Page":
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = chromium()
        assert command is not None
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio",
            "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}",
            f"--window-size={self.width},{self.height}", "--no-first-run", "--disable-extensions",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [command, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        self._until(port_file.is_file, "Chromium did not start")
        time.sleep(0.2)
        port = port_file.read_text().splitlines()[0]
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect(port))
        for domain in ("Page", "Runtime"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._loop.run_until_complete(self._session.close())
        finally:
            self._loop.close()
            self._process.terminate()
            self._process.wait(20)
            self._profile.cleanup()

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"].get("exception", {}).get("description", script))
        return done["result"].get("value")

    @property
    def text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait_for(self, what: str | Callable[["Page"], bool]) -> None:
        """Until the page shows a text, or `what` says so."""
        shown = what if callable(what) else (lambda page: str(what) in page.text)
        name = what if isinstance(what, str) else "what was waited for"
        self._until(lambda: bool(shown(self)), f"not shown: {name}")

    def click(self, selector: str, text: str = "") -> None:
        """A real click in the middle of the first visible element that matches, and holds the text."""
        find = f"""(() => {{
          const all = [...document.querySelectorAll({json.dumps(selector)})].filter(e =>
            e.getClientRects().length && e.textContent.includes({json.dumps(text)}));
          const one = all.sort((a, b) => a.textContent.length - b.textContent.length)[0];
          if (!one) return null;
          one.scrollIntoView({{block: 'center'}});
          const r = one.getBoundingClientRect();
          return [r.x + r.width / 2, r.y + r.height / 2];
        }})()"""
        self._until(lambda: self.run(find) is not None, f"nothing to click: {selector} {text}")
        time.sleep(0.2)
        x, y = self.run(find)
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        time.sleep(0.3)

    def type(self, text: str, *, enter: bool = False) -> None:
        """Into what has the focus."""
        self._call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                self._call(
                    "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                    text="\r" if kind == "keyDown" else "",
                )  # fmt: skip
        time.sleep(0.3)

    def screenshot(self, path: Path) -> None:
        shown = self._call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shown["data"]))

    def _until(self, met: Callable[[], bool], message: str) -> None:
        end = time.monotonic() + self.patience
        while not met():
            if time.monotonic() > end:
                raise TimeoutError(message)
            time.sleep(0.25)

    async def _connect(self, port: str) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            tabs = await answer.json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._socket = await self._session.ws_connect(address, max_msg_size=0)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._ask(method, parameters), self.patience))

    async def _ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:  # events come between
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                found: dict[str, Any] = message["result"]
                return found
