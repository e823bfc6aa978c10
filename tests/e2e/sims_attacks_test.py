# SPDX-License-Identifier: Apache-2.0
"""What is tried on OpenID providers beyond the flows' own rules: mixed-up and injected answers,
parameters in the wrong place, borrowed credentials, browsers led astray, floods, and texts that
are more than they look. Each is refused, says no more than it may, and leaves what is good good."""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import time
import unittest
import urllib.parse
import urllib.request

import sims
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from harness import b64url, unb64url
from sims import ASSERTION_TYPE, PASSWORD, Browser, Forms, details, sim

ANNA, BERT = "msisdn-491110000001", "msisdn-491110000002"
ENDPOINTS = {"/authorize": "GET, HEAD, POST", "/login": "GET, HEAD, POST",
             "/consent": "GET, HEAD, POST", "/logout": "GET, HEAD, POST", "/token": "POST",
             "/introspect": "POST", "/revoke": "POST", "/userinfo": "GET, HEAD, POST",
             "/jwks.json": "GET, HEAD", "/.well-known/openid-configuration": "GET, HEAD",
             "/.well-known/oauth-authorization-server": "GET, HEAD"}


def settings(server, config):
    config["login"].update(attempts_per_address=1000, attempt_per_address_s=1,
                           attempts_per_user=50, client_failures=1000, client_failure_s=1)
    return config


def setUpModule():
    Base.sims = server = sims.Sims(settings)
    server.add_user("anna", [ANNA], name="Anna A.")
    server.add_user("bert", [BERT])
    Base.app = server.add_client("app", scopes=["openid", "profile", "seal.da", "seal.km"])
    Base.other = server.add_client("other")
    Base.asking = server.add_client("asking", consent=sim.CONSENT_RULE_ALWAYS)
    Base.web = server.add_client("web", "client_secret_basic",
                                 redirect_uris=["https://web.example/cb"])
    Base.signed = server.add_client(
        "signed", "private_key_jwt", redirect_uris=["https://signed.example/cb"],
        grants=["authorization_code", "refresh_token", "client_credentials"], users=[ANNA])
    Base.val = server.add_client(
        "val", "tls_client_auth", grants=["client_credentials"], scopes=["seal.da"],
        tls_san="val.dacm.localhost", bound=True)
    Base.val.certificate = "val"


def tearDownModule():
    assert Base.sims.stop() == 0


class Base(unittest.TestCase):
    def setUp(self):
        self.browser = Browser(self.sims)

    def tearDown(self):
        """Whatever was tried: the next one is served."""
        self.assertEqual(self.signed.own().status, 200)

    def logged_in(self, username="anna"):
        browser = Browser(self.sims)
        browser.code(self.app, username)
        return browser

    def tokens(self, client=None, username="anna", **changes):
        return self.browser.tokens(client or self.app, username, **changes)

    def error(self, reply, error, status=400):
        self.assertEqual((reply.status, reply.json["error"]), (status, error), reply.text)
        self.assertEqual(reply.header("cache-control"), "no-store")
        return reply

    def redirected(self, reply, error, client=None):
        address, answer = reply.location
        self.assertEqual(address, (client or self.app).redirect_uri)
        self.assertEqual((answer.get("error"), answer["iss"]), (error, self.sims.issuer))
        self.assertNotIn("code", answer)

    def page(self, reply, status=400):
        self.assertEqual(reply.status, status, reply.text)
        self.assertIsNone(reply.header("location"))
        return reply

    def announced(self, path, size):
        """The status of a form of that size, which is answered before it comes."""
        connection = http.client.HTTPSConnection(
            "localhost", self.sims.port, context=self.sims.context(), timeout=60)
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", "application/x-www-form-urlencoded")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    def active(self, token):
        return self.web.send("/introspect", {"token": token}).json["active"]


