# SPDX-License-Identifier: Apache-2.0
"""simsd and dacmd when the way between them is cut (simsd is killed) and when it is a black hole:
simsd is in a network namespace of its own, and packets between the two vanish. dacmd refuses the
issuer when it was not heard for max_staleness_s, running downloads end, and when the way is back,
what was revoked meanwhile is applied before any token of the issuer is served."""
import unittest

import sims_revocation_test as running
from configured import wait_until
from sims import sim
from sims_revocation_test import OK, UNAUTHENTICATED, UNAVAILABLE, use

import network

STALENESS_SECONDS = 4


class Far(running.Reporting):
    """simsd at the far end of a wire, and dacmd's listener for peers at the near end."""
    max_staleness_s = STALENESS_SECONDS
    host = address = network.Wire.far_always

    def __init__(self):
        self.wire = network.Wire()
        self.prefix = self.wire.prefix
        super().__init__()

    def configure_dacm(self, dacm, config):
        config = super().configure_dacm(dacm, config)
        peers = config["listen"]["peers"]
        peers["url"] = f"tls+tcp://{self.wire.near}:{peers['url'].rsplit(':', 1)[1]}"
        return config

    def stop(self):
        try:
            return super().stop()
        finally:
            self.wire.close()


def setUpModule():
    network.require()


class BlackHole(running.Case):
    server_class = Far

    def setUp(self):
        wait_until("a DACM that hears simsd", lambda: self.age() < STALENESS_SECONDS)

    def age(self):
        return float(next(
            line for line in self.dacm.https("/metrics").splitlines()
            if line.startswith("dacm_revocations_age_seconds{")).rsplit(" ", 1)[1])

    def check(self, cut, mend):
        """What holds while simsd is not heard, and when it is heard again. Cut so that revocations
        can still be made; mend() may be called twice."""
        leaver, stayer, revoked = self.users(3)
        self.addCleanup(mend)
        for login in (leaver, stayer, revoked):
            self.assertEqual(use(login), OK)
        downloads = [self.begin(stayer, slow=True), self.begin(stayer, slow=False)]
        before = self.download_ends()
        cut(leaver, revoked)
        wait_until("the end of both downloads", lambda: self.download_ends() >= before + 2)
        for download in downloads:
            self.assertEqual(download.code(), UNAVAILABLE)
            self.assertLess(download.size, running.LARGE_BYTES * 3 // 4)
        for stub in (None, downloads[0].stub):
            self.assertEqual(use(stayer, stub=stub), UNAVAILABLE)
            for login in (leaver, revoked):  # refused as revoked where the kernel brought that
                self.assertIn(use(login, stub=stub), (UNAVAILABLE, UNAUTHENTICATED))
        return leaver, stayer, revoked

    def recovers(self, leaver, stayer, revoked):
        """From the first call on that is served, the revoked ones are refused as such."""
        seen = {login.username: [] for login in (leaver, revoked)}
        with self.dacm.client() as channel:
            stub = self.dacm.stub(channel)

            def served():
                for login in (leaver, revoked):
                    seen[login.username].append(use(login, stub=stub))
                return use(stayer, stub=stub) == OK
            wait_until("a served call", served)
            for login in (leaver, revoked):
                self.assertEqual(use(login, stub=stub), UNAUTHENTICATED)
                self.assertLessEqual(set(seen[login.username]), {UNAVAILABLE, UNAUTHENTICATED})
        stayer.log_in()  # simsd's step 5a finds its way too
        self.assertEqual(use(stayer), OK)

    def revoke(self, leaver, revoked):
        leaver.set_disabled(sim.SWITCH_ON)
        reply = self.app.send("/revoke", {"token": revoked.token})
        self.assertEqual(reply.status, 200)

    def test_black_hole_until_tokens_are_refused(self):
        """Shorter than what simsd needs to give its stream up: what waits in its socket comes."""
        def cut(leaver, revoked):
            self.server.wire.black_hole()
            wait_until("heartbeats that do not arrive", lambda: self.age() > 2)
            self.revoke(leaver, revoked)
        logins = self.check(cut, self.server.wire.heal)
        self.server.wire.heal()
        self.recovers(*logins)

    def test_black_hole_until_both_have_given_up(self):
        def cut(leaver, revoked):
            self.server.wire.black_hole()
            self.revoke(leaver, revoked)
        told = lambda: self.server.read_log().count("takes no revocations for now")  # noqa: E731
        before = told()
        logins = self.check(cut, self.server.wire.heal)
        wait_until("a sender that has given up", lambda: told() > before)
        self.server.wire.heal()
        self.recovers(*logins)

    def test_simsd_killed(self):
        def cut(leaver, revoked):
            # acknowledged by simsd, and on no wire: the way is shut before it dies
            self.server.wire.black_hole()
            self.revoke(leaver, revoked)
            self.server.kill()
            self.server.wire.heal()
        logins = self.check(cut, self.server.wire.heal)
        self.server.run()
        self.recovers(*logins)


if __name__ == "__main__":
    network.enter()
    unittest.main(verbosity=2)
