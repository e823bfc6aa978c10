# SPDX-License-Identifier: Apache-2.0
"""dacm trust, dacm verify --trust: key sets and roots that were made here, by Python alone."""
import base64
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time
import unittest

import harness
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness import b64url

SKMS, DACM, SIMS = "https://skms.example", "https://dacm.example/", "https://sims.example"
ROUNDS = 300 if harness.FULL else 30


class Key:
    """An Ed25519 key pair with its RFC 7638 thumbprint as kid."""

    def __init__(self):
        self.private = Ed25519PrivateKey.generate()
        x = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(x)}
        members = json.dumps({name: self.jwk[name] for name in ("crv", "kty", "x")},
                             separators=(",", ":"), sort_keys=True)
        self.thumbprint = hashlib.sha256(members.encode()).digest()
        self.jwk["kid"] = self.kid = b64url(self.thumbprint)
        self.fingerprint = "SHA256:" + self.kid

    def sign(self, typ, claims):
        head = {"alg": "EdDSA", "kid": self.kid, "typ": typ}
        text = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
        return text + "." + b64url(self.private.sign(text.encode()))


def listed(key, purpose="manifest", state="active"):
    now = int(time.time())
    return dict(key.jwk, dacm_purpose=purpose, dacm_state=state, nbf=now - 3600, exp=now + 86400)


def key_set(root, keys, version, service=DACM, purpose="manifests", age=0, life=3600):
    at = int(time.time()) - age
    return root.sign("dacm-keyset+jwt", {
        "iss": SKMS, "service": service, "purpose": purpose, "version": version, "iat": at,
        "exp": at + life, "keys": keys})


def statement(old, new, sequence):
    return old.sign("dacm-root+jwt", {"iss": SKMS, "sequence": sequence, "iat": int(time.time()),
                                      "root": new.jwk})


