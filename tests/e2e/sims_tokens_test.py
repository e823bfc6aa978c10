# SPDX-License-Identifier: Apache-2.0
"""The SIM-S towards clients: token, introspection, revocation and userinfo endpoints, how clients
prove who they are, what codes, refresh tokens and access tokens are good for."""
import base64
import http.client
import json
import os
import threading
import time
import unittest
import urllib.parse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import sims
from harness import b64url, unb64url
from sims import ASSERTION_TYPE, Browser, details, sim

ANNA, BERT = "msisdn-491110000001", "msisdn-491110000002"
VAL_SAN = "val.dacm.localhost"


def setUpModule():
    Base.sims = server = sims.Sims()
    server.add_user("anna", [ANNA], name="Anna A.")
    server.add_user("bert", [BERT])
    Base.app = server.add_client("app", scopes=["openid", "profile", "seal.da", "seal.km"])
    Base.other = server.add_client("other")
    Base.web = server.add_client("web", "client_secret_basic",
                                 redirect_uris=["https://web.example/cb"])
    Base.signed = server.add_client(
        "signed", "private_key_jwt", redirect_uris=["https://signed.example/cb"],
        grants=["authorization_code", "refresh_token", "client_credentials"])
    Base.val = server.add_client(
        "https://val.example/server", "tls_client_auth", grants=["client_credentials"],
        scopes=["seal.da"], tls_san=VAL_SAN, bound=True)
    Base.val.certificate = "val"
    Base.rsa = server.add_client("rsa", token_alg="RS256")


def tearDownModule():
    assert Base.sims.stop() == 0


class Base(unittest.TestCase):
    def setUp(self):
        self.browser = Browser(self.sims)

    def code(self, client=None, username="anna", **changes):
        return self.browser.code(client or self.app, username, **changes)

    def tokens(self, client=None, username="anna", **changes):
        return self.browser.tokens(client or self.app, username, **changes)

    def error(self, reply, error, status=400):
        self.assertEqual((reply.status, reply.json["error"]), (status, error), reply.text)
        self.assertTrue(reply.json["error_description"])
        self.assertEqual(reply.header("cache-control"), "no-store")
        self.assertEqual(set(reply.json), {"error", "error_description"})
        return reply

    def active(self, token, client=None):
        reply = (client or self.web).send("/introspect", {"token": token})
        self.assertEqual(reply.status, 200, reply.text)
        if not reply.json["active"]:
            self.assertEqual(reply.json, {"active": False})
        return reply.json["active"]


