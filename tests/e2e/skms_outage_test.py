# SPDX-License-Identifier: Apache-2.0
"""dacmd while its SKM-S is killed, has a full disk, or has a clock that is an hour off: it serves on
with the keys that it has, for as long as they sign and no longer, never under a wrong one, and says
in log, metrics and health what is wrong, until it is mended."""
import json
import struct
import time
import unittest
import urllib.error

import grpc

import harness
import keyserver
import provisioned
import skms_faults_test as faults
from configured import wait_until
from keyserver import admin, keys

RESTLESS = {"active_s": 6, "published_before_s": 1, "verify_only_s": 60}  # turns every 6 s


class Dacm(provisioned.Dacm):
    cut_off = False  # are verifiers, too?

    def key_set(self):
        """The newest that a verifier has."""
        if not self.cut_off:
            self.newest = super().key_set()
        return self.newest

    def health(self):
        try:
            return json.loads(self.https("/healthz"))
        except urllib.error.HTTPError as error:  # 503 says the same
            return json.loads(error.read())

    def warnings(self):
        return " ".join(warning["text"] for warning in self.health()["warnings"])

    def signing(self):
        return self.health()["checks"]["signing"]["ok"]

    def connected(self):
        return self.metric("skmc_connected") == 1


class Served:
    """An asset, uploaded before, and what can be done all the time."""

    def __init__(self, test, dacm):
        self.test, self.dacm, self.owner = test, dacm, dacm.users[0]
        self.content = b"before" * 1000
        self.asset = dacm.upload(self.content, self.owner).asset_id
        self.download()

    def download(self):
        """Verified as anybody can, with what the SKM-S published last; the kid."""
        content, _, start = self.dacm.download(self.asset, self.owner)
        self.test.assertEqual(content, self.content)
        return keyserver.jws_parts(start.manifest)[0]["kid"]

    def turns_from(self, kid):
        """Until dacmd has heard of it, its manifest is one that verifies no more."""
        wait_until("another key",
                   lambda: provisioned.kid_of(self.dacm.start_of(self.asset)) != kid)
        self.download()

    def goes_on(self):
        kid = self.download()
        self.dacm.upload(b"meanwhile", self.owner)
        return kid


class Case(unittest.TestCase):
    def start(self, skms, **policy):
        self.skms = skms
        self.dacm = Dacm(skms, policy)
        self.addCleanup(self.dacm.stop)
        self.served = Served(self, self.dacm)
        wait_until("an SKM-S that is heard", self.dacm.connected)

    def logged(self, text):
        wait_until(text, lambda: text in self.dacm.read_log())


class Killed(Case):
    def setUp(self):
        skms = keyserver.Skms()
        self.addCleanup(skms.close)
        self.launch = lambda **policy: self.start(skms, **policy)

    def test_serves_on_across_a_restart_and_hears_of_a_revocation_afterwards(self):
        self.launch()
        kid = self.dacm.active()
        self.skms.kill()
        self.dacm.cut_off = True
        wait_until("a connection that is missed", lambda: not self.dacm.connected())
        self.assertEqual(self.served.goes_on(), kid)
        self.assertIn("the SKM-S is away", self.dacm.warnings())
        self.assertTrue(self.dacm.signing())
        self.logged("a key set is not watched for now")
        self.dacm.terminate()
        self.dacm.run()
        self.assertEqual(self.served.goes_on(), kid)
        self.assertGreater(self.dacm.metric("skmc_signs_for_seconds"), 0)
        self.skms.start()
        self.dacm.cut_off = False
        wait_until("an SKM-S that is heard", self.dacm.connected)
        self.assertNotIn("away", self.dacm.warnings())
        self.dacm.revoke(kid)
        self.served.turns_from(kid)

    def test_signs_nothing_any_more_once_its_keys_have_ended(self):
        self.launch(**RESTLESS)
        self.skms.kill()
        self.dacm.cut_off = True
        wait_until("the end of the keys", lambda: not self.dacm.signing())
        self.assertEqual(self.dacm.metric("skmc_signs_for_seconds"), 0)
        with self.assertRaises(grpc.RpcError) as error:
            answer = self.dacm.upload(b"too late", self.served.owner)
            self.dacm.download(answer.asset_id, self.served.owner)
        self.assertEqual(error.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.skms.start()
        self.dacm.cut_off = False
        wait_until("a key that signs", self.dacm.signing)
        self.served.goes_on()


class FullDisk(Case):
    """Of skmsd."""

    def setUp(self):
        def mounted(skms, _):
            try:
                self.disk = faults.Disk(skms.dir / "store").mount()
            except PermissionError as error:
                self.skipTest(str(error))
        skms = keyserver.Skms(mounted)
        self.addCleanup(skms.close)
        self.addCleanup(self.disk.unmount)
        self.addCleanup(skms.kill)
        self.start(skms, **RESTLESS)

    def test_keys_go_on_for_as_long_as_they_sign_and_turn_again_afterwards(self):
        self.disk.fill()
        wait_until("a refusal", self.refused)
        self.assertTrue(self.dacm.signing())
        self.served.goes_on()
        wait_until("the end of the keys", lambda: not self.dacm.signing())
        self.disk.empty()
        wait_until("a key that signs", self.dacm.signing)
        self.assertIn(self.served.goes_on(), self.dacm.listed())
        self.assertEqual(self.dacm.metric("skmc_key_sets_refused_total"), 0)

    def refused(self):
        try:
            self.dacm.rotate()
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        return False


class Clock(Case):
    """Of skmsd; dacmd's is right."""

    def setUp(self):
        if not (harness.BIN.parent / "tests" / "libclock.so").exists():
            self.skipTest("the preload is not built with sanitizers")
        skms = keyserver.Skms()
        self.addCleanup(skms.close)
        skms.stop()
        self.clock = faults.SetClock(skms)
        self.start(skms)

    def check(self, seconds):
        kid = self.served.goes_on()
        self.clock.set(seconds)
        wait_until("a set that is refused",
                   lambda: self.dacm.metric("skmc_key_sets_refused_total") > 0)
        self.assertIn("a key set of the SKM-S is refused", self.dacm.warnings())
        self.logged("skms: a key set is refused; the last one stays")
        self.assertEqual(self.served.goes_on(), kid)
        self.clock.set(0)
        wait_until("a set that is taken", lambda: "refused" not in self.dacm.warnings())
        self.dacm.revoke(kid)
        self.served.turns_from(kid)

    def test_an_hour_ahead_its_sets_are_refused_and_the_last_one_serves(self):
        self.check(faults.HOUR)

    def test_an_hour_back_its_sets_are_refused_and_the_last_one_serves(self):
        self.check(-faults.HOUR - 60)  # an hour is how long a set lives


if __name__ == "__main__":
    unittest.main(verbosity=2)
