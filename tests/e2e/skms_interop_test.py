# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, "Verifying with other tools": its blocks run as they stand, npm jose and OpenSSL with
the keys that skmsd publishes; then with what must not verify. And key sets by a JOSE library."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

import harness
import keyserver
import provisioned
import skms_simsd_test
from configured import wait_until
from keyserver import admin, keys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "package"))
import tutorial  # noqa: E402

NODE = harness.SOURCE / "tests" / "interop" / "node"
SECTION = "## Verifying with other tools"


class Others(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (NODE / "node_modules" / "jose").exists():
            raise AssertionError(f"jose is missing: npm ci in {NODE} (scripts/test does)")
        cls.skms = keyserver.Skms(lambda _, config: config.update(keys={"published_before_s": 0}))
        cls.addClassCleanup(cls.skms.close)
        cls.dacm = provisioned.Dacm(cls.skms, {})
        cls.addClassCleanup(cls.dacm.stop)
        cls.sims = skms_simsd_test.World(cls.skms)
        cls.addClassCleanup(cls.sims.stop)
        cls.client = cls.skms.client("skmc.example", cls.dacm.audience)
        cls.owner = cls.dacm.users[0]
        document = (harness.SOURCE / "docs" / "wire.md").read_text()
        assert document.count(SECTION) == 1
        section = re.split(r"^## ", document.split(SECTION)[1], flags=re.M)[0]
        cls.files, cls.script, shown = tutorial.take_apart(section)
        assert set(cls.files) == {"verify.mjs", "unseal.py"} and not shown

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dacm-interop-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
        (self.folder / "node_modules").symlink_to(NODE / "node_modules")
        for kind in ("crt", "key"):
            (self.folder / f"skmc.{kind}").write_bytes(
                (self.skms.pki / f"skmc.example.{kind}").read_bytes())
        (self.folder / "sealing").write_bytes(self.client.private.raw)

    # -- what there is to verify

    def download(self, asset):
        content, _, start = self.dacm.download(asset, self.owner)
        (self.folder / "avatar.glb").write_bytes(content)
        self.write_jws("avatar.glb.jws", start.manifest)
        return start.manifest

    def write_jws(self, name, jws):
        (self.folder / name).write_text(jws + "\n")

    def published(self, service, purpose):
        return (f"{self.skms.https}/.well-known/jwks.json?val-service-id="
                f"{urllib.parse.quote(service, safe='')}&purpose={purpose}")

    def new_asset(self):
        return self.dacm.upload(os.urandom(50_000), self.owner).asset_id

    # -- the recipes

    def run_script(self, script, **changes):
        environment = {
            "PATH": "/usr/bin:/bin", "NODE_OPTIONS": "--experimental-global-webcrypto",
            "CA": str(self.skms.pki / "ca.crt"), "SKMS": self.skms.https,
            "MANIFEST_KEYS": self.published(self.dacm.audience, "manifests"),
            "TOKEN_KEYS": self.published(self.sims.issuer, "tokens"),
            "DACM": self.dacm.audience, "SIMS": self.sims.issuer,
            "SERVICE": urllib.parse.quote(self.dacm.audience, safe=""), **changes}
        return subprocess.run(["/bin/bash", "-c", script], cwd=self.folder, env=environment,
                              text=True, capture_output=True, timeout=120)

    def openssl(self):
        """The functions of the recipe alone."""
        return "set -eu\n" + self.script[self.script.index("b64()"):
                                         self.script.index("verify avatar.glb.jws")]

    def verdicts(self, name, keys_url, issuer, typ):
        """Of jose and of OpenSSL, by the recipes: whether the JWS in the file verifies."""
        by_jose = self.run_script(
            f'export NODE_EXTRA_CA_CERTS=$CA\nnode verify.mjs "{keys_url}" "{issuer}" {typ} < {name}')
        by_openssl = self.run_script(self.openssl() + f'verify {name} "{keys_url}" {typ}')
        return by_jose.returncode == 0, by_openssl.returncode == 0

    def test_recipes_as_they_stand(self):
        asset = self.new_asset()
        self.download(asset)
        self.write_jws("token", self.sims.token())
        done = self.run_script(self.script)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for name in ("manifest.json", "mine.json"):
            self.assertEqual(json.loads((self.folder / name).read_text())["asset_id"], asset)
        token = json.loads((self.folder / "token.json").read_text())
        self.assertEqual(token["client_id"], "val")
        # The key that came by HTTPS is the one that dacmd signs with, and no other.
        kid = keyserver.jws_parts((self.folder / "mine.jws").read_text().strip())[0]["kid"]
        self.assertEqual(kid, self.dacm.active())

    def test_recipe_fails_for_another_file(self):
        self.download(self.new_asset())
        self.write_jws("token", self.sims.token())
        (self.folder / "avatar.glb").write_bytes(b"another")
        self.assertNotEqual(self.run_script(self.script).returncode, 0)

    def test_what_must_not_verify(self):
        manifest, token = self.download(self.new_asset()), self.sims.token()
        manifests = self.published(self.dacm.audience, "manifests")
        tokens = self.published(self.sims.issuer, "tokens")
        right = {"m": (manifest, manifests, self.dacm.audience, "dacm-manifest+jwt"),
                 "t": (token, tokens, self.sims.issuer, "at+jwt")}
        for jws, url, issuer, typ in right.values():
            self.write_jws("jws", jws)
            self.assertEqual(self.verdicts("jws", url, issuer, typ), (True, True))
            head, body, signature = jws.split(".")
            cases = {
                "a flipped bit": (f"{head}.{body[:-1]}{'A' if body[-1] != 'A' else 'B'}.{signature}",
                                  url, typ),
                "another's signature": (f"{head}.{body}.{signature[:-4]}AAAA", url, typ),
                "another typ": (jws, url, "dacm-keyset+jwt"),
                "keys of the other purpose": (
                    jws, manifests if url == tokens else tokens, typ)}
            for what, (text, keys_url, asked) in cases.items():
                with self.subTest(what, typ=typ):
                    self.write_jws("jws", text)
                    self.assertEqual(
                        self.verdicts("jws", keys_url, issuer, asked), (False, False))

    def test_key_turns_and_is_revoked(self):
        old = self.download(self.new_asset())
        kid = keyserver.jws_parts(old)[0]["kid"]
        before = self.dacm.active()
        self.dacm.rotate()
        wait_until("another active key", lambda: self.dacm.active() != before)
        asset = []

        def signed_by_the_next():
            asset[:] = [self.new_asset()]
            return self.dacm.manifest_kid(asset[0], self.owner) == self.dacm.active()
        wait_until("a manifest by it", signed_by_the_next)
        new = self.download(asset[0])
        where = (self.published(self.dacm.audience, "manifests"), self.dacm.audience,
                 "dacm-manifest+jwt")
        for jws in (old, new):
            self.write_jws("jws", jws)
            self.assertEqual(self.verdicts("jws", *where), (True, True))
        self.dacm.revoke(kid)
        self.write_jws("jws", old)
        self.assertEqual(self.verdicts("jws", *where), (False, False))
        self.write_jws("jws", new)
        self.assertEqual(self.verdicts("jws", *where), (True, True))

    def test_key_set_by_a_jose_library(self):
        asset = self.new_asset()
        root = json.loads(self.skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        key_set = self.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=self.dacm.audience, purpose=keys.PURPOSE_MANIFESTS))
        given = {"root": root, "fingerprint": "SHA256:" + keyserver.thumbprint(root),
                 "set": key_set.jws, "skms": "https://skms.example",
                 "manifest": self.download(asset)}

        def run(**changes):
            return subprocess.run(
                ["/usr/bin/node", "--experimental-global-webcrypto", "keyset.mjs"], cwd=NODE,
                input=json.dumps({**given, **changes}), text=True, capture_output=True, timeout=60)
        done = run()
        self.assertEqual((done.returncode, done.stdout.strip()), (0, asset), done.stderr)
        for wrong in ({"fingerprint": "SHA256:" + "A" * 43}, {"skms": "https://other.example"},
                      {"set": key_set.jws[:-4] + "AAAA"}, {"manifest": key_set.jws}):
            self.assertNotEqual(run(**wrong).returncode, 0, wrong)

    def test_records_are_for_their_owner_alone(self):
        path = f"/ss-kir/v1/key-records?val-service-id={urllib.parse.quote(self.dacm.audience)}"
        self.assertEqual(self.skms.get(path)[0], 401)
        self.skms.certificate("stranger.example", "--dns", "stranger.example")
        self.assertEqual(self.skms.get(path, "stranger.example")[0], 403)


if __name__ == "__main__":
    unittest.main()
