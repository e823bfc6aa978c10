# SPDX-License-Identifier: Apache-2.0
"""skmsd when its disk is full and when its clock is an hour off: what it promised holds, and log,
metrics and health say what is wrong, until it is mended."""
import os
import pathlib
import signal
import struct
import subprocess
import time
import unittest

import grpc

import harness
import keyserver
from configured import wait_until
from keyserver import DACM, admin, keys

MANIFESTS, TOKENS = keys.PURPOSE_MANIFESTS, keys.PURPOSE_TOKENS
DELEGATED = "https://delegated.example"
HOUR = 3600


class Case(unittest.TestCase):
    settings = None
    skms_class = keyserver.Skms

    def setUp(self):
        self.skms = self.skms_class(self.settings)
        self.addCleanup(self.close)
        self.skms.add()
        self.skms.add(DELEGATED, delegated=True)
        self.client = self.skms.client("dacm.example")
        self.delegate = self.skms.client("delegated.example", DELEGATED)
        self.verifier = self.skms.verifier()

    def close(self):
        self.skms.close()

    def read(self, service=DACM, purpose=MANIFESTS):
        return self.verifier.read(self.skms.stub().GetKeySet(
            keys.GetKeySetRequest(val_service=service, purpose=purpose)))

    def sign(self):
        return self.delegate.stub.Sign(keys.SignRequest(purpose=TOKENS, message=b"input"))

    def active(self, purpose=MANIFESTS):
        return next(key for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=DACM, purpose=purpose)).keys if key.state == keys.KEY_STATE_ACTIVE)

    def revoke(self):
        kid = self.active().kid
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=kid, reason="lost"))
        return kid

    def refused(self, code, call, *arguments):
        with self.assertRaises(grpc.RpcError) as error:
            call(*arguments)
        self.assertEqual(harness.code_of(error), code, error.exception.details())
        return error.exception.details()

    def health(self):
        """(status, names of what fails)."""
        status, _, body = self.skms.get("/healthz")
        return status, body.decode()

    def healthy(self):
        wait_until("health", lambda: self.health()[0] == 200)

    def metric(self, name):
        for line in self.skms.get("/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(name)

    def checks(self):
        for tool in ("--store-check", "--audit-verify"):
            done = self.skms.run(tool)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


# ---- disk ------------------------------------------------------------------------------------------

class Disk:
    """A file system of its own for one folder of skmsd, which can be filled."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.filler = self.folder / "filler"
        self.file = None

    def mount(self):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "skms-full",
                               self.folder], text=True, capture_output=True)
        if done.returncode != 0:
            raise PermissionError("cannot mount a tmpfs here: " + done.stderr.strip())
        return self

    def fill(self):
        with open(self.filler, "wb", buffering=0) as file:
            size = 65536
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", self.folder], check=True)


class FullDisk(Case):
    folder = None

    def settings(self, skms, config):
        config["audit"]["stuck_ms"] = 2000
        disk = Disk(skms.dir / self.folder)
        try:
            self.disk = disk.mount()
        except PermissionError as error:
            self.skipTest(str(error))

    def close(self):
        if self.skms.process.poll() is None:
            self.skms.stop()
        self.disk.unmount()
        self.skms.close()


class FullStore(FullDisk):
    folder = "store"

    def test_nothing_changes_everything_else_goes_on_and_it_is_told(self):
        # keys of this one turn every few seconds, so that skmsd has something to write
        restless = "https://restless.example"
        self.skms.add(restless, active_s=3, published_before_s=1, verify_only_s=1)
        before = self.read()
        self.disk.fill()
        refusals = set()

        def refuses():
            try:
                self.skms.admin().RotateKey(admin.RotateKeyRequest(
                    val_service=restless, purpose=TOKENS))
            except grpc.RpcError as error:
                refusals.add((error.code(), error.details()))
            return bool(refusals)
        wait_until("a refusal", refuses)
        (code, details), *_ = refusals
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("disk", details)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, self.revoke)
        self.assertEqual(self.read(), before)
        self.assertTrue(all(self.client.keys()[1]))
        self.sign()
        wait_until("health that tells", lambda: self.health()[0] == 503)
        self.assertIn("keys could not be made, turned or published", self.health()[1])
        self.assertEqual(self.metric("skm_keys_tended"), 0)
        wait_until("a line of the log", lambda: "keys could not be made or turned" in
                   self.skms.log())
        self.disk.empty()
        self.healthy()
        self.assertEqual(self.metric("skm_keys_tended"), 1)
        revoked = self.revoke()
        self.skms.kill()
        self.skms.start()
        after = {key["kid"]: key for key in self.read()["keys"]}
        self.assertEqual(after[revoked]["dacm_state"], "compromised")
        self.checks()


class FullTrail(FullDisk):
    folder = "audit"

    def test_nothing_is_done_without_its_record_and_it_is_told(self):
        before = self.read()
        self.disk.fill()
        with self.assertRaises(grpc.RpcError) as error:
            while True:  # the last page of the segment has room for some
                self.client.keys()
        self.assertEqual(harness.code_of(error), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("the audit trail cannot be written", error.exception.details())
        self.refused(grpc.StatusCode.UNAVAILABLE, self.revoke)
        answered = 0
        with self.assertRaises(grpc.RpcError) as error:
            while answered < 100:
                self.sign()
                answered += 1
        self.assertEqual(harness.code_of(error), grpc.StatusCode.UNAVAILABLE)
        self.assertLess(answered, 25)  # those that the trail knew of
        self.assertEqual(self.read(), before)  # verifiers notice nothing
        self.assertGreater(self.metric("skm_audit_refused_total"), 1)
        status, text = self.health()
        self.assertEqual(status, 503)
        self.assertIn("audit trail cannot be written", text)
        self.assertIn("audit record refused", self.skms.log())
        self.disk.empty()
        self.healthy()
        self.client.keys()
        self.sign()
        self.revoke()
        self.skms.stop()
        self.checks()
        self.assertEqual(sum(record["count"] for record in self.skms.audit()
                             if record["event"] == "signed"), answered + 1)


# ---- clock -----------------------------------------------------------------------------------------

class SetClock:
    """Starts skmsd, which is stopped, with a clock that can be set."""

    def __init__(self, skms):
        self.file = skms.dir / "offset"
        self.set(0)
        preload = harness.BIN.parent / "tests" / "libclock.so"
        os.environ.update(LD_PRELOAD=str(preload), CLOCK_OFFSET=str(self.file))
        try:
            skms.start()
        finally:
            del os.environ["LD_PRELOAD"], os.environ["CLOCK_OFFSET"]

    def set(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


class Clock(Case):
    """Verifiers' clocks are right; skmsd's is set, under it."""

    def setUp(self):
        if not (harness.BIN.parent / "tests" / "libclock.so").exists():
            self.skipTest("the preload is not built with sanitizers")
        super().setUp()
        self.skms.stop()
        self.set = SetClock(self.skms).set
        self.client.stub = self.skms.stub(self.certificate("dacm.example"))
        self.delegate.stub = self.skms.stub(self.certificate("delegated.example"))

    def certificate(self, name):
        return tuple((self.skms.pki / f"{name}.{kind}").read_bytes() for kind in ("crt", "key"))

    def off(self, claims):
        """By how much the set's time is off."""
        return round((claims["iat"] - time.time()) / HOUR)

    def told(self, seconds):
        self.assertIn("clock was set", self.health()[1])
        self.assertAlmostEqual(self.metric("skm_clock_off_seconds"), seconds, delta=5)
        wait_until("a line of the log", lambda: "the system's clock was set" in self.skms.log())

    def rights_itself(self, before, signer):
        self.set(0)
        wait_until("a set of the right time", lambda: self.off(self.read()) == 0)
        self.healthy()
        after = self.read()
        self.assertGreaterEqual(after["version"], before["version"])
        self.assertGreater(after["exp"], time.time())
        states = [key.state for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=DACM, purpose=MANIFESTS)).keys]
        self.assertEqual(states.count(keys.KEY_STATE_ACTIVE), 1, states)
        self.assertTrue(all(self.client.keys()[1]))
        self.sign()
        # none that signed is forgotten: what it signed verifies
        self.assertIn(signer, {key["kid"] for key in after["keys"]})
        self.assertIn("on its course again", self.skms.log())
        self.skms.stop()
        self.checks()

    def test_an_hour_back_is_told_and_mended_with_the_clock(self):
        before, signer = self.read(), self.active().kid
        self.set(-HOUR)
        wait_until("health that tells", lambda: self.health()[0] == 503)
        self.told(-HOUR)
        wait_until("a set of that time", lambda: self.off(self.read()) == -1)
        self.assertGreaterEqual(self.read()["version"], before["version"])
        self.rights_itself(before, signer)

    def test_an_hour_ahead_is_told_and_mended_with_the_clock(self):
        before, signer = self.read(), self.active().kid
        self.set(HOUR)
        wait_until("health that tells", lambda: self.health()[0] == 503)
        self.told(HOUR)
        wait_until("a set of that time", lambda: self.off(self.read()) == 1)
        self.assertEqual(self.active().kid, signer)
        revoked = self.revoke()  # works as ever
        self.rights_itself(before, signer)
        self.skms.start()
        states = {key["kid"]: key["dacm_state"] for key in self.read()["keys"]}
        self.assertEqual(states[revoked], "compromised")

    def test_clock_that_was_wrong_before_is_confirmed_by_reloading(self):
        self.set(HOUR)
        wait_until("health that tells", lambda: self.health()[0] == 503)
        self.skms.process.send_signal(signal.SIGHUP)
        self.healthy()
        self.assertEqual(self.metric("skm_clock_off_seconds"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
