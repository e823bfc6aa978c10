# SPDX-License-Identifier: Apache-2.0
"""dacmd whose manifest keys come from the SKM-S."""
import json
import unittest

import keyserver
import provisioned


class Provisioned(unittest.TestCase):
    def setUp(self):
        self.skms = keyserver.Skms()
        self.addCleanup(self.skms.close)

    def dacm(self, policy=None, **options):
        dacm = provisioned.Dacm(self.skms, policy or {}, **options)
        self.addCleanup(dacm.stop)
        return dacm

    def test_first_key_signs_and_is_published(self):
        dacm = self.dacm()
        owner = dacm.users[0]
        answer = dacm.upload(b"x" * 100000, owner)
        kid = dacm.manifest_kid(answer.asset_id, owner)
        self.assertEqual(kid, dacm.active())
        published = json.loads(dacm.https("/.well-known/jwks.json"))["keys"]
        self.assertEqual({key["kid"] for key in published}, set(dacm.listed()))
        self.assertNotIn("d", set().union(*published))
        self.assertEqual(dacm.health()["status"], "ok", dacm.health())


if __name__ == "__main__":
    unittest.main()
