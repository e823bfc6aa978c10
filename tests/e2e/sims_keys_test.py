# SPDX-License-Identifier: Apache-2.0
"""simsd's signing keys as dacmd sees them, from publication to compromise, and what becomes of the
tokens under them; key sets that contradict themselves; an issuer whose tokens must be bound."""
import json
import os
import signal
import time
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import configured
import issued
import keyserver
from harness import b64url, bearer, unb64url
from issued import ANNA, UNAUTHENTICATED
from sims import rsa_jwk

KEEP = ("d", "p", "q", "dp", "dq", "qi")  # what is never published


def new_key(kid, **more):
    seed = os.urandom(32)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig",
            "dacm_purpose": "token", "d": b64url(seed),
            "x": b64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)), **more}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.make()

    @classmethod
    def tearDownClass(cls):
        assert cls.world.stop() == 0

    def outcome(self, stub, token, gpsi=ANNA):
        """None when it opens the avatar, else the status."""
        try:
            issued.METHODS["Download"](stub, self.world.asset, gpsi, metadata=bearer(token),
                                       timeout=60)
        except issued.grpc.RpcError as error:
            return error.code()
        return None


class States(Case):
    """dacmd fetches simsd's set each second here."""

    @classmethod
    def make(cls):
        world = issued.Issued()
        world.beside.pause()  # its token is under the keys that go
        return world

    @property
    def path(self):
        return self.world.dir / "pki" / "sims-token.jwks"

    def setUp(self):
        self.keys = json.loads(self.path.read_text())["keys"]

    def tearDown(self):
        self.load(self.keys)

    def load(self, keys):
        """simsd takes the set; returns once it publishes what that says."""
        self.path.write_text(json.dumps({"keys": keys}))
        said = self.world.read_log().count("reload")
        self.world.daemon.send_signal(signal.SIGHUP)
        configured.wait_until("an answer to SIGHUP",
                              lambda: self.world.read_log().count("reload") > said)

    def published(self):
        return {key["kid"] for key in self.world.get("/jwks.json").json["keys"]}

    def turned(self, **of_old):
        """A new key signs and the old one is in that state; (old token, new token, a connection
        that knows the old one)."""
        channel = self.world.dacm.client()
        self.addCleanup(channel.close)
        stub, old = self.world.dacm.stub(channel), self.world.token()
        configured.wait_until("the old key", lambda: self.outcome(stub, old) is None)
        for _ in range(3):
            self.assertIsNone(self.outcome(stub, old))
        first, *others = self.keys
        self.load([dict(first, **of_old), *others, new_key("next-" + self.id()[-8:])])
        new = self.world.token()
        kid = json.loads(unb64url(new.split(".")[0]))["kid"]
        self.assertNotEqual(kid, first["kid"])
        configured.wait_until("the new key", lambda: self.outcome(stub, new) is None)
        return old, new, stub

    def test_old_key_that_only_verifies_serves_its_tokens_on(self):
        old, _, stub = self.turned(dacm_state="verify-only")
        self.assertIsNone(self.outcome(stub, old))

    def test_retired_and_compromised_key_is_not_published_and_its_tokens_are_refused(self):
        for state in ("retired", "compromised"):
            with self.subTest(state=state):
                old, new, stub = self.turned(dacm_state=state)
                self.assertNotIn(self.keys[0]["kid"], self.published())
                configured.wait_until("the end of the old key",
                                      lambda: self.outcome(stub, old) == UNAUTHENTICATED)
                with self.world.dacm.client() as cold:
                    self.assertEqual(self.outcome(self.world.dacm.stub(cold), old),
                                     UNAUTHENTICATED)
                self.assertIsNone(self.outcome(stub, new))
                self.tearDown()

    def test_key_to_come_is_published_and_signs_nothing_yet(self):
        for change in ({"dacm_state": "pre-published"}, {"nbf": int(time.time()) + 3600}):
            with self.subTest(change=change):
                self.load([*self.keys, new_key("to-come", **change)])
                self.assertIn("to-come", self.published())
                token = self.world.token()
                self.assertEqual(json.loads(unb64url(token.split(".")[0]))["kid"],
                                 self.keys[0]["kid"])

    def test_token_under_a_key_before_its_time_is_refused_by_dacmd_and_simsd(self):
        key, known = new_key("early", nbf=int(time.time()) + 3600), new_key("known")
        self.load([*self.keys, key, known])
        token = self.world.token()
        early, late = (self.world.forge(
            token, header={"kid": each["kid"]},
            key=Ed25519PrivateKey.from_private_bytes(unb64url(each["d"])))
            for each in (key, known))
        with self.world.dacm.client() as channel:
            stub = self.world.dacm.stub(channel)
            configured.wait_until("the new set", lambda: self.outcome(stub, late) is None)
            for _ in range(3):
                self.assertEqual(self.outcome(stub, early), UNAUTHENTICATED)
        for each, status in ((early, 401), (late, 200)):
            self.assertEqual(self.world.get(
                "/userinfo", {"Authorization": "Bearer " + each}).status, status)

    def test_set_without_a_key_to_sign_with_is_not_taken(self):
        before = self.published()
        for keys in ([], [dict(key, dacm_state="retired") for key in self.keys],
                     [rsa_jwk("alone")], [self.keys[0], self.keys[0]]):
            self.load(keys)
            self.assertEqual(self.published(), before)
            self.assertTrue(self.world.token())


