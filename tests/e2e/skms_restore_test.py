# SPDX-License-Identifier: Apache-2.0
"""A skmsd whose store is lost and restored from a copy: verifiers that have seen newer key sets take
its sets again, what was revoked since stays revoked, and tokens of then are void. And the secret
under which the store is sealed, changed. Both are killed at random instants."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import time
import unittest

import grpc

import harness
import keygiver
import keyserver
from configured import wait_until
from harness import code_of
from keyserver import DACM, admin, keys

ROUNDS = 100 if os.environ.get("DACM_TEST_FULL") == "1" else 10
NEW_SECRET = "another secret, as good as the first"


class Verifier:
    """Our own: `dacm trust` with a folder of its own."""

    def __init__(self, skms):
        self.skms, self.dir = skms, skms.dir / "trust"
        root = json.loads(skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        (skms.dir / "root.jwk").write_text(json.dumps(root))
        self.trust("add", skms.dir / "root.jwk", "--fingerprint",
                   "SHA256:" + keyserver.thumbprint(root))

    def trust(self, *arguments, code=0):
        done = subprocess.run([harness.BIN / "dacm", "trust", *map(str, arguments), "--dir",
                               self.dir], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def update(self, purpose=keys.PURPOSE_MANIFESTS, code=0):
        """Asks for the set, and takes it; its claims."""
        key_set = self.skms.stub().GetKeySet(
            keys.GetKeySetRequest(val_service=DACM, purpose=purpose))
        file = self.skms.dir / "sets.txt"
        file.write_text("\n".join([*key_set.root_statements, key_set.jws]))
        told = self.trust("update", file, code=code)
        return keyserver.jws_parts(key_set.jws)[1], told


class Case(unittest.TestCase):
    def setUp(self):
        def at_once(_, config):
            config["keys"] = {"published_before_s": 0}  # the next key may sign when it is turned
        self.skms = keyserver.Skms(at_once)
        self.addCleanup(self.skms.close)
        self.skms.add()
        self.copy = self.skms.dir / "copy"

    def backup(self):
        done = self.skms.run("--store-backup", self.copy)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def restore(self):
        """As docs/operations.md says."""
        store = self.skms.dir / "store"
        self.skms.kill()
        store.rename(self.skms.dir / f"lost-{time.monotonic_ns()}")
        shutil.copytree(self.copy, store)
        done = self.skms.run("--store-check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def active(self, purpose=keys.PURPOSE_MANIFESTS):
        return next(key for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=DACM, purpose=purpose)).keys if key.state == keys.KEY_STATE_ACTIVE)

    def turn(self):
        """Another key signs then."""
        before = self.active().kid
        self.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=DACM, purpose=keys.PURPOSE_MANIFESTS))
        wait_until("another key", lambda: self.active().kid != before)

    def audit_verifies(self):
        done = self.skms.run("--audit-verify")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class SkmsRestore(Case):
    def test_verifiers_that_saw_newer_sets_take_those_of_a_restored_store(self):
        verifier = Verifier(self.skms)
        old, _ = verifier.update()
        self.backup()
        for _ in range(3):
            self.turn()
        newest, _ = verifier.update()
        self.assertGreaterEqual(newest["version"], old["version"] + 3)
        self.restore()
        self.skms.start()
        restored, _ = verifier.update()
        self.assertGreater(restored["version"], newest["version"])
        self.assertEqual({key["kid"] for key in restored["keys"]} & {
            key["kid"] for key in old["keys"]}, {key["kid"] for key in old["keys"]})
        self.assertIn("restored from a copy", self.skms.log())
        self.turn()  # and goes on from there by one
        after, _ = verifier.update()
        self.assertEqual(after["version"], restored["version"] + 1)
        self.skms.stop()
        self.skms.start()  # once is enough
        self.assertEqual(verifier.update()[0]["version"], after["version"])
        self.restore()  # a second time, from the same copy
        self.skms.start()
        again, _ = verifier.update()
        self.assertGreater(again["version"], after["version"])
        self.audit_verifies()

    def test_copy_made_otherwise_is_refused_by_verifiers_until_it_is_told(self):
        verifier = Verifier(self.skms)
        self.skms.stop()
        shutil.copytree(self.skms.dir / "store", self.copy)
        self.skms.start()
        self.turn()
        verifier.update()
        self.restore()
        self.skms.start()
        self.assertIn("is an old one", verifier.update(code=5)[1])
        busy = self.skms.run("--after-restore")  # not beside a server
        self.assertEqual(busy.returncode, 1)
        self.assertIn("is served by process", busy.stderr)
        self.skms.stop()
        done = self.skms.run("--after-restore")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.skms.start()
        verifier.update()

    def test_what_was_revoked_since_the_copy_stays_revoked(self):
        client = self.skms.client("dacm.example")
        other = self.skms.client("other.example")
        unused = self.skms.token("late.example")
        revoked = self.active()
        self.backup()
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=revoked.kid, reason="stolen"))
        self.skms.admin().RevokeEnrolment(admin.RevokeEnrolmentRequest(
            val_service=DACM, certificate_san="other.example"))
        keyserver.Client(self.skms, "late.example").enrol(unused)
        self.restore()
        self.skms.start()
        verifier = Verifier(self.skms)
        states = {key["kid"]: key["dacm_state"] for key in verifier.update()[0]["keys"]}
        self.assertEqual(states[revoked.kid], "compromised")
        self.assertNotEqual(self.active().kid, revoked.kid)
        self.assertTrue(all(opened for opened in client.keys()[1]))
        with self.assertRaises(grpc.RpcError) as error:
            other.keys()
        self.assertEqual(code_of(error), grpc.StatusCode.PERMISSION_DENIED)
        with self.assertRaises(grpc.RpcError) as error:  # used up, though the copy did not know
            keyserver.Client(self.skms, "late.example").enrol(unused)
        self.assertEqual(code_of(error), grpc.StatusCode.UNAUTHENTICATED)
        told = [record for record in self.skms.audit() if record["event"] == "restored"][-1]
        self.assertEqual((told["outcome"], told["keys_revoked_again"],
                          told["enrolments_revoked_again"]), ("OK", 1, 1))

    def test_root_that_was_replaced_before_the_copy_is_not_told_as_lost(self):
        """However shortly before: the copy has it."""
        verifier = Verifier(self.skms)
        self.skms.admin().RotateRoot(admin.RotateRootRequest())
        self.backup()
        self.restore()
        self.skms.start()
        self.assertIn("restored from a copy", self.skms.log())
        self.assertNotIn("verifiers must pin the old one anew", self.skms.log())
        verifier.update()  # which follows to the new root
        told = [record for record in self.skms.audit() if record["event"] == "root"]
        self.assertEqual([(record["outcome"], record["sequence"]) for record in told],
                         [("asked", 2), ("OK", 2)])

    def test_requests_that_were_refused_do_not_keep_a_restored_store_from_starting(self):
        kid = self.active().kid
        self.backup()
        for request in (admin.RevokeKeyRequest(kid=kid, reason="x" * 257),
                        admin.RevokeKeyRequest(kid="no such key", reason="stolen"),
                        admin.RevokeKeyRequest(kid="x" * 4096, reason="stolen")):
            with self.assertRaises(grpc.RpcError):
                self.skms.admin().RevokeKey(request)
        self.restore()
        self.skms.start()
        self.assertEqual(self.active().kid, kid)

    def test_root_that_was_replaced_after_the_copy_is_told_as_lost(self):
        self.backup()
        self.skms.admin().RotateRoot(admin.RotateRootRequest())
        self.restore()
        self.skms.start()
        self.assertIn("verifiers must pin the old one anew", self.skms.log())

    def test_killed_at_any_instant_of_the_first_start(self):
        verifier = Verifier(self.skms)
        revoked = self.active()
        self.backup()
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=revoked.kid, reason="stolen"))
        for _ in range(5):
            self.turn()
        seen = verifier.update()[0]["version"]
        self.restore()
        seed = int(os.environ.get("SKMS_SEED", time.time()))
        print("SKMS_SEED", seed)
        draw = random.Random(seed)
        for _ in range(ROUNDS):
            process = subprocess.Popen([harness.BIN / "skmsd", "--config", self.skms.config_file],
                                       stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0, 0.2))  # where it is killed, not something that is waited for
            process.kill()
            process.wait()
        self.skms.start()
        claims = verifier.update()[0]
        self.assertGreater(claims["version"], seen)
        states = {key["kid"]: key["dacm_state"] for key in claims["keys"]}
        self.assertEqual(states[revoked.kid], "compromised")
        self.audit_verifies()

    def test_copy_holds_no_private_key_in_the_clear(self):
        _, opened = self.skms.client("dacm.example").keys()
        self.backup()
        secrets = [keyserver.SECRET.encode()]
        for jwk in opened:
            secrets += [harness.unb64url(jwk["d"]), jwk["d"].encode()]
        self.assertEqual(len(secrets), 5)
        for path in self.copy.rglob("*"):
            for secret in secrets:
                self.assertNotIn(secret, path.read_bytes() if path.is_file() else b"", path)

    def test_copy_in_which_a_thief_has_put_himself_is_not_served(self):
        """He can write the copy, and has a certificate and no secret: no key is sealed to him."""
        owner = self.skms.client("owner.example")
        owner.keys()
        thief = keyserver.Client(self.skms, "thief.example")
        self.backup()
        self.restore()
        changed = 0
        for path in (self.skms.dir / "store").rglob("data.mdb"):
            before = path.read_bytes()
            changed += before.count(owner.public.raw)
            path.write_bytes(before.replace(owner.public.raw, thief.public.raw)
                             .replace(b"owner.example", b"thief.example"))
        self.assertGreater(changed, 0)
        with self.assertRaisesRegex(AssertionError, "was not written by this server"):
            self.skms.start()


class BroughtKeys(Case):
    """Of VAL servers: the copy knows some, and was made before the others."""
    MAPS = "https://maps.example"

    def setUp(self):
        self.world = keygiver.World()
        self.addCleanup(self.world.close)
        self.skms, self.copy = self.world.skms, self.world.skms.dir / "copy"
        self.server = keygiver.Server(self.world, "val", [self.MAPS])
        self.world.service(self.MAPS, self.server)

    def bring(self, jwk):
        return self.server.provision(self.MAPS, jwk).kid

    def revoke(self, jwk):
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(
            kid=keyserver.thumbprint(jwk), reason="stolen"))

    def restore(self):
        super().restore()
        self.skms.start()
        self.server.stub = self.skms.stub(self.server.certificate)

    def test_key_that_was_revoked_does_not_come_back_with_an_old_store(self):
        known, unknown, lost, fine = (keygiver.private_jwk() for _ in range(4))
        self.bring(known)
        self.backup()
        self.revoke(known)
        self.bring(unknown)  # after the copy, which will not know it
        self.revoke(unknown)
        self.bring(lost)
        for _ in range(2):
            self.restore()
            told = [record for record in self.skms.audit() if record["event"] == "restored"][-1]
            self.assertEqual((told["outcome"], told["keys_revoked_again"], told["keys_barred"]),
                             ("OK", 1, 1))
            for jwk in (known, unknown):
                with self.assertRaises(grpc.RpcError) as error:
                    self.bring(jwk)
                self.assertEqual(code_of(error), grpc.StatusCode.FAILED_PRECONDITION)
                self.assertIn("was revoked as compromised", error.exception.details())
        self.assertEqual({key["kid"] for key in self.world.key_set(self.MAPS)},
                         {keyserver.thumbprint(known)})
        self.bring(lost)  # which nobody revoked
        self.bring(fine)
        self.audit_verifies()


class ChangedSecret(Case):
    def setUp(self):
        super().setUp()
        self.new_file = self.skms.dir / "master.new"
        self.new_file.write_text(NEW_SECRET + "\n")
        self.new_file.chmod(0o600)

    def change(self):
        return self.skms.run("--change-secret", self.new_file)

    def take_new_file(self):
        self.new_file.rename(self.skms.secret_file)

    def test_another_secret_opens_the_store_and_the_old_one_does_not(self):
        client = self.skms.client("dacm.example")
        before = client.keys()[1]
        busy = self.change()
        self.assertEqual(busy.returncode, 1)
        self.assertIn("is served by process", busy.stderr)
        self.skms.stop()
        done = self.change()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("is now sealed", done.stdout)
        self.assertIn("was already sealed", self.change().stdout)
        refused = self.skms.run()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("not the one that this store was sealed with", self.skms.log())
        self.take_new_file()
        self.skms.start()
        self.assertEqual(client.keys()[1], before)
        self.assertEqual([record["outcome"] for record in self.skms.audit()
                          if record["event"] == "change-secret"], ["asked", "OK"] * 2)
        for path in self.skms.dir.rglob("*"):
            if path.is_file() and path != self.skms.secret_file:
                self.assertNotIn(NEW_SECRET.encode(), path.read_bytes(), path)

    def test_what_cannot_be_a_secret_changes_nothing(self):
        self.skms.stop()
        for content, mode, expected in (("short", 0o600, "5 bytes"),
                                        (NEW_SECRET, 0o644, "others can read")):
            self.new_file.write_text(content)
            self.new_file.chmod(mode)
            done = self.change()
            self.assertEqual(done.returncode, 1)
            self.assertIn("--change-secret", done.stderr)
            self.assertIn(expected, done.stderr)
        self.new_file.write_text(NEW_SECRET)
        self.new_file.chmod(0o600)
        self.skms.secret_file.write_text("neither of the two that matter")
        self.assertIn("not the one that this store", self.change().stderr)
        self.skms.secret_file.write_text(keyserver.SECRET)
        self.skms.start()

    def test_killed_at_any_instant_one_of_the_two_opens_it(self):
        seed = int(os.environ.get("SKMS_SEED", time.time()))
        print("SKMS_SEED", seed)
        draw = random.Random(seed)
        self.skms.stop()
        files = [self.skms.secret_file, self.new_file]
        changed = 0
        for _ in range(ROUNDS):
            process = subprocess.Popen([harness.BIN / "skmsd", "--config", self.skms.config_file,
                                        "--change-secret", self.new_file],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0, 0.1))  # where it is killed, not something that is waited for
            process.kill()
            killed = process.wait() == -9
            done = self.change()  # again, after the crash
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            changed += killed and "already" in done.stdout
            contents = [file.read_text() for file in files]
            for file, content in zip(files, reversed(contents)):  # and back with the next
                file.write_text(content)
        print(f"{changed} of {ROUNDS} were killed behind the change")
        self.skms.start()
        self.assertEqual(len(self.skms.admin().ListKeys(admin.ListKeysRequest()).keys), 4)
        self.audit_verifies()


if __name__ == "__main__":
    unittest.main(verbosity=2)
