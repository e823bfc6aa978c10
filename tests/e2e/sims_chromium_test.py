# SPDX-License-Identifier: Apache-2.0
"""The SIM-S's pages in a real browser: Chromium, headless. Screenshots are left as artefacts."""
import html
import http.server
import queue
import threading
import unittest
import urllib.parse

import chromium
import sims
from sims import PASSWORD, details, sim

GPSI = "msisdn-491110000001"


class Application:
    """A native application's loopback listener: where the browser is sent in the end."""

    def __init__(self):
        self.page = "<!doctype html><title>Back in the application</title>"
        arrived, application = queue.Queue(), self
        self.arrived = arrived

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                address = urllib.parse.urlsplit(self.path)
                if address.path == "/cb":
                    arrived.put((dict(urllib.parse.parse_qsl(address.query)),
                                 self.headers.get("Referer")))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(application.page.encode())

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self.server.server_port}/cb"

    def answer(self):
        return self.arrived.get(timeout=60)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = sims.Sims()
        cls.sims.add_user("anna", [GPSI], name="Anna A.")
        cls.app = cls.sims.add_client("app", name="Avatar Viewer",
                                      consent=sim.CONSENT_RULE_ALWAYS)
        cls.plain = cls.sims.add_client("plain", name="Plain")
        cls.asset = cls.sims.dacm.upload(
            b"avatar", cls.sims.dacm.users[0], allow=[GPSI]).asset_id
        cls.browser = chromium.Chromium()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        assert cls.sims.stop() == 0

    def setUp(self):
        self.application = Application()
        self.browser.open(self.sims.issuer + "/logout")
        self.browser.forget()
        self.browser.complaints()

    def tearDown(self):
        self.application.close()

    def open(self, client, **changes):
        client.redirect_uri = self.application.uri
        self.browser.open(f"{self.sims.issuer}/authorize?{client.query(**changes)}")

    def login(self, password=PASSWORD):
        self.browser.script("document.getElementById('username').value = ''")
        self.browser.type("#username", "anna")
        self.browser.type("#password", password)
        self.browser.click("button")

    def test_login_and_consent_lead_back_with_a_code(self):
        self.open(self.app, scope="openid profile seal.da",
                  authorization_details=details(self.asset))
        self.browser.wait_title("Log in")
        self.browser.screenshot("login")
        self.login()
        self.browser.wait_title("Allow access?")
        self.assertIn("Avatar Viewer", self.browser.text("main"))
        self.assertIn(self.asset, self.browser.text("ul"))
        self.browser.screenshot("consent")
        self.browser.click("button[value=allow]")
        answer, referer = self.application.answer()
        self.assertEqual((answer["state"], answer["iss"]), ("state-1", self.sims.issuer))
        self.assertIsNone(referer)
        self.browser.wait_title("Back in the application")
        self.assertEqual(self.app.exchange(answer["code"]).status, 200)
        self.assertEqual(self.browser.complaints(), [])

    def test_login_leads_straight_back_where_no_consent_is_needed(self):
        """Chromium applies form-action to the redirect that answers the form."""
        self.open(self.plain)
        self.login()
        answer, _ = self.application.answer()
        self.assertEqual(self.plain.exchange(answer["code"]).status, 200)
        self.open(self.plain, prompt="none")
        self.assertIn("code", self.application.answer()[0])
        self.assertEqual(self.browser.complaints(), [])

    def test_wrong_password_is_told_and_the_next_try_works(self):
        self.open(self.plain)
        self.login("wrong password")
        self.assertIn("not right", self.browser.text(".problem"))
        self.browser.screenshot("login-refused")
        self.assertEqual(self.browser.script("return document.activeElement.id"), "password")
        self.browser.keys(PASSWORD + "\n")
        self.assertIn("code", self.application.answer()[0])

    def test_denied(self):
        self.open(self.app)
        self.login()
        self.browser.click("button[value=deny]")
        self.assertEqual(self.application.answer()[0]["error"], "access_denied")

    def test_keyboard_alone_is_enough(self):
        self.open(self.app)
        self.browser.keys("anna\ue004" + PASSWORD + "\ue007")  # Tab, Enter
        self.browser.wait_title("Allow access?")
        self.browser.script("document.querySelector('button[value=allow]').focus()")
        self.browser.keys("\ue007")
        self.assertIn("code", self.application.answer()[0])

    def test_every_field_has_a_label_and_the_page_a_language(self):
        self.open(self.plain)
        self.assertEqual(self.browser.script("return document.documentElement.lang"), "en")
        self.assertEqual(self.browser.script(
            "return [...document.querySelectorAll('input:not([type=hidden])')]"
            ".filter(input => !input.labels.length).length"), 0)

    def test_style_is_applied_and_scripts_are_not(self):
        self.open(self.plain)
        self.assertEqual(self.browser.script(
            "return getComputedStyle(document.querySelector('main')).maxWidth"), "448px")
        self.browser.script("const s = document.createElement('script'); s.textContent = "
                            "'window.ran = true'; document.body.append(s)")
        self.assertIsNone(self.browser.script("return window.ran"))
        self.assertIn("Content Security Policy", " ".join(self.browser.complaints()))

    def test_page_is_not_framed(self):
        self.plain.redirect_uri = self.application.uri
        login = f"{self.sims.issuer}/authorize?{self.plain.query()}"
        self.application.page = f"<iframe src='{html.escape(login)}'></iframe>"
        self.browser.open(self.application.uri.replace("/cb", "/page"))
        self.browser.call("POST", "/frame", {"id": 0})
        try:
            self.assertEqual(self.browser.script("return location.href"),
                             "chrome-error://chromewebdata/")
        finally:
            self.browser.call("POST", "/frame", {"id": None})

    def test_logout(self):
        self.open(self.plain)
        self.login()
        self.application.answer()
        self.browser.open(self.sims.issuer + "/logout")
        self.assertIn("anna", self.browser.text("main"))
        self.browser.screenshot("logout")
        self.browser.click("button")
        self.browser.wait_title("Logged out")
        self.open(self.plain, prompt="none")
        self.assertEqual(self.application.answer()[0]["error"], "login_required")


if __name__ == "__main__":
    unittest.main()