class WrongPlace(Base):
    """Each parameter counts where it belongs and nowhere else."""

    def test_parameters_of_the_token_request_in_the_query_are_nothing(self):
        code = self.browser.code(self.app, "anna")
        form = {"grant_type": "authorization_code", "code": code, "client_id": "app",
                "redirect_uri": self.app.redirect_uri, "code_verifier": self.app.verifier}
        for name in form:
            rest = {key: value for key, value in form.items() if key != name}
            path = "/token?" + urllib.parse.urlencode({name: form[name]})
            self.assertIn(self.sims.post(path, rest).status, (400, 401))
        self.assertIn(self.sims.post("/token?" + urllib.parse.urlencode(form), "").status,
                      (400, 401))
        self.assertEqual(self.sims.post("/token?code=other&client_id=other", form).status, 200)

    def test_request_by_post_takes_nothing_from_its_query(self):
        evil = urllib.parse.urlencode({"redirect_uri": "https://evil.example/", "client_id": "web"})
        reply = self.browser.post("/authorize?" + evil, self.app.query())
        _, answer = self.browser.login(reply, "anna").location
        self.assertIn("code", answer)
        self.page(self.browser.post("/authorize?" + self.app.query(), ""))

    def test_credentials_in_query_or_form_are_none(self):
        token = self.tokens()["access_token"]
        for reply in (self.sims.get("/userinfo?access_token=" + token),
                      self.sims.post("/userinfo", {"access_token": token}),
                      self.sims.get("/userinfo", {"dacm-token": token}),
                      self.sims.get("/userinfo", {"Cookie": "access_token=" + token})):
            self.assertEqual(reply.status, 401)
            self.assertIn("Bearer", reply.header("www-authenticate"))
        for path in ("/token", "/introspect", "/revoke"):
            form = {"grant_type": "client_credentials", "token": token}
            self.error(self.sims.post(path, {**form, "client_id": "web",
                                             "client_secret": self.web.secret}),
                       "invalid_client", 401)
            secret = urllib.parse.urlencode({"client_id": "web", "client_secret": self.web.secret})
            self.error(self.sims.post(path + "?" + secret, form), "invalid_client", 401)

    def test_parameter_twice_at_every_endpoint(self):
        token = self.tokens()["access_token"]
        for path in ("/token", "/introspect", "/revoke"):
            for twice in ("token=a&token=b", "client_id=app&client_id=web", "x=1&x=1",
                          "grant_type=client_credentials&grant_type=refresh_token",
                          "scope=openid&scope=seal.da", "resource=a&resource=b",
                          "token=" + token + "&%74oken=" + token):
                self.error(self.sims.post(path, twice), "invalid_request")

    def test_header_twice_is_none(self):
        _, headers = self.web.credentials()
        for name, value in (("Authorization", headers["Authorization"]),
                            ("Authorization", "Basic " + base64.b64encode(b"a:b").decode())):
            status, _ = self.raw("POST", "/token", b"grant_type=client_credentials",
                                 [("Authorization", headers["Authorization"]), (name, value)])
            self.assertEqual(status, 401)
        token = "Bearer " + self.tokens()["access_token"]
        status, _ = self.raw("GET", "/userinfo", None, [("Authorization", token)] * 2)
        self.assertEqual(status, 401)

    def raw(self, method, path, body, headers):
        connection = http.client.HTTPSConnection(
            "localhost", self.sims.port, context=self.sims.context(), timeout=60)
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        reply = connection.getresponse()
        status, text = reply.status, reply.read()
        connection.close()
        return status, text

    def test_content_types_that_are_no_form(self):
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": "app"})
        for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x",
                             "application/x-www-form-urlencodedx", "application/jwt", ""):
            self.assertEqual(self.sims.post("/token", form, {"Content-Type": content_type}).status,
                             415, content_type)
        reply = self.sims.post("/token", form, {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"})
        self.error(reply, "unauthorized_client")
        for encoding in ("gzip", "deflate", "br"):
            self.assertEqual(self.sims.post("/token", form, {"Content-Encoding": encoding}).status,
                             415)

    def test_unreadable_forms(self):
        for body in (b"\xff\xfe", b"grant_type=%ff", b"grant_type=%00", b"%", b"a=%zz",
                     b"grant_type=client_credentials&code=%c0%af"):
            for path in ("/token", "/introspect", "/revoke"):
                self.error(self.sims.post(path, body), "invalid_request")
        self.assertEqual(self.announced("/token", 100_000), 413)


class Methods(Base):
    def test_every_method_that_an_endpoint_has_not(self):
        for path, allowed in ENDPOINTS.items():
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECTX",
                           "HEAD", "get"):
                if method in allowed:
                    continue
                with self.subTest(path=path, method=method):
                    reply = self.sims.request(method, path)
                    self.assertIn(reply.status, (405, 501))
                    if reply.status == 405:
                        self.assertEqual(reply.header("allow"), allowed)
                    self.assertNotIn("cookie", reply.text.lower())

    def test_no_endpoint_shares_with_other_origins(self):
        """CORS: nothing here is for scripts of other pages, the authorization endpoint least."""
        token = self.tokens()["access_token"]
        origin = {"Origin": "https://evil.example", "Cookie": "x=y"}
        for path in ENDPOINTS:
            for method in ("OPTIONS", "GET", "POST"):
                reply = self.sims.request(method, path, None, {
                    **origin, "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization",
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Authorization": "Bearer " + token})
                for name, _ in reply.headers:
                    self.assertFalse(name.lower().startswith("access-control-"), (path, name))

    def test_paths_that_are_nearly_ones(self):
        for path in ("/token/", "//token", "/Token", "/token%2f", "/%74oken", "/./token",
                     "/x/../token", "/token;x", "/authorize/../login", "/.well-known/",
                     "/.well-known/openid-configuration/", "/par", "/register", "/device"):
            self.assertEqual(self.sims.request("GET", path).status, 404, path)

    def test_host_header_changes_no_address(self):
        right = self.sims.metadata
        for name in ("Host", "X-Forwarded-Host", "Forwarded", "X-Original-Host"):
            value = "host=evil.example" if name == "Forwarded" else "evil.example"
            reply = self.sims.get("/.well-known/openid-configuration", {name: value})
            if reply.status == 200:
                self.assertEqual(reply.json, right)
            page = self.sims.get("/authorize?" + self.app.query(), {name: value})
            self.assertNotIn("evil.example", page.text + str(page.headers))

    def test_what_is_told_is_stored_by_nobody(self):
        tokens = self.tokens()
        bearer = {"Authorization": "Bearer " + tokens["access_token"]}
        answers = [self.signed.own(), self.app.refresh(tokens["refresh_token"]),
                   self.web.send("/introspect", {"token": "x"}),
                   self.app.send("/revoke", {"token": "x"}), self.sims.get("/userinfo", bearer),
                   self.sims.get("/userinfo"), self.app.exchange("x"),
                   self.browser.authorize(self.app), self.browser.get("/logout")]
        for reply in answers:
            self.assertEqual(reply.header("cache-control"), "no-store", reply.text)
            self.assertEqual(reply.header("x-content-type-options"), "nosniff")
        for reply in answers[:2]:
            self.assertEqual(reply.header("pragma"), "no-cache")

    def test_redirect_with_a_code_leaks_nothing_and_is_a_303(self):
        """RFC 9700 4.12: 307 would send the password on; 4.2.4: no Referer carries the code."""
        page = self.browser.authorize(self.app)
        done = self.browser.login(page, "anna")
        again = self.browser.authorize(self.app)
        asked = self.browser.submit(self.browser.authorize(self.asking), decision="allow")
        for reply in (done, again, asked):
            self.assertEqual(reply.status, 303)
            self.assertEqual(reply.header("referrer-policy"), "no-referrer")
            self.assertEqual(reply.header("cache-control"), "no-store")
            self.assertEqual(reply.body, b"")
            self.assertIn("code", reply.location[1])

    def test_no_page_can_be_framed(self):
        for reply in (self.browser.authorize(self.app), self.browser.get("/login"),
                      self.browser.get("/consent"), self.browser.get("/logout"),
                      self.browser.get("/nowhere"), self.browser.get("/token"),
                      self.browser.authorize(self.app, client_id="x")):
            self.assertIn("frame-ancestors 'none'", reply.header("content-security-policy"))

    def test_plain_http_and_old_tls_get_nothing(self):
        with socket.create_connection(("127.0.0.1", self.sims.port)) as plain:
            plain.sendall(b"POST /token HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1 200", plain.recv(4096))
        for version in ("-tls1", "-tls1_1"):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", f"localhost:{self.sims.port}", version,
                 "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=60)
            self.assertNotEqual(done.returncode, 0, version)


class MixedUp(Base):
    def test_every_answer_of_the_authorization_endpoint_names_its_issuer(self):
        """RFC 9207: a client that talks to several providers sees whose answer it has."""
        self.assertTrue(self.sims.metadata["authorization_response_iss_parameter_supported"])
        for changes in ({}, {"scope": "nothing"}, {"prompt": "none"}, {"response_type": "token"},
                        {"request": "e30.e30."}):
            reply = Browser(self.sims).authorize(self.app, **changes)
            if reply.status == 200:
                reply = self.browser.login(self.browser.authorize(self.app), "anna")
            self.assertEqual(reply.location[1]["iss"], self.sims.issuer)
        denied = self.browser.submit(self.browser.authorize(self.asking), decision="deny")
        self.assertEqual(denied.location[1]["iss"], self.sims.issuer)

    def test_code_injected_into_another_session_is_refused(self):
        """The victim's client has another verifier; the code stays the attacker's own."""
        attacker = Browser(self.sims).code(self.app, "bert")
        mine, self.app.verifier = self.app.verifier, b64url(os.urandom(32))
        try:
            self.error(self.app.exchange(attacker), "invalid_grant")
        finally:
            self.app.verifier = mine
        claims = self.sims.claims(self.app.exchange(attacker).json["access_token"])
        self.assertEqual(claims["gpsi"], BERT)

    def test_pkce_cannot_be_left_out_or_weakened(self):
        self.assertEqual(self.sims.metadata["code_challenge_methods_supported"], ["S256"])
        challenge = b64url(hashlib.sha256(self.app.verifier.encode()).digest())
        for changes in ({"code_challenge": None}, {"code_challenge_method": None},
                        {"code_challenge_method": "plain"}, {"code_challenge_method": "s256"},
                        {"code_challenge_method": "S512"}, {"code_challenge": challenge + "="},
                        {"code_challenge": challenge[:-1]}, {"code_challenge": ""},
                        {"code_challenge": "+" * 43}):
            for client in (self.app, self.web, self.signed):
                self.redirected(self.browser.authorize(client, **changes), "invalid_request",
                                client)
        code = self.browser.code(self.app, "anna")
        for verifier in (challenge, self.app.verifier + "x", self.app.verifier[:-1], "", None):
            self.assertEqual(self.app.exchange(code, code_verifier=verifier).status, 400)
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_access_token_of_another_login_does_not_fit_the_id_token(self):
        """at_hash, by which a client sees that a token was swapped (OpenID Connect Core 3.1.3.8)."""
        one, two = self.tokens(), self.tokens()
        def half(token):
            return b64url(hashlib.sha512(token.encode()).digest()[:32])
        at_hash = self.sims.claims(one["id_token"], "JWT")["at_hash"]
        self.assertEqual(at_hash, half(one["access_token"]))
        self.assertNotEqual(at_hash, half(two["access_token"]))

    def test_request_objects_and_pushed_requests_are_refused(self):
        mine = "http://127.0.0.1:1/request"
        for changes, error in (({"request": "e30.e30."}, "request_not_supported"),
                               ({"request_uri": mine}, "request_uri_not_supported"),
                               ({"request_uri": "urn:ietf:params:oauth:request_uri:x"},
                                "request_uri_not_supported"),
                               ({"registration": "{}"}, "registration_not_supported")):
            self.redirected(self.browser.authorize(self.app, **changes), error)
        metadata = self.sims.metadata
        self.assertFalse(metadata["request_parameter_supported"])
        self.assertFalse(metadata["request_uri_parameter_supported"])
        for name in ("pushed_authorization_request_endpoint", "registration_endpoint",
                     "device_authorization_endpoint", "check_session_iframe"):
            self.assertNotIn(name, metadata)

    def test_response_modes_and_types_that_put_secrets_elsewhere(self):
        for mode in ("fragment", "form_post", "query.jwt", "jwt", "web_message", "QUERY"):
            self.redirected(self.browser.authorize(self.app, response_mode=mode),
                            "invalid_request")
        for kind in ("token", "id_token", "id_token token", "code token", "code id_token", "none",
                     "CODE", "code code", " code"):
            self.redirected(self.browser.authorize(self.app, response_type=kind),
                            "unsupported_response_type")
        page = self.browser.authorize(self.app, response_mode="query")
        self.assertIn("code", self.browser.login(page, "anna").location[1])

    def test_grants_that_there_are_not(self):
        for grant in ("password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer",
                      "urn:ietf:params:oauth:grant-type:device_code", "AUTHORIZATION_CODE",
                      "urn:ietf:params:oauth:grant-type:token-exchange", "authorization_code "):
            self.error(self.app.send("/token", {
                "grant_type": grant, "username": "anna", "password": PASSWORD,
                "assertion": "e30.e30.", "subject_token": "x"}), "unsupported_grant_type")

    def test_redirect_uri_at_the_token_endpoint_of_another_client(self):
        code = self.browser.code(self.app, "anna")
        for uri in (self.web.redirect_uri, self.signed.redirect_uri, "http://127.0.0.1/cb",
                    self.app.redirect_uri.upper(), self.app.redirect_uri + "?"):
            self.error(self.app.exchange(code, redirect_uri=uri), "invalid_grant")
        self.assertEqual(self.app.exchange(code).status, 200)


class Hint(Base):
    """id_token_hint: a code for that user, or none."""

    def hint(self, username="anna", client=None):
        browser = Browser(self.sims)
        client = client or self.app
        return client.exchange(browser.code(client, username)).json["id_token"]

    def test_silent_answer_is_for_the_hinted_user_only(self):
        browser = self.logged_in("bert")
        self.redirected(browser.authorize(self.app, prompt="none", id_token_hint=self.hint()),
                        "login_required")
        for hint in (self.hint("bert"), None):
            reply = browser.authorize(self.app, prompt="none", id_token_hint=hint)
            self.assertIn("code", reply.location[1])

    def test_another_user_is_asked_to_log_in_and_refused_then(self):
        browser, hint = self.logged_in("bert"), self.hint()
        page = self.page(browser.authorize(self.app, id_token_hint=hint), 200)
        self.assertIn('name="password"', page.text)
        self.redirected(browser.login(page, "bert"), "login_required")
        page = browser.authorize(self.app, id_token_hint=hint)
        self.assertIn("code", browser.login(page, "anna").location[1])
        self.assertIn("code", browser.authorize(self.app, id_token_hint=hint).location[1])

    def test_consent_is_asked_of_the_hinted_user_only(self):
        browser, hint = self.logged_in("bert"), self.hint(client=self.app)
        self.redirected(browser.authorize(self.asking, id_token_hint=hint), "invalid_request",
                        self.asking)  # another client's
        tokens = Browser(self.sims).tokens(self.asking, "anna")
        page = browser.authorize(self.asking, id_token_hint=tokens["id_token"])
        self.redirected(browser.login(page, "bert"), "login_required", self.asking)

    def test_what_is_no_id_token_of_ours_for_this_client(self):
        tokens = self.tokens()
        head, body, signature = tokens["id_token"].split(".")
        none = b64url(b'{"alg":"none","typ":"JWT"}')
        for hint in ("x", "..", tokens["access_token"], tokens["refresh_token"],
                     f"{head}.{body}.", f"{none}.{body}.", f"{head}.{body}.{signature[:-2]}",
                     self.hint(client=self.other), self.signed.assertion(), "a" * 5000):
            self.redirected(self.browser.authorize(self.app, id_token_hint=hint),
                            "invalid_request")


class Clients(Base):
    def refused(self, reply):
        return self.error(reply, "invalid_client", 401)

    def test_each_client_with_the_name_alone(self):
        for client in (self.web, self.signed):
            code = self.browser.code(client, "anna")
            tokens = client.exchange(code).json
            for form in ({"grant_type": "authorization_code", "code": code,
                          "redirect_uri": client.redirect_uri,
                          "code_verifier": client.verifier},
                         {"grant_type": "refresh_token",
                          "refresh_token": tokens["refresh_token"]},
                         {"grant_type": "client_credentials"}):
                self.refused(self.sims.post("/token", {**form, "client_id": client.client_id}))
            for path in ("/introspect", "/revoke"):
                self.refused(self.sims.post(path, {"token": tokens["access_token"],
                                                   "client_id": client.client_id}))
            self.assertEqual(client.refresh(tokens["refresh_token"]).status, 200)

    def test_each_client_by_the_method_of_another(self):
        _, secret = self.web.credentials()
        for client_id in ("app", "signed", "val", "nobody", "web "):
            pair = base64.b64encode(f"{client_id}:{self.web.secret}".encode()).decode()
            self.refused(self.sims.post("/token", {"grant_type": "client_credentials"},
                                        {"Authorization": "Basic " + pair}))
        fields, _ = self.signed.credentials()
        for changes in ({"iss": "web", "sub": "web"}, {"iss": "app", "sub": "app"},
                        {"iss": "val", "sub": "val"}, {"iss": "nobody", "sub": "nobody"}):
            self.refused(self.sims.post("/token", {
                "grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self.signed.assertion(**changes)}))
        for client_id in ("web", "signed"):  # a certificate instead of what is registered
            self.refused(self.sims.post("/token", {
                "grant_type": "client_credentials", "client_id": client_id}, certificate="val"))

    def test_certificate_of_another_client(self):
        for certificate in ("sims", "admin", "dacmd", None):
            self.val.certificate = certificate
            try:
                self.refused(self.val.own())
                self.refused(self.val.send("/introspect", {"token": "x"}))
            finally:
                self.val.certificate = "val"
        self.assertEqual(self.val.own().status, 200)

    def test_certificate_that_a_proxy_forwards(self):
        pem = urllib.parse.quote((self.sims.dir / "pki" / "val.crt").read_text())
        for name in ("X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "SSL-Client-Cert",
                     "Client-Cert", "X-Client-Cert", "X-Forwarded-Tls-Client-Cert"):
            for mtls in (False, True):
                self.refused(self.sims.post(
                    "/token", {"grant_type": "client_credentials", "client_id": "val"},
                    {name: pem}, mtls=mtls))

    def test_assertions_of_every_wrong_kind(self):
        now, ours = int(time.time()), self.sims.issuer
        for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256"}, {"crit": ["x"]},
                       {"crit": ["b64"], "b64": False}, {"jku": "http://127.0.0.1:1/"},
                       {"jwk": {"kty": "OKP"}}, {"x5c": []}, {"typ": "at+jwt"},
                       {"typ": "logout+jwt"}, {"typ": ["JWT"]}, {"cty": "JWT"}, {"zip": "DEF"},
                       {"kid": "../x"}, {"kid": ""}):
            with self.subTest(header=header):
                self.refused(self.signed.own(self.signed.assertion(header=header)))
        for claims in ({"aud": [ours, "https://other-provider.example"]},
                       {"aud": ["https://other-provider.example/token", ours + "/token"]},
                       {"aud": ours + "/introspect"}, {"aud": self.sims.dacm.audience},
                       {"aud": "signed"}, {"sub": "Signed", "iss": "Signed"},
                       {"iss": ours}, {"jti": ""}, {"jti": 7}, {"jti": "x" * 256},
                       {"exp": now + 100_000}, {"iat": now + 300}, {"nbf": now + 300},
                       {"exp": now - 31}, {"exp": str(now + 60)}, {"exp": 2**53}):
            with self.subTest(claims=claims):
                self.refused(self.signed.own(self.signed.assertion(**claims)))
        self.refused(self.signed.own(self.signed.assertion(key=Ed25519PrivateKey.generate())))
        good = self.signed.assertion()
        for text in (good + ".", good[:-1], good.replace(".", "..", 1), good + " ",
                     good.split(".")[0] + ".." + good.split(".")[2], "e30.e30.e30.e30.e30"):
            self.refused(self.signed.own(text))
        self.assertEqual(self.signed.own(good).status, 200)

    def test_assertion_is_good_once_at_whatever_endpoint(self):
        tokens = self.tokens()
        uses = (("/token", {"grant_type": "client_credentials"}),
                ("/introspect", {"token": tokens["access_token"]}),
                ("/revoke", {"token": "x"}))
        for first, form in uses:
            assertion = self.signed.assertion()
            self.assertEqual(self.signed.send(first, form, assertion).status, 200)
            for path, again in uses:
                self.refused(self.signed.send(path, again, assertion))

    def test_client_that_is_named_as_a_users_sub_is_not_that_user(self):
        """RFC 9700 4.15: a client's own token says who it is, never that it is somebody."""
        sub = self.sims.claims(self.tokens()["access_token"])["sub"]
        client = self.sims.add_client(sub, "private_key_jwt", grants=["client_credentials"],
                                      scopes=["openid", "profile", "seal.da"])
        self.error(client.own(scope="openid seal.da"), "invalid_scope")
        token = client.own().json["access_token"]
        claims = self.sims.claims(token)
        self.assertEqual((claims["sub"], claims["client_id"]), (sub, sub))
        for name in ("gpsi", "auth_time", "acr", "Digital_profile"):
            self.assertNotIn(name, claims)
        bearer = {"Authorization": "Bearer " + token}
        self.assertEqual(self.sims.get("/userinfo", bearer).status, 403)
        self.error(client.own(authorization_details=details("a", users=[ANNA])),
                   "invalid_authorization_details")


class Tokens(Base):
    def test_each_kind_of_secret_in_the_place_of_another(self):
        tokens = self.tokens()
        code = self.browser.code(self.app, "anna")
        secrets = {"access": tokens["access_token"], "id": tokens["id_token"],
                   "refresh": tokens["refresh_token"], "code": code,
                   "session": self.browser.cookies["__Host-sim-session"],
                   "form": self.browser.cookies["__Host-sim-form"]}
        for name, secret in secrets.items():
            with self.subTest(name=name):
                if name != "code":
                    self.error(self.app.exchange(secret), "invalid_grant")
                if name != "refresh":
                    self.error(self.app.refresh(secret), "invalid_grant")
                if name != "access":
                    self.assertFalse(self.active(secret))
                    self.assertEqual(self.sims.get(
                        "/userinfo", {"Authorization": "Bearer " + secret}).status, 401)
                if name != "session":
                    stranger = Browser(self.sims)
                    stranger.cookies["__Host-sim-session"] = secret[:128]
                    self.redirected(stranger.authorize(self.app, prompt="none"), "login_required")
        self.assertEqual(self.app.exchange(code).status, 200)
        self.assertEqual(self.app.refresh(tokens["refresh_token"]).status, 200)

    def test_refresh_token_at_another_client_ends_nothing_even_when_it_was_used(self):
        first = self.tokens()
        second = self.app.refresh(first["refresh_token"]).json
        for client in (self.other, self.web, self.signed):
            for tokens in (first, second):
                self.error(client.refresh(tokens["refresh_token"]), "invalid_grant")
                self.assertEqual(client.send("/revoke", {
                    "token": tokens["refresh_token"]}).status, 200)
        self.assertTrue(self.active(second["access_token"]))
        self.assertEqual(self.app.refresh(second["refresh_token"]).status, 200)

    def test_refresh_token_used_again_by_a_thief_ends_the_family_of_both(self):
        stolen = self.tokens()
        own = self.app.refresh(stolen["refresh_token"]).json  # the victim
        self.error(self.app.refresh(stolen["refresh_token"]), "invalid_grant")  # the thief
        for tokens in (stolen, own):
            self.assertFalse(self.active(tokens["access_token"]))
            self.error(self.app.refresh(tokens["refresh_token"]), "invalid_grant")
        self.assertEqual(self.app.refresh(self.tokens()["refresh_token"]).status, 200)

    def test_nothing_is_widened_at_exchange_or_refresh(self):
        code = self.browser.code(self.app, "anna", scope="openid seal.da")
        self.error(self.app.exchange(code, scope="openid seal.da seal.km"), "invalid_scope")
        tokens = self.app.exchange(code, scope="openid").json
        self.assertEqual(tokens["scope"], "openid")
        for scope in ("openid seal.da seal.km", "seal.km", "openid profile", "offline_access",
                      "openid\tseal.da", "OPENID", "seal.da.x", "*"):
            self.error(self.app.refresh(tokens["refresh_token"], scope=scope), "invalid_scope")
        self.error(self.app.refresh(tokens["refresh_token"], resource="https://elsewhere.example/"),
                   "invalid_target")
        self.error(self.app.refresh(tokens["refresh_token"],
                                    authorization_details=details("a")),
                   "invalid_authorization_details")
        again = self.app.refresh(tokens["refresh_token"], scope="openid openid  seal.da openid")
        self.assertEqual(again.json["scope"], "openid seal.da")
        claims = self.sims.claims(again.json["access_token"])
        self.assertEqual(claims["scope"], "openid seal.da")
        self.assertEqual(claims["aud"], self.sims.dacm.audience)

    def test_resource_that_there_is_not(self):
        ours = self.sims.dacm.audience
        for resource in ("https://elsewhere.example/", ours[:-1], ours + "#x", ours.upper(),
                         self.sims.issuer, "app", "*", "/"):
            self.redirected(self.browser.authorize(self.app, resource=resource), "invalid_target")
            self.error(self.signed.own(resource=resource), "invalid_target")

    def test_scopes_that_are_no_scopes(self):
        for scope in ("openid \u0441eal.da", "openid seal.da\0", "openid\nseal.da", "openid \"",
                      "openid " + "x" * 2000, "openid <b>", "openid seal.d\u200ba"):
            reply = self.browser.authorize(self.app, scope=scope)
            if reply.status == 303:
                self.assertIn(reply.location[1]["error"], ("invalid_scope", "invalid_request"))
            else:
                self.page(reply)
        page = self.browser.authorize(self.app, scope="openid openid  seal.da seal.da")
        code = self.browser.login(page, "anna").location[1]["code"]
        self.assertEqual(self.app.exchange(code).json["scope"], "openid seal.da")

    def test_introspection_tells_strangers_nothing(self):
        token = self.tokens()["access_token"]
        for headers in ({}, {"Authorization": "Bearer " + token}, {"Authorization": "Basic Og=="}):
            reply = self.sims.post("/introspect", {"token": token}, headers)
            self.error(reply, "invalid_client", 401)
            self.assertNotIn("active", reply.json)
        for token in ("", " ", "x" * 60000, "a.b.c", "\u2603", "null"):
            reply = self.web.send("/introspect", {"token": token})
            if reply.status == 200:
                self.assertEqual(reply.json, {"active": False})
            else:
                self.assertIn(reply.status, (400, 413))

    def test_revocation_by_a_wrong_hint_still_revokes_and_of_a_code_does_nothing(self):
        tokens = self.tokens()
        reply = self.app.send("/revoke", {"token": tokens["access_token"],
                                          "token_type_hint": "refresh_token"})
        self.assertEqual(reply.status, 200)
        self.assertFalse(self.active(tokens["access_token"]))
        for hint in ("access_token", "nonsense", "\u2603"):
            reply = self.app.send("/revoke", {"token": self.tokens()["refresh_token"],
                                              "token_type_hint": hint})
            self.assertEqual(reply.status, 200)
        code = self.browser.code(self.app, "anna")
        self.assertEqual(self.app.send("/revoke", {"token": code}).status, 200)
        self.assertEqual(self.app.exchange(code).status, 200)


class Logins(Base):
    def answers(self, pairs):
        self.browser, seen = Browser(self.sims), set()
        page = self.browser.authorize(self.app)
        fields = Forms(page.text).fields
        for username, password in pairs:
            reply = self.browser.post("/login", {**fields, "username": username,
                                                 "password": password})
            seen.add((reply.status, re.sub(r'value="[^"]*"( autofocus)?', "", reply.text),
                      tuple(sorted(name for name, _ in reply.headers))))
        return seen

    def test_every_failed_login_reads_the_same(self):
        """Unknown, disabled, without a password, of impossible form: as a wrong password."""
        self.sims.add_user("off")
        self.sims.admin().UpdateUser(
            sim.UpdateUserRequest(username="off", disabled=sim.SWITCH_ON), timeout=60)
        self.sims.add_user("empty", password="")
        right = PASSWORD
        seen = self.answers([("bert", "wrong password"), ("nobody", right), ("off", right),
                             ("empty", right), ("empty", "x"), ("x" * 300, right),
                             ("bert ", right), ("Bert", right), (" bert", right),
                             ("b\u0435rt", right), ("bert\u200b", right), ("\uff42ert", right),
                             ("b\u00e9rt", right), ("be\u0301rt", right), ("../bert", right),
                             ("bert\n", right), ("bert' OR '1'='1", right), ("*", right)])
        self.assertEqual(len(seen), 1, [(status, text[-700:]) for status, text, _ in seen])
        self.assertEqual(seen.pop()[0], 403)

    def test_passwords_are_compared_whole_and_exact(self):
        self.sims.add_user("exact", password="p" * 256)
        near = ["p" * 255, "p" * 257, "p" * 10000, "P" * 256, "p" * 256 + " ", " " + "p" * 256,
                "p" * 255 + "\u0440"]
        self.assertEqual({status for status, _, _ in self.answers([("exact", text)
                                                                   for text in near])}, {403})
        page = self.browser.authorize(self.app)
        self.assertIn("code", self.browser.login(page, "exact", "p" * 256).location[1])
        self.sims.add_user("unicode", password="p\u00e4ssw\u00f6rd \u2603")
        self.assertEqual({status for status, _, _ in self.answers(
            [("unicode", "pa\u0308sswo\u0308rd \u2603"), ("unicode", "password \u2603")])}, {403})
        browser = Browser(self.sims)
        self.assertIn("code", browser.login(
            browser.authorize(self.app), "unicode", "p\u00e4ssw\u00f6rd \u2603").location[1])

    def test_very_long_passwords_cost_no_more_than_others(self):
        """Nothing beyond 256 bytes is hashed, and a form beyond its limit is not read."""
        page = self.browser.authorize(self.app)
        self.page(self.browser.login(page, "bert", "x" * 20000), 403)
        self.assertEqual(self.announced("/login", 2_000_000), 413)
        self.assertIn("code", self.browser.login(page, "bert").location[1])

    def test_address_in_a_header_is_not_the_callers(self):
        """The limit per address counts connections' addresses, whatever headers say."""
        def strict(server, config):
            config["login"].update(attempts_per_address=4, attempt_per_address_s=3600)
            return config
        server = sims.Sims(strict)
        try:
            app, browser = server.add_client("app"), Browser(server)
            fields = Forms(browser.authorize(app).text).fields
            answers = []
            for i, name in enumerate(("X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP",
                                      "True-Client-IP", "X-Forwarded-For")):
                value = f"for=10.0.0.{i}" if name == "Forwarded" else f"10.0.0.{i}"
                answers.append(server.post("/login", {
                    **fields, "username": f"user-{i}", "password": "wrong password"},
                    {**browser.headers(), name: value}).status)
            self.assertEqual(answers, [403] * 4 + [429] * 2)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_limit_per_user_counts_from_every_address_and_browser(self):
        def strict(server, config):
            config["login"].update(attempts_per_user=3, attempt_per_user_s=3600)
            return config
        server = sims.Sims(strict)
        try:
            server.add_user("anna")
            app = server.add_client("app")
            answers = []
            for _ in range(5):  # each from a browser that was never seen
                browser = Browser(server)
                answers.append(browser.login(browser.authorize(app), "anna", "wrong").status)
            self.assertEqual(answers, [403] * 3 + [429] * 2)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_strangers_share_audit_records(self):
        """Whatever they send, and however fast: one record a second here, and how many besides."""
        def strict(server, config):
            config["audit"].update(unauthenticated_per_s=1)
            return settings(server, config)

        def metric(name):
            url = f"http://127.0.0.1:{server.ops_port}/metrics"
            with urllib.request.urlopen(url, timeout=30) as reply:
                return int(float(re.search(f"(?m)^{name} (.*)$", reply.read().decode())[1]))

        def records(event, **fields):
            lines = b"".join(path.read_bytes() for path in sorted(
                (server.dir / "sims" / "audit").glob("audit-*.log")))
            found = [json.loads(record) for record in re.findall(rb"\{.*\}", lines)]
            return [record for record in found if record.get("event") == event and
                    fields.items() <= record.items()]
        server = sims.Sims(strict)
        try:
            server.add_user("anna")
            app, browser = server.add_client("app"), Browser(server)
            own = server.add_client("own", "client_secret_basic")
            tokens = browser.tokens(app, "anna")
            for i in range(200):
                reply = app.send("/revoke", {"token": f"no token {i}"})
                self.assertEqual((reply.status, reply.text), (200, ""))
            left_out = metric("sim_audit_left_out_total")
            strangers = records("revoke", client="app")
            self.assertEqual(len(strangers) + left_out, 200)
            self.assertGreater(left_out, len(strangers))
            self.assertEqual({record["jti"] for record in strangers}, {""})
            # whoever has a genuine token, or proves who he is, has a record each time
            for token in tokens["access_token"], tokens["refresh_token"], "no token", "none":
                client = own if " " in token or token == "none" else app
                self.assertEqual(client.send("/revoke", {"token": token}).status, 200)
            self.assertEqual(len(records("revoke", client="own")), 2)
            self.assertEqual(len(records("revoke", client="app")), len(strangers) + 2)
            # wrong passwords share the same records
            tried, before = 0, metric("sim_audit_left_out_total")
            while metric("sim_audit_left_out_total") == before and tried < 100:
                stranger = Browser(server)
                self.assertEqual(
                    stranger.login(stranger.authorize(app), f"user-{tried}", "wrong").status, 403)
                tried += 1
            wrong = records("login", outcome="refused")
            self.assertEqual(len(wrong) + metric("sim_audit_left_out_total") - before, tried)
            self.assertLess(len(wrong), tried)
            told = sum(record.get("left_out", 0) for event in ("revoke", "login")
                       for record in records(event))
            self.assertLessEqual(told, metric("sim_audit_left_out_total"))
            self.assertEqual(len(records("login", outcome="success")), 1)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_logins_without_end_leave_the_newest(self):
        """One account cannot fill the store: its oldest logins with that client end."""
        def strict(server, config):
            return dict(config, grants={"per_user_and_client": 2})
        server = sims.Sims(strict)
        try:
            server.add_user("anna")
            app, browser = server.add_client("app"), Browser(server)
            logins = [browser.tokens(app, "anna") for _ in range(4)]
            answers = [app.refresh(login["refresh_token"]).status for login in logins]
            self.assertEqual(answers, [400, 400, 200, 200])
        finally:
            self.assertEqual(server.stop(), 0)

    def test_cookies_twice_broken_or_of_another_name_are_none(self):
        browser = self.logged_in()
        session = browser.cookies["__Host-sim-session"]
        for cookie in (f"__Host-sim-session={session}; __Host-sim-session=x",
                       f"__Host-sim-session=x; __Host-sim-session={session}",
                       f"sim-session={session}", f"__host-sim-session={session}",
                       f"__Secure-sim-session={session}", f"__Host-sim-session={session}x",
                       f"__Host-sim-session={session[:-1]}", "__Host-sim-session=",
                       "__Host-sim-session=" + "x" * 4000, f"x={session}"):
            with self.subTest(cookie=cookie[:30]):
                reply = self.sims.get("/authorize?" + self.app.query(prompt="none"),
                                      {"Cookie": cookie})
                self.redirected(reply, "login_required")
        self.assertIn("code", browser.authorize(self.app, prompt="none").location[1])

    def test_session_ends_with_the_logout_in_every_browser_that_stole_it(self):
        browser, thief = self.logged_in(), Browser(self.sims)
        thief.cookies = dict(browser.cookies)
        self.assertIn("code", thief.authorize(self.app, prompt="none").location[1])
        browser.submit(browser.get("/logout"))
        self.redirected(thief.authorize(self.app, prompt="none"), "login_required")

    def test_logout_leads_nowhere(self):
        browser = self.logged_in()
        evil = {"post_logout_redirect_uri": "https://evil.example/", "state": "x",
                "id_token_hint": "x", "client_id": "app"}
        self.page(browser.get("/logout?" + urllib.parse.urlencode(evil)), 200)
        page = browser.get("/logout")
        reply = browser.post("/logout", {**Forms(page.text).fields, **evil})
        self.page(reply, 200)
        self.assertNotIn("evil.example", reply.text)
        self.redirected(browser.authorize(self.app, prompt="none"), "login_required")

    def test_code_of_a_session_that_ended_gives_no_tokens(self):
        browser = Browser(self.sims)
        self.sims.add_user("leaving")
        code = browser.code(self.app, "leaving")
        self.sims.admin().EndSessions(sim.EndSessionsRequest(username="leaving"), timeout=60)
        self.error(self.app.exchange(code), "invalid_grant")

    def test_prompts_and_ages_that_contradict(self):
        browser = self.logged_in()
        for prompt in ("none login", "none consent", "create", "none none", "NONE", "login x"):
            self.redirected(browser.authorize(self.app, prompt=prompt), "invalid_request")
        for age in ("-1", "1e3", "0x10", "1.5", "99999999999", " 1", "NaN"):
            self.redirected(browser.authorize(self.app, max_age=age), "invalid_request")
        for changes in ({"max_age": "0"}, {"prompt": "login"}):
            reply = browser.authorize(self.app, **changes)
            self.assertIn('name="password"', self.page(reply, 200).text)
        self.redirected(browser.authorize(self.app, prompt="none", max_age="0"), "login_required")
        code = browser.login(browser.authorize(self.app, max_age="0"), "anna").location[1]["code"]
        claims = self.sims.claims(self.app.exchange(code).json["id_token"], "JWT")
        self.assertLessEqual(abs(claims["auth_time"] - claims["iat"]), 60)

    def test_lines_of_the_log_stay_lines(self):
        """Names that contain line breaks and JSON write no lines of their own."""
        forged = "x\n{\"level\":\"error\",\"message\":\"forged-entry\"}\r\n"
        page = self.browser.authorize(self.app)
        self.page(self.browser.login(page, forged, "wrong password"), 403)
        self.sims.post("/token", {"grant_type": forged, "client_id": forged, "code": forged})
        self.sims.get("/authorize?" + urllib.parse.urlencode({"client_id": forged}),
                      {"User-Agent": "forged-entry"})
        self.signed.own(self.signed.assertion(iss=forged, sub=forged))
        for line in self.sims.read_log().splitlines():
            if line.startswith("{"):
                self.assertNotEqual(json.loads(line).get("message"), "forged-entry")


class Metadata(Base):
    def test_metadata_promises_what_is_done_and_no_more(self):
        metadata = self.sims.metadata
        for name in ("token", "introspection", "revocation"):
            methods = set(metadata[name + "_endpoint_auth_methods_supported"])
            self.assertFalse(methods & {"client_secret_post", "client_secret_jwt"})
            algs = metadata[name + "_endpoint_auth_signing_alg_values_supported"]
            self.assertFalse({"none", "HS256"} & set(algs))
        self.assertNotIn("none", metadata["introspection_endpoint_auth_methods_supported"])
        self.assertEqual(set(metadata["grant_types_supported"]),
                         {"authorization_code", "refresh_token", "client_credentials"})
        self.assertFalse({"none", "HS256"} & set(metadata["id_token_signing_alg_values_supported"]))

    def test_id_token_has_the_claims_of_the_profile(self):
        """TS 33.434 A.2.1: iss, sub, aud, exp, iat."""
        claims = self.sims.claims(self.tokens()["id_token"], "JWT")
        self.assertEqual((claims["iss"], claims["aud"]), (self.sims.issuer, "app"))
        self.assertLessEqual(len(claims["sub"].encode()), 255)
        for name in ("exp", "iat", "auth_time"):
            self.assertIs(type(claims[name]), int)

    def test_access_token_has_the_claims_of_rfc_9068(self):
        for token in (self.tokens()["access_token"], self.signed.own().json["access_token"]):
            header = json.loads(unb64url(token.split(".")[0]))
            self.assertEqual(header["typ"], "at+jwt")
            self.assertIn(header["alg"], ("EdDSA", "RS256"))
            claims = self.sims.claims(token)
            for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"):
                self.assertIn(name, claims)
            self.assertIs(type(claims["aud"]), str)
        self.assertEqual((claims["sub"], claims["client_id"]), ("signed", "signed"))
        self.assertNotIn("auth_time", claims)

    def test_jti_and_secrets_never_repeat(self):
        answers = [self.tokens() for _ in range(5)]
        for name in ("access_token", "id_token", "refresh_token"):
            self.assertEqual(len({answer[name] for answer in answers}), 5)
        self.assertEqual(len({self.sims.claims(answer["access_token"])["jti"]
                              for answer in answers}), 5)


if __name__ == "__main__":
    unittest.main()