class Trust(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="dacm-e2e-")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.folder = self.home / "state" / "dacm" / "trust"
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("DACM_", "XDG_"))}
        self.env.update(HOME=str(self.home), XDG_STATE_HOME=str(self.home / "state"))
        self.root, self.key = Key(), Key()

    def start(self, *arguments):
        return subprocess.Popen([harness.BIN / "dacm", *map(str, arguments)], env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_dacm(self, *arguments, code=0):
        done = subprocess.run([harness.BIN / "dacm", *map(str, arguments)], env=self.env,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done)
        return done

    def write(self, name, text):
        path = self.home / name
        path.write_text(text)
        return path

    def pin(self, *more):
        root = self.write("root.jwk", json.dumps(dict(self.root.jwk, dacm_issuer=SKMS)))
        return self.run_dacm("trust", "add", root, "--fingerprint", self.root.fingerprint, *more)

    def update(self, *texts, code=0):
        return self.run_dacm("trust", "update", self.write("update", "\n".join(texts)), code=code)

    def refused(self, code, words, *texts):
        done = self.update(*texts, code=code)
        self.assertIn(words, done.stderr)

    def kept(self):
        lines = self.run_dacm("--json", "trust", "list").stdout.splitlines()
        return {root["issuer"]: root for root in map(json.loads, lines)}

    def versions(self):
        return {(kept["service"], kept["purpose"]): kept["version"]
                for kept in self.kept()[SKMS]["sets"]}

    def avatar(self, key=None, **claims):
        """A file with its manifest beside it, signed by key."""
        content = os.urandom(1000)
        file = self.home / "avatar.glb"
        file.write_bytes(content)
        now = int(time.time())
        manifest = {"iss": DACM, "asset_id": "avatar", "version": 1, "size": len(content),
                    "media_type": "model/gltf-binary", "chunking": "gear-64k", "iat": now,
                    "exp": now + 3600, "chunks": b64url(bytes(32)),
                    "sha256": b64url(hashlib.sha256(content).digest()), **claims}
        (self.home / "avatar.glb.jws").write_text(
            (key or self.key).sign("dacm-manifest+jwt", manifest) + "\n")
        return file


class Pins(Trust):
    def test_root_is_pinned_by_its_fingerprint_only(self):
        root = self.write("root.jwk", json.dumps(self.root.jwk))
        named = ["trust", "add", root, "--issuer", SKMS]
        asked = self.run_dacm(*named, code=2)
        self.assertIn(self.root.fingerprint, asked.stderr)
        wrong = self.run_dacm(*named, "--fingerprint", Key().fingerprint, code=5)
        self.assertIn(self.root.fingerprint, wrong.stderr)
        self.assertEqual(self.kept(), {})
        added = self.run_dacm(*named, "--fingerprint", self.root.fingerprint)
        self.assertIn(SKMS, added.stdout)
        self.assertEqual(self.kept()[SKMS]["fingerprint"], self.root.fingerprint)
        other = self.write("other.jwk", json.dumps(Key().jwk))
        self.run_dacm("trust", "add", other, "--issuer", SKMS, "--fingerprint",
                      self.root.fingerprint, code=5)

    def test_fingerprint_is_taken_as_ssh_would_write_it(self):
        root = self.write("root.jwk", json.dumps(self.root.jwk))
        self.run_dacm("trust", "add", root, "--issuer", SKMS, "--fingerprint", "SHA256:"
                      + base64.b64encode(self.root.thumbprint).rstrip(b"=").decode())

    def test_another_root_is_not_pinned_over_the_first(self):
        self.pin()
        other = Key()
        file = self.write("other.jwk", json.dumps(other.jwk))
        done = self.run_dacm("trust", "add", file, "--issuer", SKMS, "--fingerprint",
                             other.fingerprint, code=9)
        self.assertIn("dacm trust update", done.stderr)
        self.assertEqual(self.run_dacm("trust", "remove", SKMS).stdout, f"{SKMS}: removed\n")
        self.run_dacm("trust", "remove", SKMS, code=4)
        self.run_dacm("trust", "add", file, "--issuer", SKMS, "--fingerprint", other.fingerprint)

    def test_files_are_ours_alone_and_another_folder_can_be_named(self):
        self.pin()
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        for file in self.folder.iterdir():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.pin("--dir", self.home / "elsewhere")
        self.assertTrue((self.home / "elsewhere" / "trust.json").exists())
        (self.folder / "trust.json").chmod(0o646)
        self.assertIn("others", self.run_dacm("trust", "list", code=11).stderr)

    def test_folder_of_the_environment_and_what_json_says(self):
        self.env["DACM_TRUST"] = str(self.home / "from-env")
        added = self.run_dacm("--json", "trust", "add", self.write(
            "root.jwk", json.dumps(self.root.jwk)), "--issuer", SKMS, "--fingerprint",
            self.root.fingerprint, "--service", DACM, "--service", SIMS)
        self.assertFalse(self.folder.exists())
        self.update(key_set(self.root, [listed(self.key)], 7))
        listing = self.run_dacm("--json", "trust", "list")
        self.assertEqual(json.loads(added.stdout)["services"], [DACM, SIMS])
        kept = json.loads(listing.stdout)
        self.assertEqual((kept["issuer"], kept["fingerprint"], kept["sequence"]),
                         (SKMS, self.root.fingerprint, 0))
        only = kept["sets"][0]
        self.assertEqual((only["service"], only["purpose"], only["version"], only["keys"],
                          only["expired"], only["expires_at"] - only["issued_at"]),
                         (DACM, "manifests", 7, 1, False, 3600))
        self.assertIn("version 7, keys: 1", self.run_dacm("trust", "list").stdout)
        self.run_dacm("verify", self.avatar(), "--trust")
        removed = json.loads(self.run_dacm("--json", "trust", "remove", SKMS).stdout)
        self.assertEqual(removed, {"done": "removed", "issuer": SKMS})
        error = json.loads(self.run_dacm("--json", "trust", "remove", SKMS, code=4).stdout)
        self.assertEqual(error["error"]["code"], "NOT_FOUND")

    def test_private_key_is_not_taken_for_a_root(self):
        seed = b64url(os.urandom(32))
        file = self.write("root.jwk", json.dumps(dict(self.root.jwk, d=seed)))
        done = self.run_dacm("trust", "add", file, "--issuer", SKMS, "--fingerprint",
                             self.root.fingerprint, code=2)
        self.assertNotIn(seed, done.stderr)


class Sets(Trust):
    def setUp(self):
        super().setUp()
        self.pin()

    def test_key_set_rollback_is_refused_after_a_newer_one_was_seen(self):
        old = key_set(self.root, [listed(self.key)], 3)
        done = self.run_dacm("--json", "trust", "update", self.write("old", old))
        self.assertEqual(json.loads(done.stdout), {"known": 0, "roots": 0, "sets": 1})
        self.update(key_set(self.root, [listed(self.key, state="compromised")], 4))
        self.refused(5, "4 was seen before", old)
        self.refused(5, "4 was seen before", key_set(self.root, [listed(self.key)], 3))
        self.assertEqual(self.versions(), {(DACM, "manifests"): 4})
        self.run_dacm("verify", self.avatar(), "--trust", code=5)

    def test_key_set_that_expired_is_refused_to_a_first_time_client(self):
        self.refused(9, "expired", key_set(self.root, [listed(self.key)], 3, age=3700))
        self.refused(9, "future", key_set(self.root, [listed(self.key)], 3, age=-120))
        self.refused(5, "`exp`", key_set(self.root, [listed(self.key)], 3, life=3601))
        self.assertEqual(self.versions(), {})

    def test_second_history_has_a_message_of_its_own(self):
        key = listed(self.key)
        self.update(key_set(self.root, [key], 3))
        for other in (listed(Key()), dict(key, dacm_state="verify-only")):
            self.refused(5, "two histories", key_set(self.root, [other], 3))
        self.update(key_set(self.root, [key], 3))
        self.assertEqual(self.versions()[DACM, "manifests"], 3)

    def test_roots_are_followed_in_order_and_only_so(self):
        second, third, fork = Key(), Key(), Key()
        one, two = statement(self.root, second, 1), statement(second, third, 2)
        new = key_set(third, [listed(self.key)], 8)
        self.refused(6, "another root", new)
        self.refused(6, "of other roots", two)
        self.update(one, two, new)
        self.assertEqual(self.kept()[SKMS]["fingerprint"], third.fingerprint)
        self.assertEqual(self.kept()[SKMS]["sequence"], 2)
        self.refused(6, "another root", key_set(self.root, [listed(self.key)], 9))
        self.refused(5, "two statements 1", statement(self.root, fork, 1))
        self.refused(9, "does not follow 2", statement(third, fork, 4))
        self.assertEqual(self.versions()[DACM, "manifests"], 8)

    def test_manifest_key_signs_no_set_and_a_root_no_manifest(self):
        self.update(key_set(self.root, [listed(self.key)], 1))
        self.refused(6, "another root", key_set(self.key, [listed(self.key)], 2))
        self.refused(5, "is the root", key_set(self.root, [listed(self.root)], 2))
        self.refused(2, "neither", self.key.sign("dacm-manifest+jwt", {"iss": SKMS}))
        self.run_dacm("verify", self.avatar(self.root), "--trust", code=6)
        self.refused(5, "one purpose", key_set(
            self.root, [listed(self.key, "token")], 1, service=SIMS, purpose="tokens"))

    def test_damaged_file_is_an_error_not_a_fresh_start(self):
        self.update(key_set(self.root, [listed(self.key)], 4))
        whole = (self.folder / "trust.json").read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 3):
            (self.folder / "trust.json").write_bytes(whole[:size])
            self.refused(11, "damaged", key_set(self.root, [listed(self.key)], 3))
            self.run_dacm("verify", self.avatar(), "--trust", code=11)

    def test_killed_at_any_instant_nothing_that_was_acknowledged_is_lost(self):
        """kill -9 while updating: the file is the old or the new one, and never half of one."""
        keys = [listed(Key(), state="verify-only") for _ in range(60)]
        seen, number, killed = 0, 1, 0
        started = time.monotonic()
        self.update(key_set(self.root, keys, number))
        whole_s = time.monotonic() - started
        rng = random.Random(33721)
        for _ in range(ROUNDS):
            seen, number = max(seen, number), number + 1
            update = self.start("trust", "update", self.write(
                "update", key_set(self.root, keys, number)))
            try:
                update.wait(rng.uniform(0, whole_s))
            except subprocess.TimeoutExpired:
                update.kill()
            update.communicate()
            killed += update.returncode == -9
            kept = self.versions()[DACM, "manifests"]
            self.assertIn(kept, (seen, number))
            if update.returncode == 0:
                self.assertEqual(kept, number)
            seen = number = kept
            self.refused(5, "seen before", key_set(self.root, keys, kept - 1)) if kept > 1 else None
        self.assertGreater(killed, 0)
        self.update(key_set(self.root, keys, number + 1))
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()),
                         ["lock", "trust.json"])

    def test_processes_at_once_lose_nothing_of_each_other(self):
        services = [f"https://dacm-{i}.example/" for i in range(6)]
        files = [(version, self.write(f"{i}-{version}", key_set(
                     self.root, [listed(self.key)], version, service)))
                 for version in (1, 2, 3) for i, service in enumerate(services)]
        random.Random(5).shuffle(files)
        running = [(version, self.start("trust", "update", file)) for version, file in files]
        for version, update in running:
            _, error = update.communicate(timeout=120)
            self.assertTrue(update.returncode == 0
                            or (update.returncode == 5 and "seen before" in error), error)
            self.assertTrue(version < 3 or update.returncode == 0, error)
        self.assertEqual(self.versions(), {(service, "manifests"): 3 for service in services})


