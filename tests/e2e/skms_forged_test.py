# SPDX-License-Identifier: Apache-2.0
"""Access tokens for the SKM-S that simsd issued to a VAL server, and somebody changed; and tokens
whose key is no key for them (any more)."""
import os
import signal
import time
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import forged
import keyrefused
from configured import wait_until
from harness import b64url
from keyrefused import SECONDS, UNAUTHENTICATED


def setUpModule():
    keyrefused.Case.world = keyrefused.World()


def tearDownModule():
    assert keyrefused.Case.world.close() == 0


class Correct(keyrefused.Case):
    """Without these the refusals below would show nothing."""

    def test_token_brings_and_gets_keys(self):
        self.accepted(self.good())

    def test_token_signed_again_unchanged(self):
        self.accepted(self.forge())


class AlgorithmAndKey(forged.AlgorithmAndKey, keyrefused.Case):
    def test_rs256_where_it_is_not_configured(self):
        key = self.forger.signers[self.forger.rsa_kid]
        self.refused(self.forge(header={"kid": self.forger.rsa_kid, "alg": "RS256"}, key=key))

    def test_kid_of_64_kb_ends_the_call_and_not_the_server(self):
        self.assertNotEqual(self.codes([self.forge(header={"kid": "k" * 65536})]), [None])

    def test_flood_of_unknown_kids_asks_simsd_once_an_interval(self):
        """skmsd asks for the set each second here whatever comes: not more often than that, and
        once in an interval besides. dacmd, beside it, has a file."""
        series = 'dacm_http_requests_total{route="/jwks.json"'
        before, began = self.world.metric(series), time.monotonic()
        self.assertGreater(before, 0)
        flood = [self.forge(header={"kid": "kid-" + os.urandom(6).hex()}) for _ in range(150)]
        self.assertEqual(set(self.codes(flood)), {UNAUTHENTICATED})
        seconds = time.monotonic() - began
        self.assertLessEqual(self.world.metric(series) - before, 2 * (seconds / 0.9 + 1))


class Encoding(forged.Encoding, keyrefused.Case):
    def test_token_of_a_megabyte_ends_the_call_and_not_the_server(self):
        self.assertNotEqual(self.codes([self.good() + "a" * (1 << 20)]), [None])


class Claims(forged.Claims, keyrefused.Case):
    pass


class KeyState(keyrefused.Case):
    """Tokens of an issuer whose key set says that the key is none for them (any more)."""

    def reload(self, *jwks):
        """Does skmsd take that set?"""
        taken, failed = "reloaded", "reload failed"
        before = {text: len(self.world.lines(text)) for text in (taken, failed)}
        now = lambda text: len(self.world.lines(text)) > before[text]  # noqa: E731
        self.world.publish_second(*jwks)
        self.world.skms.process.send_signal(signal.SIGHUP)
        wait_until("a reload", lambda: now(taken) or now(failed))
        return now(taken)

    def tearDown(self):
        self.assertTrue(self.reload())
        self.serves()
        super().tearDown()

    def serves(self):
        self.accepted(self.world.second_token(), service=SECONDS, jwk=self.world.seconds_jwk)

    def test_key_retired_compromised_or_of_another_time(self):
        now = int(time.time())
        self.serves()
        for changes, why in (
                ({"dacm_state": "compromised"}, "key"), ({"dacm_state": "retired"}, "key"),
                ({"dacm_state": "pre-published"}, "key"), ({"nbf": now + 1000}, "key"),
                ({"exp": now - 1000}, "key"), ({"kid": "another"}, "kid")):
            with self.subTest(changes=changes):
                self.assertTrue(self.reload(self.world.second_jwk(**changes)))
                self.refused(self.world.second_token(), why, service=SECONDS)

    def test_key_replaced_under_its_kid(self):
        other = Ed25519PrivateKey.generate()
        self.assertTrue(self.reload(self.world.second_jwk(x=b64url(forged.raw_public(other)))))
        self.refused(self.world.second_token(), "signature", service=SECONDS)

    def test_set_that_contradicts_itself_leaves_the_last_one(self):
        jwk = self.world.second_jwk()
        for jwks in ([jwk, jwk], [{**jwk, "d": jwk["x"]}], [{**jwk, "dacm_purpose": "manifest"}],
                     [{**jwk, "use": "enc"}], [{**jwk, "key_ops": ["sign"]}],
                     [{**jwk, "alg": "ES256"}]):
            with self.subTest(jwks=jwks):
                self.assertFalse(self.reload(*jwks))
                self.serves()


if __name__ == "__main__":
    unittest.main()
