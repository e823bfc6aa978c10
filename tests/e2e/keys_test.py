# SPDX-License-Identifier: Apache-2.0
"""Keys of an issuer: what its key set may say, in which state a key counts, and that a key of one
purpose is none for another. Each through the wire, on connections that are warm with a correct
token and on new ones."""
import hashlib
import json
import os
import subprocess
import time
import unittest

import grpc

import harness
from configured import Issuer, Server
from harness import b64url, bearer, da, unb64url

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
# The points of Ed25519 whose order divides 8, as keys are encoded: with one of them as public
# key, signatures can be made without any private key.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def setUpModule():
    global server, owner, listed, content, asset
    server = Server()
    owner, listed = server.users[0], server.users[1]
    content = hashlib.shake_256(b"keys").digest(5_000)
    asset = server.upload(content, owner, [listed]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


class Case(unittest.TestCase):
    def setUp(self):
        self.path = server.dir / "pki" / "token.pub.jwks"
        self.text = self.path.read_text()
        self.key = json.loads(self.text)["keys"][0]
        self.second = Issuer(server.issuer)

    def tearDown(self):
        self.path.write_text(self.text)
        self.assertTrue(server.reload())

    def load(self, *keys):
        """Puts the keys into the issuer's set; whether dacmd took it."""
        self.path.write_text(json.dumps({"keys": list(keys)}))
        return server.reload()

    def served(self, stub, token):
        request = da.DownloadRequest(asset_id=asset, gpsi=listed)
        try:
            got = server.check_download(
                stub.Download(request, metadata=bearer(token), timeout=60))[0]
        except grpc.RpcError as error:
            self.assertEqual(error.code(), UNAUTHENTICATED, error.details())
            return False
        self.assertEqual(got, content)
        return True

    def first_token(self):
        return server.token(listed, asset, ["get"], [owner, listed])

    def second_token(self, issuer=None, **header):
        return (issuer or self.second).token(
            server, listed, asset, [owner, listed], header=header)

    def assert_refused(self, token):
        """On a warm connection and on a new one, and a correct token is served beside it."""
        for warm in (True, False):
            with server.client() as channel:
                stub = server.stub(channel)
                if warm:
                    self.assertTrue(self.served(stub, self.first_token()))
                self.assertFalse(self.served(stub, token))
                self.assertTrue(self.served(stub, self.first_token()))


class KeySet(Case):
    def test_second_key_of_the_set_is_taken(self):
        self.assertTrue(self.load(self.key, self.second.jwk()))
        with server.client() as channel:
            stub = server.stub(channel)
            self.assertTrue(self.served(stub, self.second_token()))
            self.assertTrue(self.served(stub, self.first_token()))

    def test_jwk_whose_members_contradict_its_use_is_refused_with_its_set(self):
        """alg, use and key_ops of the JWK bind whoever signs under its kid."""
        for change in ({"alg": "ES256"}, {"alg": "none"}, {"alg": "HS256"}, {"use": "enc"},
                       {"key_ops": ["sign"]}, {"key_ops": []}, {"key_ops": "verify"},
                       {"dacm_purpose": "manifest"}, {"kty": "oct", "k": "AAAA"}):
            with self.subTest(change=change):
                taken = self.load(self.key, dict(self.second.jwk(), **change))
                self.assert_refused(self.second_token())
                if taken:  # a key of a kind that nobody asked for is left out, not taken
                    self.assertEqual(change.get("kty"), "oct")
                    continue
                self.assertIn(self.second.kid, server.read_log().rsplit("reload failed", 1)[1])

    def test_kid_twice_in_a_set_is_refused_whichever_comes_first(self):
        twin = dict(self.second.jwk(), kid=self.key["kid"])
        for keys in ((self.key, twin), (twin, self.key), (self.key, self.key)):
            with self.subTest(first=keys[0]["x"]):
                self.assertFalse(self.load(*keys))
                self.assert_refused(self.second_token(kid=self.key["kid"]))

    def test_kid_of_64_kb_or_with_nul_and_path_characters_is_none(self):
        for kid in ("k" * 65536, "k\0", "", " ", "k" * 129):
            with self.subTest(kid=kid[:8], size=len(kid)):
                self.assertFalse(self.load(self.key, dict(self.second.jwk(), kid=kid)))
                self.assert_refused(self.second_token(kid=kid[:40_000]))  # in 64 KiB of headers

    def test_path_as_kid_opens_no_file(self):
        """The set is asked for the kid, nothing else is: a set may even contain such a name."""
        odd = Issuer(server.issuer, key=self.second.key, kid="../../../../etc/passwd")
        self.assertTrue(self.load(self.key))
        self.assert_refused(self.second_token(odd))
        self.assertTrue(self.load(self.key, odd.jwk()))
        with server.client() as channel:
            self.assertTrue(self.served(server.stub(channel), self.second_token(odd)))

    def test_public_key_of_small_order_verifies_nothing(self):
        for x in SMALL_ORDER:
            with self.subTest(x=x):
                self.load(self.key, dict(self.second.jwk(), x=b64url(bytes.fromhex(x))))
                head, body, _ = self.second_token().split(".")
                for r in SMALL_ORDER:
                    forged = ".".join((head, body, b64url(bytes.fromhex(r) + bytes(32))))
                    with server.client() as channel:
                        self.assertFalse(self.served(server.stub(channel), forged))
                self.assert_refused(forged)


class KeyState(Case):
    STATES = {"pre-published": False, "active": True, "verify-only": True, "retired": False,
              "compromised": False}

    def warm_then(self, change):
        """Whether a token that was served stays so on its connection, and on a new one, once
        change has come over its key."""
        self.assertTrue(self.load(self.key, self.second.jwk()))
        token = self.second_token()
        with server.client() as warm:
            stub = server.stub(warm)
            for _ in range(3):
                self.assertTrue(self.served(stub, token))
            self.assertTrue(self.load(self.key, dict(self.second.jwk(), **change)))
            with server.client() as cold:
                answers = {self.served(stub, token), self.served(server.stub(cold), token),
                           self.served(stub, self.second_token())}
            self.assertTrue(self.served(stub, self.first_token()))
        self.assertEqual(len(answers), 1, answers)
        return answers.pop()

    def test_each_state(self):
        for state, served in self.STATES.items():
            with self.subTest(state=state):
                self.assertEqual(self.warm_then({"dacm_state": state}), served)

    def test_not_yet_valid_and_expired_keys(self):
        now = int(time.time())
        for change, served in (({"nbf": now + 3600}, False), ({"exp": now - 3600}, False),
                               ({"nbf": now - 3600, "exp": now + 3600}, True)):
            with self.subTest(change=change):
                self.assertEqual(self.warm_then(change), served)

    def test_same_kid_with_another_key(self):
        """The cache of verified tokens does not answer for a key that was replaced."""
        other = Issuer(server.issuer, kid=self.second.kid)
        self.assertFalse(self.warm_then({"x": other.jwk()["x"]}))

    def test_unknown_state_is_refused_with_its_set(self):
        for state in ("revoked", "Active", "", 1, None):
            with self.subTest(state=state):
                self.assertFalse(self.load(self.key, dict(self.second.jwk(), dacm_state=state)))
                self.assert_refused(self.second_token())


class Purpose(Case):
    def manifest_issuer(self):
        """Signs with dacmd's own manifest key."""
        key = json.loads((server.dir / "pki" / "manifest.jwks").read_text())
        key = key.get("keys", [key])[0]
        private = harness.Ed25519PrivateKey.from_private_bytes(unb64url(key["d"]))
        return Issuer(server.issuer, key=private, kid=key["kid"])

    def test_manifest_key_signs_no_token(self):
        issuer = self.manifest_issuer()
        for typ in ("at+jwt", "dacm-manifest+jwt"):
            with self.subTest(typ=typ):
                self.assert_refused(self.second_token(issuer, typ=typ))

    def test_manifest_is_no_token_and_token_no_manifest(self):
        manifest = server.download(asset, listed)[2].manifest
        self.assert_refused(manifest)
        file = server.dir / "file.glb"
        file.write_bytes(content)
        for jws, code in ((manifest, 0), (self.first_token(), 5)):
            (server.dir / "file.glb.jws").write_text(jws)
            done = server.cli("verify", file)
            self.assertIn(done.returncode, (code,) if code == 0 else (5, 6), done.stderr)

    def test_set_of_one_purpose_is_refused_where_another_is_expected(self):
        pki = server.dir / "pki"
        published = server.dir / "manifest.pub.jwks"
        published.write_text(server.https("/.well-known/jwks.json"))
        for what, change in (
                ("manifest set for tokens", {"issuers": [dict(
                    server.config["issuers"][0], jwks_file=str(published))]}),
                ("token key for manifests", {"signing": {
                    "source": "file", "key_file": str(pki / "token.jwks")}})):
            with self.subTest(what=what):
                path = server.dir / "config" / "crossed.yaml"
                path.write_text(json.dumps(dict(server.config, **change)))
                done = subprocess.run([harness.BIN / "dacmd", "--config", path, "--check-config"],
                                      text=True, capture_output=True, timeout=60)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertIn("purpose", done.stderr)

    def test_client_refuses_a_manifest_under_the_issuers_token_keys(self):
        file = server.dir / "copy.glb"
        server.cli("get", asset, "--as", listed, "-o", file, check=True)
        done = server.cli("--keys", self.path, "verify", file)
        self.assertIn(done.returncode, (2, 5, 6), done.stdout + done.stderr)
        self.assertNotEqual(os.path.getsize(file), 0)


class Reload(Case):
    def test_resource_of_a_running_server_stays_for_tokens_and_manifests(self):
        """Both or neither: a server that took tokens for one name and signed under another would
        be two."""
        before = server.config["resource"]
        server.config["resource"] = "https://renamed.example/"
        server.write_config()
        try:
            self.assertTrue(server.reload())
            self.assertIn("restart to use it", server.read_log())
            self.assertEqual(server.download(asset, listed)[1]["iss"], before)
            claims = server.claims(listed, asset, ["get"], [listed])
            claims["aud"] = "https://renamed.example/"
            self.assert_refused(server.sign(claims))
        finally:
            server.config["resource"] = before
            server.write_config()


if __name__ == "__main__":
    unittest.main(verbosity=2)