class Verify(Trust):
    def setUp(self):
        super().setUp()
        self.pin()

    def test_file_verifies_offline_by_the_pinned_key_set(self):
        file = self.avatar()
        self.assertIn("dacm trust update", self.run_dacm("verify", file, "--trust", code=6).stderr)
        self.update(key_set(self.root, [listed(self.key)], 1))
        done = json.loads(self.run_dacm("--json", "verify", file, "--trust").stdout)
        self.assertEqual((done["signature"], done["keys_expired"], done["issuer"]),
                         ("valid", False, DACM))
        self.run_dacm("verify", file, f"--trust={self.folder}")
        self.run_dacm("verify", file, "--trust", "--issuer", SIMS, code=5)
        file.write_bytes(b"x" * 1000)
        self.run_dacm("verify", file, "--trust", code=5)

    def test_jose_verifies_set_and_manifest_by_the_recipe_of_the_documents(self):
        modules = harness.SOURCE / "tests" / "interop" / "node" / "node_modules"
        if not (modules / "jose").exists():
            self.skipTest("run `npm ci` in tests/interop/node (scripts/test does)")
        (self.home / "node_modules").symlink_to(modules)
        recipe = re.search(r"^```js file=verify-set.mjs\n(.*?)^```$", (
            harness.SOURCE / "docs" / "wire.md").read_text(), re.M | re.S)[1]
        self.write("verify-set.mjs", recipe)
        root = self.write("root.jwk", json.dumps(self.root.jwk))

        def node(keys, manifest_key):
            self.avatar(manifest_key)
            text = key_set(self.root, keys, 7)
            ours = self.run_dacm("trust", "update", self.write("set.jws", text),
                                 "--dir", self.home / "other")
            return ours, subprocess.run(
                ["/usr/bin/node", "--experimental-global-webcrypto", "--no-warnings",
                 self.home / "verify-set.mjs", root, self.home / "set.jws",
                 self.home / "avatar.glb.jws"], capture_output=True, text=True, timeout=120)
        self.pin("--dir", self.home / "other")
        key = listed(self.key)
        _, done = node([key], self.key)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stdout.splitlines()[:2],
                         [self.root.fingerprint, f"{SKMS} manifests {DACM} 7"])
        self.assertNotEqual(node([key], Key())[1].returncode, 0)

    def test_each_state_of_the_key_says_what_its_signature_is_worth(self):
        for version, (state, code) in enumerate((
                ("pre-published", 5), ("active", 0), ("verify-only", 0), ("retired", 0),
                ("compromised", 5)), 1):
            with self.subTest(state=state):
                self.update(key_set(self.root, [listed(self.key, state=state)], version))
                self.run_dacm("verify", self.avatar(), "--trust", code=code)
        self.update(key_set(self.root, [listed(self.key)], 9))
        old = int(time.time()) - 7200
        self.run_dacm("verify", self.avatar(iat=old), "--trust", code=5)

    def test_keys_of_another_service_or_purpose_verify_nothing(self):
        other = Key()
        self.update(key_set(self.root, [listed(self.key)], 1),
                    key_set(self.root, [listed(other)], 1, service="https://other.example/"))
        self.run_dacm("verify", self.avatar(other), "--trust", code=6)
        self.run_dacm("verify", self.avatar(iss=SIMS), "--trust", code=6)
        self.run_dacm("verify", self.avatar(other, iss="https://other.example/"), "--trust")

    def test_key_set_that_expired_where_it_is_kept_is_used_only_on_request(self):
        self.update(key_set(self.root, [listed(self.key)], 1, age=1, life=2))
        stored = json.loads((self.folder / "trust.json").read_text())
        stored["issuers"][0]["sets"][0]["expires_at"] -= 60  # the 30 s for clocks have passed too
        (self.folder / "trust.json").write_text(json.dumps(stored))
        file = self.avatar()
        self.assertIn("expired", self.run_dacm("verify", file, "--trust", code=9).stderr)
        done = json.loads(self.run_dacm(
            "--json", "verify", file, "--trust", "--take-expired-keys").stdout)
        self.assertIs(done["keys_expired"], True)
        self.assertIs(self.kept()[SKMS]["sets"][0]["expired"], True)

    def test_two_sources_of_keys_contradict_each_other(self):
        file = self.avatar()
        self.run_dacm("verify", file, "--trust", "--keys", file, code=2)
        self.run_dacm("verify", file, "--take-expired-keys", code=2)


