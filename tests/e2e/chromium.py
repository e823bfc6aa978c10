# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium by WebDriver (W3C), which Debian's chromium-driver speaks."""
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from configured import wait_until

# No sandbox, since tests may run as root in a container; nothing that talks to others by itself.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=800,720"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that W3C WebDriver gives elements
# Screenshots are artefacts of the build.
ARTEFACTS = pathlib.Path(os.environ.get("DACM_ARTEFACTS", tempfile.gettempdir()))


class Refused(Exception):
    pass


class Chromium:
    def __init__(self, more_flags=()):
        if not shutil.which("chromedriver") or not shutil.which("chromium"):
            raise AssertionError(
                "Chromium is missing: apt-get install chromium chromium-driver (scripts/test does)")
        self.home = tempfile.TemporaryDirectory(prefix="dacm-chromium-")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "HOME": self.home.name})
        told = ""
        while not (port := re.search(r"successfully on port (\d+)", told)):
            told = self.driver.stdout.readline()
            assert told, "chromedriver ended"
        self.base = f"http://127.0.0.1:{port[1]}"
        self.session = ""
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": True,
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": FLAGS + list(more_flags) + [f"--user-data-dir={self.home.name}/profile"]}}}})
        self.session = "/session/" + answer["sessionId"]
        self.call("POST", "/timeouts", {"implicit": 30000, "script": 110000})  # find() waits for its element

    def close(self):
        try:
            if self.session:
                self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(60)
            self.driver.stdout.close()
            self.home.cleanup()

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + self.session + path, method=method,
            data=None if method == "GET" else json.dumps(body or {}).encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)["value"]["message"]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    @property
    def url(self):
        return self.call("GET", "/url")

    def wait_title(self, title):
        """Waits for the page of that title."""
        wait_until(f"the page '{title}'", lambda: self.call("GET", "/title") == title)

    def forget(self):
        """Drops the cookies of the site that is open."""
        self.call("DELETE", "/cookie")

    def find(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def text(self, selector):
        return self.call("GET", f"/element/{self.find(selector)}/text")

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click")

    def keys(self, text):
        """Types into whatever has the focus."""
        focused = self.call("GET", "/element/active")[ELEMENT]
        self.call("POST", f"/element/{focused}/value", {"text": text})

    def script(self, text):
        return self.call("POST", "/execute/sync", {"script": text, "args": []})

    def promise(self, expression):
        """What a promise of the page comes to."""
        told = self.call("POST", "/execute/async", {"args": [], "script": (
            f"const end = arguments[0]; Promise.resolve().then(() => {expression})"
            ".then(value => end({value}), error => end({error: String(error)}))")})
        if "error" in told:
            raise Refused(told["error"])
        return told.get("value")

    def screenshot(self, name):
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        (ARTEFACTS / f"{name}.png").write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def complaints(self):
        """What the browser's console said since the last time: violated policies, say."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
                if "favicon" not in entry["message"]]
