# SPDX-License-Identifier: Apache-2.0
"""After flows of every kind, finished and refused: no password, code, token, cookie, secret, name
of a user or GPSI is in simsd's log, audit trail, metrics or health, and no credential in its store;
what happened is in the trail and counted."""
import json
import re
import unittest
import urllib.request

import sims
from sims import Browser, details

ANNA = "msisdn-491234509876"
NAME = "anna.of.the.secret.name"
OTHER = "bert.whose.name.is.nowhere"


def settings(server, config):
    config["log"] = {"level": "debug"}
    config["login"].update(attempts_per_user=2, attempt_per_user_s=3600, client_failures=2,
                           client_failure_s=3600)
    return config


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = server = sims.Sims(settings)
        cls.secrets = {}
        cls.subject = server.add_user(NAME, [ANNA], password="a secret password").sub
        app = server.add_client("app")
        web = server.add_client("web", "client_secret_basic", redirect_uris=["https://w/cb"])
        signed = server.add_client("signed", "private_key_jwt", grants=["client_credentials"])
        asset = server.dacm.upload(b"avatar", server.dacm.users[0], allow=[ANNA]).asset_id
        browser = Browser(server)
        page = browser.authorize(app, nonce="secret-nonce", login_hint=OTHER,
                                 authorization_details=details())
        browser.login(page, NAME, "a wrong password")
        code = browser.login(page, NAME, "a secret password").location[1]["code"]
        first = app.exchange(code).json
        second = app.refresh(first["refresh_token"], authorization_details=details(asset)).json
        assert "Digital_profile" in server.claims(second["access_token"])
        app.refresh(second["refresh_token"], authorization_details=details("no-such-asset"))
        app.refresh(first["refresh_token"])
        twice = browser.code(app, NAME)
        app.exchange(twice)
        app.exchange(twice)
        assertion = signed.assertion()
        own = signed.own(assertion).json
        signed.own(assertion)
        web.send("/introspect", {"token": second["access_token"]})
        right, web.secret = web.secret, "a-wrong-secret"
        for _ in range(3):
            web.send("/introspect", {"token": "x"})
        app.send("/revoke", {"token": first["access_token"]})
        server.get("/userinfo", {"Authorization": "Bearer " + first["access_token"]})
        stranger = Browser(server)
        page = stranger.authorize(app)
        for _ in range(4):
            stranger.login(page, OTHER, "another wrong password")
        cls.credentials = {
            "code": code, "other code": twice, "first refresh token": first["refresh_token"],
            "second refresh token": second["refresh_token"], "secret": right,
            **{f"cookie {name}": value for name, value in browser.cookies.items()},
            **{f"password {i}": text for i, text in enumerate(
                ("a secret password", "a wrong password", "another wrong password",
                 "a-wrong-secret"))}}
        cls.others = {
            "verifier": app.verifier, "user": NAME, "other user": OTHER, "GPSI": ANNA,
            "number": ANNA.split("-")[1], "subject": cls.subject, "nonce": "secret-nonce",
            "marks": sims.Forms(page.text).fields["csrf"], "assertion": assertion.split(".")[2],
            **{f"{name} {i}": part for name, token in (
                ("access", first["access_token"]), ("access", second["access_token"]),
                ("own", own["access_token"]), ("id", first["id_token"]))
               for i, part in enumerate(token.split(".")) if i > 0}}

    @classmethod
    def tearDownClass(cls):
        assert cls.sims.stop() == 0

    def told(self):
        """Everything that operators and their machines read."""
        for path in sorted((self.sims.dir / "sims" / "audit").iterdir()):
            if path.suffix == ".log":
                yield path.name, path.read_bytes()
        yield "log", self.sims.read_log().encode()
        for path in ("/metrics", "/healthz"):
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.sims.ops_port}{path}", timeout=30) as reply:
                yield path, reply.read()

    def test_nothing_secret_is_told(self):
        for where, text in self.told():
            self.assertGreater(len(text), 100, where)
            for what, secret in {**self.credentials, **self.others}.items():
                self.assertNotIn(secret.encode(), text, f"{what} in {where}")

    def test_store_has_no_credential(self):
        for path in (self.sims.dir / "sims" / "store").rglob("*"):
            if path.is_file():
                text = path.read_bytes()
                for what, secret in self.credentials.items():
                    self.assertNotIn(secret.encode(), text, f"{what} in {path}")

    def test_what_happened_is_in_the_trail(self):
        lines = b"".join(text for where, text in self.told() if where.startswith("audit-"))
        records = [json.loads(found) for found in re.findall(rb"\{.*\}", lines)]
        seen = {(record.get("event"), record.get("grant") or record.get("outcome"),
                 record.get("refused")) for record in records}
        for expected in (("login", "refused", None), ("login", "success", None),
                         ("authorize", None, None), ("token", "authorization_code", None),
                         ("token", "refresh_token", None),
                         ("token", "refresh_token", "invalid_authorization_details"),
                         ("token", "refresh_token", "invalid_grant"),
                         ("token", "authorization_code", "invalid_grant"),
                         ("token", "client_credentials", None), ("revoke", None, None)):
            self.assertIn(expected, seen)
        twice = [record for record in records if "used twice" in record.get("why", "")]
        self.assertEqual(len(twice), 2)

    def test_what_happened_is_counted(self):
        metrics = dict(self.told())["/metrics"].decode()

        def value(series):
            return float(re.search(f"(?m)^{re.escape(series)} (.*)$", metrics)[1])
        self.assertEqual(value('sim_logins_total{outcome="success"}'), 1)
        self.assertEqual(value('sim_logins_total{outcome="refused"}'), 3)
        self.assertEqual(value('sim_limit_reached_total{limit="logins_per_user"}'), 2)
        self.assertEqual(value('sim_limit_reached_total{limit="client_failures"}'), 1)
        issued = 'sim_token_requests_total{grant="%s",outcome="issued"}'
        self.assertEqual(value(issued % "authorization_code"), 2)
        self.assertEqual(value(issued % "refresh_token"), 1)
        self.assertEqual(value(issued % "client_credentials"), 1)


if __name__ == "__main__":
    unittest.main()
