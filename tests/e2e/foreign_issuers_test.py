# SPDX-License-Identifier: Apache-2.0
"""Issuers whose key sets are fetched (jwks_url, discovery): a key server of the test's own that
answers whatever a provider, or who poses as one, may answer, and npm oidc-provider as a real one."""
import base64
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time
import unittest
import urllib.parse
import urllib.request

import grpc

import harness
import ports
from configured import Issuer, Server, wait_until
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED


class KeyServer:
    """HTTPS on loopback; `answers` maps a path to (status, headers, body), or to a function that
    is given the handler. `asked` counts."""

    def __init__(self, certificate, key, plain=False):
        self.answers, self.asked, self.released = {}, {}, threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked[self.path] = outer.asked.get(self.path, 0) + 1
                answer = outer.answers.get(self.path, (404, {}, b""))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who does not trust us hangs up
        if not plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if plain else "https"
        self.url = f"{scheme}://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keys(self, path, *jwks):
        self.answers[path] = (200, {"content-type": "application/jwk-set+json"},
                              json.dumps({"keys": list(jwks)}).encode())

    def discovery(self, realm, issuer, jwks_path):
        self.answers[f"{realm}/.well-known/openid-configuration"] = (200, {}, json.dumps(
            {"issuer": issuer, "jwks_uri": self.url + jwks_path}).encode())

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Case(unittest.TestCase):
    """A dacmd and a key server for each class; settings of the fetched issuer by the class."""
    settings = {}

    @classmethod
    def setUpClass(cls):
        def configure(started, config):
            pki = started.dir / "pki"
            cls.web = KeyServer(pki / "dacmd.crt", pki / "dacmd.key")
            cls.issuer = Issuer("https://foreign.example")
            cls.web.keys("/keys", cls.issuer.jwk())
            config["issuers"].append(cls.entry(cls.issuer, jwks_url=cls.web.url + "/keys",
                                               jwks_ca_file=f"{pki}/ca.crt"))
            cls.more(started, config)
            return config
        cls.server = Server(configure)
        cls.owner, cls.listed = cls.server.users[0], cls.server.users[1]
        cls.asset = cls.server.upload(b"foreign", cls.owner, [cls.listed]).asset_id

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.read_log()
        cls.web.close()

    @classmethod
    def more(cls, started, config):
        pass

    @classmethod
    def entry(cls, issuer, **more):
        return {"issuer": issuer.name, "algorithms": [issuer.alg], **cls.settings, **more}

    def code(self, issuer=None, token=None):
        issuer = issuer or self.issuer
        token = token or issuer.token(self.server, self.listed, self.asset, [self.listed])
        request = da.AuthorizeRequest(asset_id=self.asset, gpsi=self.listed)
        with self.server.client() as channel:
            try:
                allowed = self.server.stub(channel).Authorize(
                    request, metadata=bearer(token), timeout=60).allowed
                return None if allowed else DENIED
            except grpc.RpcError as error:
                return error.code()

    def served(self, issuer=None):
        wait_until("the issuer's keys", lambda: self.code(issuer) is None)

    def said(self, text):
        wait_until(f"'{text}' in the log", lambda: text in self.server.read_log())

    def asked(self, path="/keys"):
        return self.web.asked.get(path, 0)