class Sets(Case):
    """dacmd has the set in a file, which says of simsd's key what is not so."""

    @classmethod
    def make(cls):
        return issued.Issued(fetched=False)

    def setUp(self):
        self.text = self.world.published.read_text()
        self.keys = {key["kty"]: key for key in json.loads(self.text)["keys"]}
        self.token = self.world.token()

    def tearDown(self):
        self.world.published.write_text(self.text)
        self.assertTrue(self.world.dacm.reload())

    def refused_with(self, *keys):
        """The set is refused as a whole: what was loaded before stays in force."""
        with self.world.dacm.client() as channel:
            stub = self.world.dacm.stub(channel)
            self.assertIsNone(self.outcome(stub, self.token))
            self.world.published.write_text(json.dumps({"keys": list(keys)}))
            self.assertFalse(self.world.dacm.reload())
            self.assertIsNone(self.outcome(stub, self.token))

    def test_jwk_whose_members_contradict_the_header_of_the_token(self):
        for change in ({"alg": "ES256"}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"},
                       {"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": []},
                       {"key_ops": "verify"}, {"dacm_purpose": "manifest"}, {"d": "A" * 43},
                       {"x": "A" * 42}):
            with self.subTest(change=change):
                self.refused_with(dict(self.keys["OKP"], **change))
        for change in ({"alg": "EdDSA"}, {"use": "enc"}, {"alg": "HS256"}, {"e": "AQ"}):
            with self.subTest(change=change):
                self.refused_with(self.keys["OKP"], dict(self.keys["RSA"], **change))

    def test_key_of_a_kind_that_signs_nothing_is_left_out(self):
        with self.world.dacm.client() as channel:
            stub = self.world.dacm.stub(channel)
            self.world.beside.pause()
            for change in ({"crv": "X25519"}, {"crv": "Ed448"}, {"kty": "oct", "k": "AAAA"}):
                with self.subTest(change=change):
                    self.world.published.write_text(json.dumps({"keys": [
                        dict(self.keys["OKP"], **change), self.keys["RSA"]]}))
                    self.assertTrue(self.world.dacm.reload())
                    self.assertEqual(self.outcome(stub, self.token), UNAUTHENTICATED)
            self.tearDown()
            self.assertIsNone(self.outcome(stub, self.token))
            self.world.beside.resume()

    def test_kid_twice_in_the_set_missing_long_or_with_nul(self):
        key, other = self.keys["OKP"], new_key("other")
        twin = {name: value for name, value in dict(other, kid=key["kid"]).items()
                if name not in KEEP}
        for keys in ((key, twin), (twin, key), (key, key)):
            self.refused_with(*keys)
        for kid in ("", "k" * 129, "k" * 65536, key["kid"] + "\0", 7):
            with self.subTest(kid=str(kid)[:10]):
                self.refused_with(dict(key, kid=kid))

    def test_key_replaced_under_its_kid(self):
        """The cache of verified tokens does not answer for another version of the key."""
        other = new_key(self.keys["OKP"]["kid"])
        public = {name: value for name, value in other.items() if name not in KEEP}
        with self.world.dacm.client() as channel:
            stub = self.world.dacm.stub(channel)
            for _ in range(3):
                self.assertIsNone(self.outcome(stub, self.token))
            self.world.beside.pause()
            self.world.published.write_text(json.dumps({"keys": [public]}))
            self.assertTrue(self.world.dacm.reload())
            self.assertEqual(self.outcome(stub, self.token), UNAUTHENTICATED)
            forged = self.world.forge(self.token, key=Ed25519PrivateKey.from_private_bytes(
                unb64url(other["d"])))
            self.assertIsNone(self.outcome(stub, forged))
            self.tearDown()
            self.assertIsNone(self.outcome(stub, self.token))
            self.assertEqual(self.outcome(stub, forged), UNAUTHENTICATED)
            self.world.beside.resume()


