# SPDX-License-Identifier: Apache-2.0
"""Avatars as a viewer of others shows them: three.js and three-vrm in headless Chromium."""
import base64
import functools
import http.server
import json
import pathlib
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import chromium  # noqa: E402

# WebGL in software, so that pictures do not depend on the machine.
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
CAMERAS = ("front", "back", "side", "face")


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, files, **options):
        self.files = files
        super().__init__(*arguments, directory=HERE, **options)

    def do_GET(self):  # noqa: N802
        content = self.files.get(self.path)
        if content is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


class Viewer:
    """view() renders a file, compare() says how alike two of them look."""

    def __init__(self):
        if not (HERE / "node_modules").is_dir():
            raise AssertionError("three.js is missing: npm ci in tests/render (scripts/test does)")
        self.files = {}
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, files=self.files))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.browser = chromium.Chromium(SOFTWARE)
        self.browser.open(f"http://127.0.0.1:{self.server.server_address[1]}/index.html")
        self.browser.wait_title("ready")

    def close(self):
        self.browser.close()
        self.server.shutdown()
        self.server.server_close()

    def run(self, text):
        """An expression of the page, awaited."""
        return self.browser.promise(text)

    def view(self, name, content, like=None):
        """(facts, a PNG of each camera); with the cameras of the file viewed under that name."""
        path = "/files/" + name
        self.files[path] = content
        told = self.run(f"view({json.dumps(path)}, {json.dumps(like and '/files/' + like)})")
        del self.files[path]
        return told["facts"], [base64.b64decode(picture.split(",")[1])
                               for picture in told["pictures"]]

    def compare(self, first, second):
        """SSIM of each camera."""
        return self.run(f"compare({json.dumps('/files/' + first)}, {json.dumps('/files/' + second)})")

    def forget(self, name):
        self.run(f"forget({json.dumps('/files/' + name)})")