class Fetched(Case):
    settings = {"jwks_refresh_s": 1, "jwks_unknown_kid_s": 1}

    @classmethod
    def more(cls, started, config):
        ca = f"{started.dir}/pki/ca.crt"
        cls.found = Issuer(cls.web.url + "/realm", alg="ES256")
        cls.web.discovery("/realm", cls.found.name, "/realm/keys")
        cls.web.keys("/realm/keys", cls.found.jwk())
        config["issuers"].append(cls.entry(cls.found, discovery=True, jwks_ca_file=ca))
        cls.slash = Issuer(cls.web.url + "/slash/", alg="RS256")
        cls.web.discovery("/slash", cls.slash.name, "/slash-keys")
        bare = {name: value for name, value in cls.slash.jwk().items() if name != "alg"}
        cls.web.keys("/slash-keys", {"kty": "RSA", "use": "enc", "kid": "e", "alg": "RSA-OAEP",
                                     "n": bare["n"], "e": bare["e"]},
                     {"kty": "EC", "crv": "P-521", "kid": "other", "x": "AA", "y": "AA"}, bare)
        config["issuers"].append(cls.entry(cls.slash, discovery=True, jwks_ca_file=ca))
        cls.posing = Issuer(cls.web.url + "/posing")
        cls.web.discovery("/posing", cls.found.name, "/posing/keys")
        cls.web.keys("/posing/keys", cls.posing.jwk())
        config["issuers"].append(cls.entry(cls.posing, discovery=True, jwks_ca_file=ca))
        cls.unsigned = Issuer("https://other-ca.example")
        cls.web.keys("/unsigned", cls.unsigned.jwk())
        config["issuers"].append(cls.entry(cls.unsigned, jwks_url=cls.web.url + "/unsigned"))
        cls.downgraded = Issuer(cls.web.url + "/downgraded")
        cls.web.answers["/downgraded/.well-known/openid-configuration"] = (200, {}, json.dumps(
            {"issuer": cls.downgraded.name, "jwks_uri": "http://localhost:1/keys"}).encode())
        config["issuers"].append(cls.entry(cls.downgraded, discovery=True, jwks_ca_file=ca))

    def setUp(self):
        self.web.keys("/keys", self.issuer.jwk())
        self.served()

    def test_key_set_of_a_url(self):
        self.assertIsNone(self.code())
        forged = Issuer(self.issuer.name, kid=self.issuer.kid)
        self.assertEqual(self.code(forged), UNAUTHENTICATED)

    def test_key_set_by_discovery_with_keys_for_others_in_it(self):
        self.served(self.found)
        self.served(self.slash)  # an issuer that ends with a slash, an RSA key without `alg`

    def test_discovery_that_names_another_issuer_is_not_believed(self):
        self.said("with `issuer` as it is configured")
        self.assertEqual(self.code(self.posing), UNAUTHENTICATED)
        self.assertEqual(self.asked("/posing/keys"), 0)

    def test_discovery_that_leads_to_http_is_not_followed(self):
        self.said("is http://")
        self.assertEqual(self.code(self.downgraded), UNAUTHENTICATED)

    def test_certificate_of_another_ca_is_not_taken(self):
        self.said("other-ca.example")
        self.assertEqual(self.code(self.unsigned), UNAUTHENTICATED)
        self.assertEqual(self.asked("/unsigned"), 0)

    def test_new_key_is_taken_and_one_that_is_gone_is_refused(self):
        new = Issuer(self.issuer.name)
        old_token = self.issuer.token(self.server, self.listed, self.asset, [self.listed])
        self.assertEqual(self.code(new), UNAUTHENTICATED)  # at once; the set is asked for
        self.web.keys("/keys", self.issuer.jwk(), new.jwk())
        self.served(new)
        self.assertIsNone(self.code(token=old_token))
        self.web.keys("/keys", new.jwk())
        wait_until("the end of the old key", lambda: self.code(token=old_token) == UNAUTHENTICATED)
        self.assertIsNone(self.code(new))

    def test_running_download_under_a_key_that_is_gone_ends(self):
        large = self.server.upload(os.urandom(24 << 20), self.owner, [self.listed]).asset_id
        token = self.issuer.token(self.server, self.listed, large, [self.listed])
        with self.server.client() as channel:
            call = self.server.stub(channel).Download(
                da.DownloadRequest(asset_id=large, gpsi=self.listed), metadata=bearer(token),
                timeout=240)
            for _ in range(3):
                next(call)
            ends = self.server.read_log().count('"method": "Download"')
            self.web.keys("/keys", Issuer("x").jwk())
            wait_until("the end of the download", lambda: self.server.read_log().count(
                '"method": "Download"') > ends)
            with self.assertRaises(grpc.RpcError) as error:
                list(call)
        self.assertEqual(error.exception.code(), UNAUTHENTICATED)

    def test_what_cannot_be_fetched_or_used_leaves_the_last_set(self):
        manifest = json.loads((self.server.dir / "pki" / "manifest.pub.jwks").read_text())["keys"]
        for key in manifest:
            key.pop("dacm_purpose", None)
        private = json.loads((self.server.dir / "pki" / "token.jwks").read_text())
        jwk = self.issuer.jwk()

        def half(handler):
            handler.send_response(200)
            handler.send_header("content-length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"keys": [')

        for name, answer in (
                ("error", (500, {}, b"")), ("missing", (404, {}, b"")),
                ("no content", (204, {}, b"")),
                ("redirect", (302, {"location": self.web.url + "/realm/keys"}, b"")),
                ("html", (200, {}, b"<html>")), ("empty", (200, {}, b"")),
                ("no key", (200, {}, b'{"keys": []}')),
                ("twice", (200, {}, json.dumps({"keys": [jwk, jwk]}).encode())),
                ("private", (200, {}, json.dumps(private).encode())),
                ("manifest", (200, {}, json.dumps({"keys": manifest}).encode())),
                ("large", (200, {}, b" " * (257 << 10))), ("half", half)):
            with self.subTest(name):
                before = self.asked()
                self.web.answers["/keys"] = answer
                wait_until("two more fetches", lambda: self.asked() >= before + 2)
                self.assertIsNone(self.code())
                self.assertIn("jwks", [w["name"] for w in self.server.health()["warnings"]])
        self.assertNotIn('"d"', self.server.read_log())
        self.setUp()

    def test_locations_in_a_tokens_header_are_never_followed(self):
        for name in ("jku", "x5u"):
            token = self.issuer.token(self.server, self.listed, self.asset, [self.listed],
                                      header={name: self.web.url + "/evil", "kid": "evil"})
            self.assertEqual(self.code(token=token), UNAUTHENTICATED)
        before = self.asked()
        wait_until("another fetch", lambda: self.asked() > before)
        self.assertEqual(self.asked("/evil"), 0)

    def test_restart_and_reload_fetch_anew(self):
        for again in (lambda: (self.server.kill(), self.server.run()), self.server.reload):
            before = self.asked()
            again()
            self.served()
            wait_until("another fetch", lambda: self.asked() > before)


class UnknownKids(Case):
    settings = {"jwks_refresh_s": 86400, "jwks_unknown_kid_s": 2}

    def test_flood_of_unknown_kids_is_one_refresh_in_an_interval(self):
        self.served()
        before, began = self.asked(), time.monotonic()
        for _ in range(200):
            self.assertEqual(self.code(Issuer(self.issuer.name, key=self.issuer.key)),
                             UNAUTHENTICATED)
        wait_until("a refresh", lambda: self.asked() > before)
        most = (time.monotonic() - began) / 2 + 1
        self.assertLessEqual(self.asked() - before, most)
        self.assertIsNone(self.code())

    def test_wrong_signature_under_a_known_kid_asks_for_nothing(self):
        self.served()
        time_of_last = self.asked()
        forged = Issuer(self.issuer.name, kid=self.issuer.kid)
        for _ in range(20):
            self.assertEqual(self.code(forged), UNAUTHENTICATED)
        self.code(Issuer(self.issuer.name))  # this one does, and is the only one
        wait_until("a refresh", lambda: self.asked() > time_of_last)


class Aging(Case):
    settings = {"jwks_refresh_s": 1, "jwks_unknown_kid_s": 1, "jwks_max_age_s": 3}

    def test_set_that_grew_too_old_counts_no_more_until_it_is_fetched_again(self):
        self.served()
        self.web.answers["/keys"] = (503, {}, b"")
        wait_until("the end of the set", lambda: self.code() == UNAUTHENTICATED)
        self.said("older than jwks_max_age_s")
        self.web.keys("/keys", self.issuer.jwk())
        self.served()

    def test_server_stops_while_a_fetch_hangs(self):
        self.served()
        hangs = threading.Event()

        def hang(_):
            hangs.set()
            self.web.released.wait(60)
        self.web.answers["/keys"] = hang
        self.assertTrue(hangs.wait(60))
        self.assertEqual(self.server.terminate(), 0)
        self.web.keys("/keys", self.issuer.jwk())
        self.server.run()


class Settings(Case):
    def check(self, **entry):
        kept = json.dumps(self.server.config)
        self.server.config["issuers"][1] = {"issuer": "https://foreign.example", **entry}
        self.server.write_config()
        done = self.server.spawn(["--check-config"], stdout=-1, stderr=-1, text=True)
        out = "".join(done.communicate(timeout=60))
        self.server.config = json.loads(kept)
        self.server.write_config()
        return done.returncode, out

    def test_one_place_for_keys_and_only_https(self):
        url = "https://foreign.example/keys"
        self.assertEqual(self.check(jwks_url=url)[0], 0)
        self.assertEqual(self.check(discovery=True)[0], 0)
        local = "http://127.0.0.1:1/keys"
        self.assertEqual(self.check(jwks_url=local, jwks_allow_http=True)[0], 0)
        for entry in ({}, {"jwks_url": url, "discovery": True},
                      {"jwks_url": url, "jwks_file": "/x"}, {"jwks_url": local},
                      {"jwks_url": "http://foreign.example/", "jwks_allow_http": True},
                      {"jwks_url": "file:///etc/passwd"}, {"jwks_url": "ftp://foreign.example/"},
                      {"jwks_url": "https://user:pw@foreign.example/"}, {"jwks_url": "https://"},
                      {"jwks_url": url + "#x"}, {"jwks_url": "keys"},
                      {"issuer": "foreign", "discovery": True}):
            with self.subTest(entry=entry):
                code, out = self.check(**entry)
                self.assertNotEqual(code, 0)
                self.assertIn("issuers[1]", out)

    def test_http_on_loopback_where_it_is_asked_for(self):
        web = KeyServer(None, None, plain=True)
        issuer = Issuer("http://plain.example")
        web.keys("/keys", issuer.jwk())
        self.server.config["issuers"].append({
            "issuer": issuer.name, "jwks_url": web.url + "/keys", "jwks_allow_http": True})
        self.server.write_config()
        self.assertTrue(self.server.reload())
        self.served(issuer)
        web.close()


class OidcProvider(unittest.TestCase):
    """npm oidc-provider: an issuer nobody of us wrote, with claims named as it likes."""
    GPSI, USERS = "https://claims.example/gpsi", "https://claims.example/avatar_users"

    @classmethod
    def setUpClass(cls):
        cls.folder = harness.SOURCE / "tests" / "interop" / "node"
        if not (cls.folder / "node_modules" / "oidc-provider").exists():
            raise unittest.SkipTest("run `npm ci` in tests/interop/node (scripts/test does)")
        cls.server = Server()
        cls.owner, cls.listed, cls.unlisted = (*cls.server.users, "msisdn-4915199999999")[:3]
        cls.asset = cls.server.upload(b"oidc", cls.owner, [cls.listed]).asset_id

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.read_log()

    def run_provider(self, alg, claims):
        pki, port = self.server.dir / "pki", ports.reserve()
        process = subprocess.Popen(
            ["/usr/bin/node", "--experimental-global-webcrypto", "--no-warnings",
             self.folder / "provider.mjs", json.dumps({
                 "port": port, "certificate": str(pki / "dacmd.crt"), "key": str(pki / "dacmd.key"),
                 "resource": self.server.audience, "alg": alg, "claims": claims})],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait, 60)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.stdout.close()
        return f"https://localhost:{port}"

    def token(self, issuer, client):
        context = ssl.create_default_context(cafile=self.server.env["ca_file"])
        secret = base64.b64encode(f"{client}:only+for+this+test".encode()).decode()
        request = urllib.request.Request(issuer + "/token", urllib.parse.urlencode({
            "grant_type": "client_credentials", "scope": "seal.da",
            "resource": self.server.audience}).encode(), {"authorization": "Basic " + secret})
        with urllib.request.urlopen(request, context=context, timeout=60) as reply:
            return json.load(reply)["access_token"]

    def download(self, token, gpsi):
        with self.server.client() as channel:
            try:
                return self.server.download(
                    self.asset, gpsi, token, self.server.stub(channel))[0]
            except grpc.RpcError as error:
                return error.code()

    def use(self, issuer, alg, mode):
        self.server.config["issuers"] = self.server.config["issuers"][:1] + [{
            "issuer": issuer, "discovery": True, "jwks_ca_file": self.server.env["ca_file"],
            "algorithms": [alg], "mode": mode, "gpsi_claim": self.GPSI,
            "profile_claim": self.USERS, "jwks_unknown_kid_s": 1}]
        self.server.write_config()
        self.assertTrue(self.server.reload(), self.server.read_log()[-600:])

    def serves(self, token, gpsi):
        wait_until("the provider's keys", lambda: self.download(token, gpsi) == b"oidc")

    def test_mode_profile_takes_who_the_holder_is_from_the_providers_claim(self):
        issuer = self.run_provider("RS256", {"listed": {self.GPSI: self.listed},
                                             "unlisted": {self.GPSI: self.unlisted}})
        self.use(issuer, "RS256", "profile")
        token = self.token(issuer, "listed")
        self.serves(token, self.listed)
        self.assertEqual(self.download(token, self.owner), DENIED)
        self.assertEqual(self.download(self.token(issuer, "unlisted"), self.unlisted), DENIED)

    def test_mode_token_and_profile_needs_the_asset_and_the_list_too(self):
        details = [{"type": "digital_asset", "identifier": self.asset, "actions": ["get"]}]
        users = f"{self.owner} {self.listed}"
        good = {self.GPSI: self.listed, self.USERS: users, "authorization_details": details}
        other = [dict(details[0], identifier="another")]
        issuer = self.run_provider("ES256", {
            "good": good, "bare": {self.GPSI: self.listed},
            "other": dict(good, authorization_details=other),
            "alone": dict(good, **{self.USERS: self.owner})})
        self.use(issuer, "ES256", "token+profile")
        self.serves(self.token(issuer, "good"), self.listed)
        for client in ("bare", "other", "alone"):
            with self.subTest(client=client):
                self.assertEqual(
                    self.download(self.token(issuer, client), self.listed), DENIED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