class MustBeBound(Case):
    """dacmd takes no token of simsd's that is not bound to the caller's certificate."""

    @classmethod
    def make(cls):
        return issued.Issued(require_binding=True)

    def download(self, token, certificate):
        with self.world.dacm.client(certificate) as channel:
            return self.outcome(self.world.dacm.stub(channel), token)

    def test_token_of_a_client_without_certificate(self):
        token = self.world.token()
        for certificate in (None, "val", "sims"):
            self.assertEqual(self.download(token, certificate), UNAUTHENTICATED)

    def test_binding_that_was_stripped(self):
        bound = self.world.token(client=self.world.native)
        self.assertIsNone(self.download(bound, "val"))
        stripped = self.world.forge(bound, cnf=None)
        for certificate in (None, "val", "sims"):
            self.assertEqual(self.download(stripped, certificate), UNAUTHENTICATED)
        self.assertEqual(self.download(bound, "sims"), UNAUTHENTICATED)
        self.assertIsNone(self.download(bound, "val"))

    def test_simsd_gives_such_a_client_no_token_without_its_certificate(self):
        client, code = self.world.login(client=self.world.native)
        client.certificate = None
        try:
            self.assertEqual(client.exchange(code).json["error"], "invalid_request")
        finally:
            client.certificate = "val"
        self.assertIn("cnf", self.world.body(client.exchange(code).json["access_token"]))

    def configured_anew(self):
        self.world.config_file.write_text(json.dumps(self.world.config))
        said = self.world.read_log().count("reload")
        self.world.daemon.send_signal(signal.SIGHUP)
        configured.wait_until("an answer to SIGHUP",
                              lambda: self.world.read_log().count("reload") > said)

    def test_simsd_gives_no_token_for_a_certificate_that_was_revoked(self):
        client, code = self.world.login(client=self.world.native)
        crl = keyserver.revocation_list(self.world.dir / "pki", "val")
        self.world.config["listen"]["mtls"]["client_crl"] = str(crl)
        self.configured_anew()
        try:
            reply = client.exchange(code)
            self.assertEqual(reply.status, 403, reply.text)
            self.assertIn("was revoked", reply.text)
        finally:
            keyserver.revocation_list(self.world.dir / "pki")
            self.configured_anew()
        self.assertIn("cnf", self.world.body(client.exchange(code).json["access_token"]))


if __name__ == "__main__":
    unittest.main()
