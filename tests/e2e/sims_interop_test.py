# SPDX-License-Identifier: Apache-2.0
"""The SIM-S and clients that are not ours: npm openid-client and jose, curl."""
import hashlib
import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.parse

from cryptography.hazmat.primitives import serialization

import harness
import sims
from harness import b64url
from sims import PASSWORD, details

ANNA, BERT = "msisdn-491110000001", "msisdn-491110000002"
NODE = harness.SOURCE / "tests" / "interop" / "node"


class Others(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = server = sims.Sims()
        server.add_user("anna", [ANNA], name="Anna A.")
        cls.app = server.add_client("app")
        cls.signed = server.add_client("signed", "private_key_jwt", scopes=["seal.da"],
                                       grants=["client_credentials"])
        cls.val = server.add_client(
            "https://val.example/server", "tls_client_auth", grants=["client_credentials"],
            scopes=["seal.da"], tls_san="val.dacm.localhost", bound=True, users=[ANNA, BERT])
        cls.asset = server.dacm.upload(
            b"an avatar " * 1000, server.dacm.users[0], allow=[ANNA]).asset_id

    @classmethod
    def tearDownClass(cls):
        assert cls.sims.stop() == 0

    def test_openid_client_and_jose(self):
        if not (NODE / "node_modules" / "openid-client").exists():
            raise AssertionError(f"openid-client is missing: npm ci in {NODE} (scripts/test does)")
        raw = self.signed.key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
            serialization.NoEncryption())
        public = self.signed.key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        pki = self.sims.dir / "pki"
        given = {
            "issuer": self.sims.issuer, "audience": self.sims.dacm.audience, "asset": self.asset,
            "user": {"username": "anna", "password": PASSWORD, "gpsi": ANNA},
            "app": {"client_id": "app", "redirect_uri": self.app.redirect_uri},
            "signed": {"client_id": "signed", "key": {
                "kty": "OKP", "crv": "Ed25519", "kid": "signed-1", "d": b64url(raw),
                "x": b64url(public)}},
            "val": {"client_id": self.val.client_id, "cert": f"{pki}/val.crt",
                    "key": f"{pki}/val.key", "users": [ANNA, BERT],
                    "thumbprint": self.sims.dacm.thumbprint("val")},
        }
        path = self.sims.dir / "openid.json"
        path.write_text(json.dumps(given))
        done = subprocess.run(
            ["/usr/bin/node", "--experimental-global-webcrypto", "openid.mjs", path], cwd=NODE,
            env={"NODE_EXTRA_CA_CERTS": self.sims.ca_file, "PATH": "/usr/bin:/bin"},
            text=True, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines(), [
            "discovery", "RFC 8414 metadata", "code with PKCE", "userinfo", "narrowing refresh",
            "refusal of an asset", "client credentials with private_key_jwt", "introspection",
            "revocation", "client credentials with mutual TLS"])

    def curl(self, *arguments):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", self.sims.ca_file, *arguments],
            text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_curl_from_login_to_userinfo(self):
        """What docs/wire.md shows, step by step."""
        metadata = json.loads(self.curl(self.sims.issuer + "/.well-known/openid-configuration"))
        verifier = b64url(b"v" * 32)
        challenge = b64url(hashlib.sha256(verifier.encode()).digest())
        with tempfile.TemporaryDirectory() as folder:
            jar = pathlib.Path(folder) / "cookies"
            page = self.curl(
                "--get", metadata["authorization_endpoint"], "--cookie-jar", jar,
                "-d", "response_type=code", "-d", "client_id=app", "-d", "state=s",
                "-d", "scope=openid+seal.da", "-d", "code_challenge=" + challenge,
                "-d", "code_challenge_method=S256",
                "--data-urlencode", "redirect_uri=" + self.app.redirect_uri,
                "--data-urlencode", "authorization_details=" + details())
            fields = sims.Forms(page).fields
            answer = self.curl(
                "--include", self.sims.issuer + "/login", "--cookie", jar, "--cookie-jar", jar,
                *[part for name in ("request", "at", "csrf")
                  for part in ("--data-urlencode", f"{name}={fields[name]}")],
                "-d", "username=anna", "--data-urlencode", "password=" + PASSWORD)
        location = re.search(r"(?im)^location: (.*?)\r?$", answer)[1]
        code = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(location).query))["code"]
        tokens = json.loads(self.curl(
            metadata["token_endpoint"], "-d", "grant_type=authorization_code", "-d",
            "client_id=app", "-d", "code=" + code, "-d", "code_verifier=" + verifier,
            "--data-urlencode", "redirect_uri=" + self.app.redirect_uri,
            "--data-urlencode", "authorization_details=" + details(self.asset)))
        self.assertEqual(self.sims.claims(tokens["access_token"])["Digital_profile"], ANNA)
        told = json.loads(self.curl(metadata["userinfo_endpoint"], "-H",
                                    "Authorization: Bearer " + tokens["access_token"]))
        self.assertEqual(set(told), {"sub"})

    def test_curl_with_a_certificate(self):
        metadata = json.loads(self.curl(self.sims.issuer + "/.well-known/openid-configuration"))
        pki = self.sims.dir / "pki"
        tokens = json.loads(self.curl(
            metadata["mtls_endpoint_aliases"]["token_endpoint"], "--cert", f"{pki}/val.crt",
            "--key", f"{pki}/val.key", "-d", "grant_type=client_credentials",
            "--data-urlencode", "client_id=" + self.val.client_id))
        self.assertEqual(self.sims.claims(tokens["access_token"])["cnf"],
                         {"x5t#S256": self.sims.dacm.thumbprint("val")})

    def test_tls_1_1_is_refused(self):
        done = subprocess.run(
            ["curl", "--silent", "--cacert", self.sims.ca_file, "--tls-max", "1.1",
             "--ciphers", "DEFAULT@SECLEVEL=0", self.sims.issuer + "/jwks.json"],
            capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 35)  # the handshake failed


if __name__ == "__main__":
    unittest.main()
