# SPDX-License-Identifier: Apache-2.0
"""The SIM-S from end to end: discovery, authorization, login, consent, code, tokens, userinfo, and
an avatar downloaded with a token that simsd issued and narrowed to it."""
import json
import unittest

import harness
import sims
from sims import Browser, details

ANNA, BERT, CARL = "msisdn-491110000001", "msisdn-491110000002", "extid-carl@users.example"


class Flow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = sims.Sims()
        cls.dacm = cls.sims.dacm
        cls.sims.add_user("anna", [ANNA], name="Anna A.")
        cls.sims.add_user("bert", [BERT])
        cls.app = cls.sims.add_client("app")
        cls.content = b"avatar " * 40000
        cls.asset = cls.dacm.upload(cls.content, cls.dacm.users[0], allow=[ANNA, CARL]).asset_id

    @classmethod
    def tearDownClass(cls):
        assert cls.sims.stop() == 0

    def test_from_login_to_verified_bytes(self):
        browser = Browser(self.sims)
        tokens = browser.tokens(self.app, "anna", authorization_details=details())
        self.assertEqual(json.loads(details()), tokens["authorization_details"])
        narrow = self.app.refresh(tokens["refresh_token"],
                                  authorization_details=details(self.asset))
        self.assertEqual(narrow.status, 200, narrow.text)
        token = narrow.json["access_token"]
        claims = self.sims.claims(token)
        self.assertEqual(claims["Digital_profile"], ANNA)
        self.assertEqual(claims["gpsi"], ANNA)
        content, _, _ = self.dacm.download(self.asset, ANNA, token=token)
        self.assertEqual(content, self.content)


if __name__ == "__main__":
    unittest.main()
