"""A headless Chromium, driven through its debugging pipe, so that tests need nothing but the browser itself."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-quic", "--disable-extensions", "--hide-scrollbars", "--mute-audio",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-color-profile=srgb", "--disable-dev-shm-usage",
)  # fmt: skip

# The browser reads commands from file 3 and writes answers to file 4.
_WITH_PIPES = """
import os, sys
pipes = [os.dup(os.dup(os.dup(int(number)))) for number in sys.argv[1:3]]
for place, pipe in enumerate(pipes, start=3):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser():
    """The path of a Chromium or Chrome; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `said` holds the errors and warnings of the console, exceptions and refused requests included."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [find_browser(), *_OPTIONS, *root, f"--user-data-dir={self.folder.name}", *options, "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WITH_PIPES, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        os.set_blocking(self._in, False)
        self._buffer, self._number, self._session = b"", 0, None
        self.said, self.asked = [], []
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self):
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)
        self.folder.cleanup()

    def call(self, method, **parameters):
        """A command of the Chrome DevTools Protocol. -> its result"""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for answer in self._received():
                if answer.get("id") == self._number:
                    assert "error" not in answer, answer
                    return answer["result"]
            time.sleep(0.005)
        raise TimeoutError(f"the browser does not answer {method}")

    def _received(self):
        """The messages that have come, events noted down. -> list of answers"""
        try:
            while part := os.read(self._in, 1 << 20):
                self._buffer += part
        except BlockingIOError:
            pass
        *whole, self._buffer = self._buffer.split(b"\0")
        answers = []
        for message in map(json.loads, whole):
            self._note(message.get("method"), message.get("params"))
            if "id" in message:
                answers.append(message)
        return answers

    def _note(self, event, parameters):
        if event == "Runtime.exceptionThrown":
            self.said.append(json.dumps(parameters["exceptionDetails"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.said.append(parameters["entry"]["text"])
        elif event == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(parameters["args"]))
        elif event == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"][:100])

    def run(self, expression):
        """The value of JavaScript in the page; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, path):
        """Open a page and wait until its 3-D view is ready or given up."""
        self.said.clear()
        self.asked.clear()
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def wait_for(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"never true: {condition}; console: {self.said}"
            time.sleep(0.03)

    def size(self, width, height, scale=1):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def media(self, name="", **features):
        features = [{"name": key.replace("_", "-"), "value": value} for key, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=name, features=features)

    def screenshot(self, whole=False, **clip):
        """The window, the whole page, or x, y, width, height of it. -> PNG as bytes"""
        parameters = {"captureBeyondViewport": True} if whole else {}
        if clip:
            parameters["clip"] = clip | {"scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **parameters)["data"])

    def pixels(self, selector):
        """What is seen of an element. -> (H, W, 3) uint8"""
        from matplotlib.image import imread

        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        box = self.run(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}; })()"
        )
        picture = imread(io.BytesIO(self.screenshot(**box)), format="png")
        return (picture[..., :3] * 255).round().astype(np.uint8)

    def click(self, selector):
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def mouse(self, kind, x, y, button="left", **more):
        held = {"left": 1, "right": 2, "none": 0}[button]
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1, **more)

    def key(self, key, shift=False):
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, " ": 32, "Enter": 13}
        parameters = {"key": key, "modifiers": 8 if shift else 0, "windowsVirtualKeyCode": code.get(key, ord(key[0]))}
        if key in ("Enter", " ") or len(key) == 1:
            parameters["text"] = "\r" if key == "Enter" else key
        self.call("Input.dispatchKeyEvent", type="keyDown", **parameters)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code.get(key, ord(key[0])))