class Download(Trust):
    """dacm get --trust: from dacmd itself, whose key is in a key set."""

    def test_download_verifies_by_the_pinned_key_set_until_the_key_is_revoked(self):
        dev = harness.Dev()
        try:
            published = json.loads(pathlib.Path(dev.env["keys_file"]).read_text())["keys"][0]
            now = int(time.time())
            window = {"nbf": now - 3600, "exp": now + 86400, "dacm_purpose": "manifest"}
            asset = dev.upload(b"some bytes", dev.users[0]).asset_id
            self.env.update(DACM_ENV=str(dev.dir))
            get = ["get", asset, "--as", dev.users[0], "-o", self.home / "out", "--trust"]
            self.pin()
            self.assertIn("dacm trust update", self.run_dacm(*get, code=6).stderr)
            self.update(key_set(self.root, [{**published, **window, "dacm_state": "active"}], 1,
                                service=dev.audience))
            self.run_dacm(*get)
            self.assertEqual((self.home / "out").read_bytes(), b"some bytes")
            self.run_dacm("verify", self.home / "out", "--trust")
            self.update(key_set(self.root, [{**published, **window, "dacm_state": "compromised"}],
                                2, service=dev.audience))
            self.assertIn("compromised", self.run_dacm(*get, code=5).stderr)
            self.assertIn("compromised", self.run_dacm(
                "verify", self.home / "out", "--trust", code=5).stderr)
            self.run_dacm(*get, "--keys", dev.env["keys_file"], code=2)
        finally:
            self.assertEqual(dev.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
