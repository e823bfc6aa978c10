# SPDX-License-Identifier: Apache-2.0
"""Access tokens that simsd issued and somebody changed: header, key, signature, encoding, claims.
Where a forger would need simsd's own key, the test has it, and all but the fault is simsd's."""
import json
import os
import time
import unittest

import forged
import issued
from forged import pss
from harness import bearer, unb64url
from issued import ANNA, CARL, METHODS, SKMS, UNAUTHENTICATED, details

FEW = issued.Case.FEW


def setUpModule():
    issued.Case.world = issued.Issued()


def tearDownModule():
    assert issued.Case.world.stop() == 0


class Correct(issued.Case):
    """Without these the refusals below would show nothing."""

    def test_token_by_code_opens_the_avatar(self):
        self.accepted(self.world.token())

    def test_token_by_narrowing_refresh_opens_the_avatar(self):
        self.accepted(self.world.refreshed())

    def test_token_by_client_credentials_opens_the_avatar(self):
        self.accepted(self.world.val_token(ANNA))

    def test_token_under_rs256_opens_the_avatar(self):
        token = self.world.token(client=self.world.rs256)
        self.assertEqual(json.loads(unb64url(token.split(".")[0]))["alg"], "RS256")
        self.accepted(token)

    def test_bound_token_opens_the_avatar_with_its_certificate(self):
        self.accepted(self.world.token(client=self.world.native), certificate="val")

    def test_token_signed_again_unchanged_opens_the_avatar(self):
        self.accepted(self.forge())

    def test_token_changes_and_deletes_what_its_user_may(self):
        asset = self.world.upload([ANNA, CARL])
        token = self.world.token(asset=asset)
        with self.dacm.client() as channel:
            for method in METHODS:  # the last one deletes
                self.assertIsNone(self.ask(self.dacm.stub(channel), method, bearer(token), asset,
                                           ANNA)[0], method)


class AlgorithmAndKey(forged.AlgorithmAndKey, issued.Case):
    def test_eddsa_ps_and_es_where_the_key_is_rsa(self):
        key = self.world.signers[self.world.rsa_kid]
        token = self.world.token(client=self.world.rs256)
        ours = self.world.signers[self.world.kid]
        for alg, signer in (("EdDSA", ours), ("Ed25519", ours), ("PS256", pss(key)),
                            ("ES256", key), ("RS384", key), ("HS256", key), ("none", key)):
            with self.subTest(alg=alg):
                self.refused(self.world.forge(token, header={"alg": alg}, key=signer),
                             detail="alg", via=FEW)
        self.refused(self.world.forge(token, key=pss(key)), detail="signature")

    def test_key_of_one_algorithm_under_the_kid_of_another(self):
        self.refused(self.forge(header={"kid": self.world.rsa_kid}), detail="alg")
        self.refused(self.forge(header={"kid": self.world.rsa_kid, "alg": "RS256"},
                                key=self.world.signers[self.world.kid]), detail="signature")

    def test_kid_of_64_kb_ends_the_call_and_not_the_server(self):
        with self.dacm.client() as channel:
            status, _, _ = self.ask(self.dacm.stub(channel), "Download",
                                    bearer(self.forge(header={"kid": "k" * 65536})),
                                    self.world.asset, ANNA)
            self.assertIsNotNone(status)
        self.accepted(self.good())

    def test_flood_of_unknown_kids_asks_simsd_once_an_interval(self):
        """dacmd asks for the set each second here whatever comes: not more often than that, and
        once in an interval besides."""
        series = 'dacm_http_requests_total{route="/jwks.json"'
        before, began = self.world.metric(series), time.monotonic()
        self.assertGreater(before, 0)
        with self.dacm.client() as channel:
            stub = self.dacm.stub(channel)
            for _ in range(150):
                forged = self.forge(header={"kid": "kid-" + os.urandom(6).hex()})
                self.assertEqual(self.ask(stub, "Download", bearer(forged), self.world.asset,
                                          ANNA)[0], UNAUTHENTICATED)
        seconds = time.monotonic() - began
        self.assertLessEqual(self.world.metric(series) - before, 2 * (seconds / 0.9 + 1))


class Encoding(forged.Encoding, issued.Case):
    def test_token_of_a_megabyte_ends_the_call_and_not_the_server(self):
        with self.dacm.client() as channel:
            status, _, _ = self.ask(self.dacm.stub(channel), "Download",
                                    bearer(self.good() + "a" * (1 << 20)), self.world.asset, ANNA)
            self.assertIsNotNone(status)
        self.accepted(self.good())


class Claims(forged.Claims, issued.Case):
    def test_other_kinds_of_token_that_simsd_issued_as_access_token(self):
        answer = self.world.answer()
        _, code = self.world.login()
        assertion = self.world.val.assertion(aud=self.dacm.audience)
        for name, token in (("ID token", answer["id_token"]), ("code", code),
                            ("refresh token", answer["refresh_token"]), ("assertion", assertion)):
            with self.subTest(name=name):
                self.refused(token)

    def test_id_token_with_every_claim_of_an_access_token(self):
        token = self.world.answer()["id_token"]
        claims = self.world.body(self.good())
        self.refused(self.world.forge(token, **claims), detail="typ")

    def test_scope_that_simsd_narrowed_opens_nothing(self):
        tokens = self.world.answer(scope="openid seal.da seal.km")
        narrow = self.world.app.refresh(tokens["refresh_token"], scope="openid seal.km",
                                        authorization_details=details(self.world.asset))
        self.denied(narrow.json["access_token"], "scope")

    def test_token_for_the_skms_at_the_dacm(self):
        token = self.world.token(narrow=False, resource=SKMS, scope="openid seal.da seal.km")
        self.assertEqual(self.world.body(token)["aud"], SKMS)
        self.refused(token, detail="aud")
        self.refused(self.world.val.own(resource=SKMS, scope="seal.km").json["access_token"],
                     detail="aud")
        # and one for the key service's scope alone, though for this audience
        token = self.world.token(narrow=False, scope="openid seal.km")
        self.denied(token, "scope")


if __name__ == "__main__":
    unittest.main()
