# SPDX-License-Identifier: Apache-2.0
"""dacmd when the way to its SKM-S becomes a black hole: it notices, serves on, says so, and what was
revoked meanwhile counts as soon as the way is back."""
import unittest

import keyserver
import skms_outage_test as outage
from configured import wait_until

import network


def setUpModule():
    network.require()


class CutOff(outage.Case):
    def setUp(self):
        self.wire = wire = network.Wire()
        self.addCleanup(wire.close)

        class Far(keyserver.Skms):
            """At the far end; for the test itself by an address that never vanishes."""
            prefix = wire.prefix

        def far(skms, config):
            port = config["listen"]["keys"]["url"].rsplit(":", 1)[1]
            config["listen"]["keys"]["url"] = f"tls+tcp://0.0.0.0:{port}"
            skms.address = f"{wire.far}:{port}"  # what dacmd dials
        skms = Far(far)
        self.addCleanup(skms.close)
        self.start(skms)
        skms.address = skms.address.replace(wire.far, wire.far_always)

    def test_serves_on_and_hears_what_was_revoked_when_the_way_is_back(self):
        kid, before = self.dacm.active(), self.dacm.newest
        self.wire.black_hole()
        self.dacm.revoke(kid)  # nobody can tell dacmd
        with self.assertRaises(AssertionError, msg="who reaches the SKM-S believes it no more"):
            self.served.download()
        self.dacm.cut_off, self.dacm.newest = True, before
        self.assertEqual(self.served.download(), kid)  # others do, for an hour at most
        wait_until("a connection that is missed", lambda: not self.dacm.connected())
        self.assertIn("the SKM-S is away", self.dacm.warnings())
        self.assertTrue(self.dacm.signing())
        self.dacm.upload(b"meanwhile", self.served.owner)
        self.logged("a key set is not watched for now")
        self.wire.heal()
        self.dacm.cut_off = False
        wait_until("an SKM-S that is heard", self.dacm.connected)
        wait_until("another key", lambda: self.dacm.metric("skmc_keys_taken_total") > 2)
        self.assertNotEqual(self.served.download(), kid)
        self.assertNotIn("away", self.dacm.warnings())


if __name__ == "__main__":
    network.enter()
    unittest.main(verbosity=2)