class Metadata(Base):
    def test_discovery_and_rfc_8414_say_the_same(self):
        metadata = self.sims.metadata
        self.assertEqual(metadata["issuer"], self.sims.issuer)
        self.assertEqual(metadata, self.sims.get("/.well-known/oauth-authorization-server").json)
        self.assertEqual(metadata["code_challenge_methods_supported"], ["S256"])
        self.assertEqual(metadata["response_types_supported"], ["code"])
        self.assertTrue(metadata["authorization_response_iss_parameter_supported"])
        self.assertEqual(metadata["mtls_endpoint_aliases"]["token_endpoint"],
                         f"https://localhost:{self.sims.mtls_port}/token")
        for name, url in metadata.items():
            if name.endswith("_endpoint") or name == "jwks_uri":
                self.assertTrue(url.startswith(self.sims.issuer + "/"), url)

    def test_published_keys_have_no_private_half(self):
        keys = self.sims.get("/jwks.json").json["keys"]
        self.assertEqual({key["kty"] for key in keys}, {"OKP", "RSA"})
        for key in keys:
            self.assertFalse({"d", "p", "q", "dp", "dq", "qi"} & set(key))

    def test_methods_and_content_types_that_no_endpoint_has(self):
        self.assertEqual(self.sims.get("/token").status, 405)
        self.assertEqual(self.sims.request("PUT", "/token", "a=b").status, 405)
        reply = self.sims.post("/token", "{}", {"Content-Type": "application/json"})
        self.assertEqual(reply.status, 415)
        self.assertEqual(self.sims.get("/tokens").status, 404)

    def test_conflicting_content_length_and_transfer_encoding(self):
        for headers in ([("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
                        [("Content-Length", "3"), ("Content-Length", "4")],
                        [("Content-Length", "3"), ("Content-Length", "3")]):
            connection = http.client.HTTPSConnection(
                "localhost", self.sims.port, context=self.sims.context(), timeout=60)
            connection.putrequest("POST", "/token")
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(b"0\r\n\r\n")
            self.assertEqual(connection.getresponse().status, 400)
            connection.close()


class Codes(Base):
    def test_answer_and_claims_of_the_profile(self):
        reply = self.app.exchange(self.code(scope="openid seal.da"))
        self.assertEqual(reply.status, 200, reply.text)
        self.assertEqual(reply.header("cache-control"), "no-store")
        answer = reply.json
        self.assertEqual(set(answer), {"access_token", "token_type", "expires_in", "scope",
                                       "id_token", "refresh_token"})
        self.assertEqual((answer["token_type"], answer["scope"]), ("Bearer", "openid seal.da"))
        access = self.sims.claims(answer["access_token"])
        identity = self.sims.claims(answer["id_token"], "JWT")
        self.assertEqual(access["iss"], self.sims.issuer)
        self.assertEqual(access["aud"], self.sims.dacm.audience)
        self.assertEqual((access["client_id"], access["gpsi"]), ("app", ANNA))
        self.assertEqual(access["acr"], "3gpp:acr:password")
        self.assertNotIn("Digital_profile", access)
        self.assertNotIn("authorization_details", access)
        self.assertEqual(identity["aud"], "app")
        self.assertEqual(identity["nonce"], "nonce-1")
        self.assertEqual(identity["acr"], "3gpp:acr:password")
        self.assertEqual(identity["sub"], access["sub"])
        self.assertEqual(identity["auth_time"], access["auth_time"])
        self.assertGreater(identity["exp"], access["exp"])
        self.assertEqual(access["exp"] - access["iat"], 300)
        self.assertIn("at_hash", identity)

    def test_rs256_for_a_client_that_asks_for_it(self):
        tokens = self.tokens(self.rsa)
        for name in ("access_token", "id_token"):
            header = json.loads(unb64url(tokens[name].split(".")[0]))
            self.assertEqual(header["alg"], "RS256")
        self.assertEqual(self.sims.claims(tokens["access_token"])["client_id"], "rsa")
        self.assertTrue(self.active(tokens["access_token"]))

    def test_code_used_twice_revokes_what_it_issued(self):
        code = self.code()
        tokens = self.app.exchange(code).json
        self.assertTrue(self.active(tokens["access_token"]))
        self.error(self.app.exchange(code), "invalid_grant")
        self.assertFalse(self.active(tokens["access_token"]))
        self.error(self.app.refresh(tokens["refresh_token"]), "invalid_grant")

    def test_code_of_another_client_is_refused_and_stays_usable(self):
        code = self.code()
        self.error(self.other.exchange(code, code_verifier=self.app.verifier), "invalid_grant")
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_verifier_wrong_missing_or_malformed(self):
        code = self.code()
        for verifier in (self.app.verifier[:-1] + "!", b64url(os.urandom(32)), "short", "a" * 129):
            self.error(self.app.exchange(code, code_verifier=verifier), "invalid_grant")
        self.error(self.app.exchange(code, code_verifier=None), "invalid_request")
        self.error(self.app.exchange(code, code_verifier=""), "invalid_request")
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_redirect_uri_must_be_that_of_the_request(self):
        code = self.code()
        for uri in ("http://127.0.0.1:41235/cb", self.app.redirect_uri + "/"):
            self.error(self.app.exchange(code, redirect_uri=uri), "invalid_grant")
        self.error(self.app.exchange(code, redirect_uri=None), "invalid_request")
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_code_that_is_none_of_ours(self):
        code = self.code()
        for wrong in ("x", code[:-1], code + "A", code[::-1], "A" * len(code), "☃"):
            self.error(self.app.exchange(wrong), "invalid_grant")
        self.error(self.app.exchange(None), "invalid_request")

    def test_parameter_twice_and_unknown_grants(self):
        code = self.code()
        form = {"grant_type": "authorization_code", "code": code, "client_id": "app",
                "redirect_uri": self.app.redirect_uri, "code_verifier": self.app.verifier}
        for name, value in form.items():
            twice = urllib.parse.urlencode(form) + "&" + urllib.parse.urlencode({name: value})
            self.error(self.sims.post("/token", twice), "invalid_request")
        self.error(self.sims.post("/token", {**form, "grant_type": "password"}),
                   "unsupported_grant_type")
        self.error(self.sims.post("/token", {**form, "grant_type": ""}), "invalid_request")
        self.error(self.sims.post("/token", {**form, "grant_type": "client_credentials"}),
                   "unauthorized_client")
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_two_exchanges_at_once_give_tokens_once_at_most_and_revoke_them(self):
        for _ in range(5):
            code = self.code()
            answers = []
            threads = [threading.Thread(target=lambda c=code: answers.append(self.app.exchange(c)))
                       for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            good = [answer for answer in answers if answer.status == 200]
            self.assertLessEqual(len(good), 1)
            for answer in answers:
                if answer.status != 200:
                    self.error(answer, "invalid_grant")
            for answer in good:
                self.assertFalse(self.active(answer.json["access_token"]))

    def test_resource_must_be_the_one_that_was_granted(self):
        code = self.code(resource=self.sims.dacm.audience)
        self.error(self.app.exchange(code, resource="https://elsewhere.example/"),
                   "invalid_target")
        self.assertEqual(self.app.exchange(code, resource=self.sims.dacm.audience).status, 200)


class Refresh(Base):
    def test_rotation_gives_a_new_token_each_time(self):
        tokens = self.tokens()
        seen = {tokens["refresh_token"]}
        for _ in range(3):
            tokens = self.app.refresh(tokens["refresh_token"]).json
            self.assertNotIn(tokens["refresh_token"], seen)
            seen.add(tokens["refresh_token"])
        identity = self.sims.claims(tokens["id_token"], "JWT")
        self.assertNotIn("nonce", identity)

    def test_reuse_revokes_the_family(self):
        first = self.tokens()
        second = self.app.refresh(first["refresh_token"]).json
        self.error(self.app.refresh(first["refresh_token"]), "invalid_grant")
        self.error(self.app.refresh(second["refresh_token"]), "invalid_grant")
        for tokens in (first, second):
            self.assertFalse(self.active(tokens["access_token"]))

    def test_refresh_token_of_another_client(self):
        tokens = self.tokens()
        self.error(self.other.refresh(tokens["refresh_token"]), "invalid_grant")
        self.assertEqual(self.app.refresh(tokens["refresh_token"]).status, 200)

    def test_scope_is_narrowed_never_widened(self):
        tokens = self.tokens(scope="openid seal.da")
        for scope in ("openid seal.da profile", "seal.km", "seal", "openid openidx"):
            self.error(self.app.refresh(tokens["refresh_token"], scope=scope), "invalid_scope")
        narrow = self.app.refresh(tokens["refresh_token"], scope="seal.da").json
        self.assertEqual(narrow["scope"], "seal.da")
        self.assertEqual(self.sims.claims(narrow["access_token"])["scope"], "seal.da")
        self.assertNotIn("id_token", narrow)
        self.assertEqual(self.app.refresh(narrow["refresh_token"]).json["scope"], "openid seal.da")

    def test_user_disabled_or_logged_out_by_the_operator(self):
        for username, ending in (("disabled", lambda name: self.sims.admin().UpdateUser(
                sim.UpdateUserRequest(username=name, disabled=sim.SWITCH_ON), timeout=60)),
                ("ended", lambda name: self.sims.admin().EndSessions(
                    sim.EndSessionsRequest(username=name), timeout=60)),
                ("deleted", lambda name: self.sims.admin().DeleteUser(
                    sim.DeleteUserRequest(username=name), timeout=60))):
            self.sims.add_user(username)
            browser = Browser(self.sims)
            tokens, code = browser.tokens(self.app, username), browser.code(self.app, username)
            ending(username)
            self.error(self.app.refresh(tokens["refresh_token"]), "invalid_grant")
            self.error(self.app.exchange(code), "invalid_grant")
            self.assertFalse(self.active(tokens["access_token"]))

    def test_client_without_the_grant_gets_no_refresh_token(self):
        client = self.sims.add_client("once-only", grants=["authorization_code"])
        tokens = self.tokens(client)
        self.assertNotIn("refresh_token", tokens)
        self.error(client.refresh("x"), "unauthorized_client")


class Proof(Base):
    def test_each_method_works_with_its_own_client(self):
        self.assertIn("access_token", self.tokens(self.web))
        self.assertIn("access_token", self.tokens(self.signed))
        self.assertEqual(self.signed.own().status, 200)
        self.assertEqual(self.val.own().status, 200)

    def refused(self, reply):
        return self.error(reply, "invalid_client", 401)

    def test_no_method_works_with_another_client(self):
        grant = {"grant_type": "client_credentials"}
        self.refused(self.sims.post("/token", {**grant, "client_id": "signed"}))
        self.refused(self.sims.post("/token", {**grant, "client_id": "web"}))
        self.refused(self.sims.post("/token", {**grant, "client_id": self.val.client_id}))
        self.refused(self.sims.post("/token", {**grant, "client_id": "nobody"}))
        self.refused(self.sims.post("/token", grant))
        pair = base64.b64encode(b"signed:anything").decode()
        self.refused(self.sims.post("/token", grant, {"Authorization": "Basic " + pair}))
        pair = base64.b64encode(b"app:anything").decode()
        self.refused(self.sims.post("/token", grant, {"Authorization": "Basic " + pair}))
        fields = {"client_assertion_type": ASSERTION_TYPE,
                  "client_assertion": self.signed.assertion(iss="app", sub="app")}
        self.refused(self.sims.post("/token", {**grant, **fields}))

    def test_two_methods_at_once(self):
        fields, _ = self.signed.credentials()
        _, headers = self.web.credentials()
        self.error(self.sims.post("/token", {"grant_type": "client_credentials", **fields},
                                  headers), "invalid_request")
        self.refused(self.sims.post("/token", {"client_id": "web", "client_secret": self.web.secret}))

    def test_client_id_beside_the_proof_must_be_the_same(self):
        fields, _ = self.signed.credentials()
        self.error(self.sims.post("/token", {"grant_type": "client_credentials",
                                             "client_id": "app", **fields}), "invalid_request")

    def test_wrong_secret_and_malformed_headers_are_challenged(self):
        for value in ("Basic", "Basic !", "Basic " + base64.b64encode(b"web").decode(),
                      "Basic " + base64.b64encode(b"web:wrong").decode(), "Bearer abc",
                      "Basic " + base64.b64encode(b"web:").decode()):
            reply = self.refused(self.sims.post(
                "/token", {"grant_type": "client_credentials"}, {"Authorization": value}))
            self.assertTrue(reply.header("www-authenticate").startswith("Basic "), value)
        reply = self.refused(self.sims.post("/token", {"grant_type": "client_credentials",
                                                       "client_id": "nobody"}))
        self.assertIsNone(reply.header("www-authenticate"))

    def test_assertion_for_issuer_or_token_endpoint(self):
        for audience in (self.sims.issuer, self.sims.issuer + "/token",
                         [self.sims.issuer], f"https://localhost:{self.sims.mtls_port}/token"):
            self.assertEqual(self.signed.own(self.signed.assertion(aud=audience)).status, 200)

    def test_assertion_that_is_not_right(self):
        now = int(time.time())
        for changes in ({"aud": "https://elsewhere.example"}, {"aud": self.sims.issuer + "/"},
                        {"aud": None}, {"iss": "app"}, {"sub": "app"}, {"exp": now - 60},
                        {"exp": None}, {"exp": now + 3600}, {"jti": None}, {"iat": now + 3600},
                        {"nbf": now + 3600}, {"exp": "soon"}):
            with self.subTest(changes=changes):
                self.refused(self.signed.own(self.signed.assertion(**changes)))
        other = Ed25519PrivateKey.generate()
        self.refused(self.signed.own(self.signed.assertion(other)))
        self.refused(self.signed.own(self.signed.assertion(header={"alg": "none"})))
        self.refused(self.signed.own(self.signed.assertion(header={"alg": "HS256"})))
        self.refused(self.signed.own(self.signed.assertion(header={"typ": "at+jwt"})))
        self.refused(self.signed.own(self.signed.assertion(header={"kid": "other"})))
        good = self.signed.assertion()
        self.refused(self.signed.own(good[:-2]))
        self.refused(self.signed.own(good.rsplit(".", 1)[0] + "."))
        token = self.tokens()["access_token"]
        self.refused(self.signed.own(token))

    def test_assertion_is_taken_once_also_after_a_restart(self):
        server = sims.Sims()
        try:
            client = server.add_client("signed", "private_key_jwt", grants=["client_credentials"])
            used, unused = client.assertion(), client.assertion()
            self.assertEqual(client.own(used).status, 200)
            self.refused(client.own(used))
            server.restart()
            self.refused(client.own(used))
            self.refused(client.own(unused))  # nobody knows whether it was used
            later = client.assertion(iat=int(time.time()) + 2)
            self.assertEqual(client.own(later).status, 200)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_certificate_must_have_the_registered_name(self):
        for client in (self.val,):
            for certificate in ("sims", None):
                client.certificate = certificate
                self.refused(client.own())
            client.certificate = "val"
            self.assertEqual(client.own().status, 200)
        reply = self.sims.post("/token", {"grant_type": "client_credentials",
                                          "client_id": self.val.client_id})
        self.refused(reply)

    def test_certificate_in_a_header_is_none(self):
        reply = self.sims.post("/token", {"grant_type": "client_credentials",
                                          "client_id": self.val.client_id},
                               {"X-Client-Cert": (self.sims.dir / "pki/val.crt").read_text()
                                .replace("\n", " "), "X-SSL-Client-Verify": "SUCCESS"})
        self.refused(reply)

    def test_tokens_of_a_bound_client_name_its_certificate(self):
        token = self.val.own().json["access_token"]
        self.assertEqual(self.sims.claims(token)["cnf"],
                         {"x5t#S256": self.sims.dacm.thumbprint("val")})
        self.assertTrue(self.active(token))

    def test_disabled_client_is_refused_everywhere(self):
        client = self.sims.add_client("fading", "private_key_jwt", grants=["client_credentials"])
        token = client.own().json["access_token"]
        self.sims.admin().UpdateClient(sim.UpdateClientRequest(client=sim.Client(
            client_id="fading", name="fading", auth=sim.CLIENT_AUTH_PRIVATE_KEY_JWT,
            jwks=self.sims.admin().GetClient(
                sim.GetClientRequest(client_id="fading"), timeout=60).jwks,
            grant_types=[sim.GRANT_TYPE_CLIENT_CREDENTIALS], scopes=["seal.da"],
            disabled=True)), timeout=60)
        self.refused(client.own())
        self.assertFalse(self.active(token))

    def test_failures_are_limited_for_each_client(self):
        def strict(server, config):
            config["login"].update(client_failures=3, client_failure_s=3600)
            return config
        server = sims.Sims(strict)
        try:
            web = server.add_client("web", "client_secret_basic", redirect_uris=["https://w/cb"])
            other = server.add_client("signed", "private_key_jwt", grants=["client_credentials"])
            right, web.secret = web.secret, "wrong"
            for _ in range(3):
                self.refused(web.send("/introspect", {"token": "x"}))
            reply = self.error(web.send("/introspect", {"token": "x"}), "temporarily_unavailable",
                               429)
            self.assertGreater(int(reply.header("retry-after")), 3000)
            web.secret = right
            self.assertEqual(web.send("/introspect", {"token": "x"}).status, 429)
            self.assertEqual(other.own().status, 200)
        finally:
            self.assertEqual(server.stop(), 0)


class Binding(Base):
    def test_public_client_with_a_certificate_is_bound_to_it(self):
        client = self.sims.add_client("native")
        code = self.code(client)
        client.certificate = "val"
        tokens = client.exchange(code).json
        self.assertEqual(self.sims.claims(tokens["access_token"])["cnf"],
                         {"x5t#S256": self.sims.dacm.thumbprint("val")})
        for certificate in (None, "sims"):
            client.certificate = certificate
            self.error(client.refresh(tokens["refresh_token"]), "invalid_grant")
        client.certificate = "val"
        self.assertEqual(client.refresh(tokens["refresh_token"]).status, 200)

    def test_bound_token_is_none_elsewhere_at_userinfo(self):
        client = self.sims.add_client("native-2")
        code = self.code(client)
        client.certificate = "val"
        headers = {"Authorization": "Bearer " + client.exchange(code).json["access_token"]}
        self.assertEqual(self.sims.get("/userinfo", headers).status, 401)
        self.assertEqual(self.sims.get("/userinfo", headers, certificate="sims").status, 401)
        self.assertEqual(self.sims.get("/userinfo", headers, certificate="val").status, 200)

    def test_client_that_must_be_bound_needs_its_certificate(self):
        client = self.sims.add_client("must", bound=True)
        code = self.code(client)
        self.error(client.exchange(code), "invalid_request")
        client.certificate = "val"
        self.assertEqual(client.exchange(code).status, 200)


class Introspection(Base):
    def test_active_token_is_told_with_its_claims(self):
        token = self.tokens(authorization_details=details())["access_token"]
        claims = self.sims.claims(token)
        reply = self.web.send("/introspect", {"token": token, "token_type_hint": "access_token"})
        told = reply.json
        self.assertTrue(told.pop("active"))
        self.assertEqual(told["gpsi"], [ANNA])
        for name in ("iss", "sub", "aud", "client_id", "jti", "scope", "iat", "exp",
                     "authorization_details"):
            self.assertEqual(told[name], claims[name], name)

    def test_everything_else_is_not_active(self):
        tokens = self.tokens()
        access = tokens["access_token"]
        head, body, signature = access.split(".")
        for token in ("", "x", tokens["id_token"], tokens["refresh_token"], self.code(),
                      head + "." + body + ".", access[:-2], access + ".x",
                      self.sims.dacm.token(ANNA), "a" * 40000, "☃"):
            if token:
                self.assertFalse(self.active(token))
        self.error(self.web.send("/introspect", {"token": ""}), "invalid_request")
        self.assertTrue(self.active(access))

    def test_only_clients_that_prove_who_they_are(self):
        token = self.tokens()["access_token"]
        self.error(self.app.send("/introspect", {"token": token}), "invalid_client", 401)
        self.error(self.sims.post("/introspect", {"token": token}), "invalid_client", 401)
        self.assertTrue(self.active(token, self.signed))


class Revocation(Base):
    def revoke(self, client, token):
        reply = client.send("/revoke", {"token": token})
        self.assertEqual((reply.status, reply.body), (200, b""), reply.text)

    def test_access_token(self):
        tokens = self.tokens()
        self.revoke(self.app, tokens["access_token"])
        self.assertFalse(self.active(tokens["access_token"]))
        headers = {"Authorization": "Bearer " + tokens["access_token"]}
        self.assertEqual(self.sims.get("/userinfo", headers).status, 401)
        again = self.app.refresh(tokens["refresh_token"])
        self.assertTrue(self.active(again.json["access_token"]))

    def test_refresh_token_ends_its_family(self):
        tokens = self.tokens()
        self.revoke(self.app, tokens["refresh_token"])
        self.error(self.app.refresh(tokens["refresh_token"]), "invalid_grant")
        self.assertFalse(self.active(tokens["access_token"]))

    def test_unknown_and_expired_tokens_are_answered_alike(self):
        for token in ("x", "a.b.c", "☃", self.sims.dacm.token(ANNA)):
            self.revoke(self.app, token)
        self.error(self.app.send("/revoke", {"token": ""}), "invalid_request")

    def test_token_of_another_client_stays(self):
        tokens = self.tokens()
        self.revoke(self.other, tokens["access_token"])
        self.revoke(self.other, tokens["refresh_token"])
        self.assertTrue(self.active(tokens["access_token"]))
        self.assertEqual(self.app.refresh(tokens["refresh_token"]).status, 200)


class Userinfo(Base):
    def ask(self, token, method="GET"):
        return self.sims.request(method, "/userinfo", None, {
            "Authorization": "Bearer " + token,
            **({"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {})})

    def test_claims_by_scope(self):
        tokens = self.tokens(scope="openid profile")
        subject = self.sims.claims(tokens["id_token"], "JWT")["sub"]
        for method in ("GET", "POST"):
            self.assertEqual(self.ask(tokens["access_token"], method).json, {
                "sub": subject, "name": "Anna A.", "preferred_username": "anna"})
        tokens = self.tokens(scope="openid seal.da")
        self.assertEqual(self.ask(tokens["access_token"]).json, {"sub": subject})

    def test_without_or_with_a_wrong_token_it_challenges(self):
        reply = self.sims.get("/userinfo")
        self.assertEqual((reply.status, reply.header("www-authenticate")),
                         (401, 'Bearer realm="simsd"'))
        tokens = self.tokens()
        for token in ("x", tokens["id_token"], tokens["refresh_token"],
                      self.sims.dacm.token(ANNA), tokens["access_token"][:-2]):
            reply = self.ask(token)
            self.assertEqual(reply.status, 401)
            self.assertIn('error="invalid_token"', reply.header("www-authenticate"))
        reply = self.sims.get("/userinfo?access_token=" + tokens["access_token"])
        self.assertEqual(reply.status, 401)

    def test_scope_openid_is_needed(self):
        tokens = self.tokens()
        narrow = self.app.refresh(tokens["refresh_token"], scope="seal.da").json
        reply = self.ask(narrow["access_token"])
        self.assertEqual(reply.status, 403)
        self.assertIn('error="insufficient_scope"', reply.header("www-authenticate"))
        self.assertEqual(self.ask(self.signed.own().json["access_token"]).status, 403)


if __name__ == "__main__":
    unittest.main()
