# SPDX-License-Identifier: Apache-2.0
"""dacmd and simsd whose keys were in files move to an SKM-S, as docs/operations.md says: at no step
does a client with a key file, or a verifier of tokens, meet a key that it does not know."""
import json
import unittest

import harness
import keyserver
import provisioned
import sims
from configured import Server, wait_until
from harness import unb64url
from keyserver import admin, keys

CONTENT = b"an avatar " * 10000
NO_KEY = 6


def merged(*sets):
    """What `jq -s '{keys: map(.keys) | add}'` makes of them."""
    return json.dumps({"keys": [key for text in sets for key in json.loads(text)["keys"]]})


def kid_of(token):
    return json.loads(unb64url(token.split(".")[0]))["kid"]


class Moving(unittest.TestCase):
    def setUp(self):
        self.skms = keyserver.Skms()
        self.addCleanup(self.skms.close)

    def service(self, name, purpose):
        """Step 1: the SKM-S has it, with its first keys and no SKM-C yet."""
        self.skms.admin().CreateService(admin.ValService(val_service=name, purposes=[purpose]))

    def published(self, name, purpose):
        """Step 2: its keys as a plain set, over HTTPS."""
        status, _, body = self.skms.get(
            f"/.well-known/jwks.json?val-service-id={name}&purpose={purpose}")
        self.assertEqual(status, 200)
        return body.decode()

    def skms_of(self, config, folder, name, service):
        """Step 4: what the server gets: certificate, token, folder."""
        config["skms"] = provisioned.skms_settings(self.skms, folder, name)
        (folder / "kept").mkdir(mode=0o700)
        provisioned.put_token(self.skms, folder, name, service)


class Manifests(Moving):
    def setUp(self):
        super().setUp()
        self.dacm = Server()
        self.addCleanup(lambda: self.assertEqual(self.dacm.stop(), 0))
        self.user = self.dacm.users[0]
        self.asset = self.dacm.upload(CONTENT, self.user).asset_id
        self.old_file = self.dacm.dir / "pki" / "manifest.pub.jwks"
        self.both_file = self.dacm.dir / "both.jwks"

    def get(self, key_file, name="copy", code=0):
        """An old client: a key file and nothing else. Its exit code; the copy."""
        copy = self.dacm.dir / name
        copy.unlink(missing_ok=True)
        done = self.dacm.cli("get", self.asset, "--as", self.user, "--keys", key_file, "--issuer",
                             self.dacm.audience, "-o", copy)
        self.assertEqual(done.returncode, code, done.stderr)
        return copy

    def signed_by(self):
        """The kid of a manifest that is handed out now."""
        token = self.dacm.token(self.user, self.asset, ["get"], [self.user])
        responses = self.dacm.stub().Download(harness.da.DownloadRequest(
            asset_id=self.asset, gpsi=self.user), metadata=harness.bearer(token), timeout=60)
        kid = kid_of(next(responses).start.manifest)
        responses.cancel()
        return kid

    def move(self):
        config = self.dacm.config
        config["signing"] = {"source": "skms"}
        self.skms_of(config, self.dacm.dir / "skmc", "dacm.example", self.dacm.audience)
        self.assertEqual(self.dacm.terminate(), 0)
        self.dacm.run()

    def listed(self, state):
        return [key.kid for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=self.dacm.audience, purpose=keys.PURPOSE_MANIFESTS)).keys
            if key.state == state]

    def test_clients_with_a_key_file_verify_at_every_step(self):
        first = self.signed_by()
        old_copy = self.get(self.old_file, "old")
        self.service(self.dacm.audience, keys.PURPOSE_MANIFESTS)
        self.get(self.old_file)
        self.both_file.write_text(merged(
            self.old_file.read_text(), self.published(self.dacm.audience, "manifests")))
        self.get(self.both_file)  # step 3: clients have both while dacmd signs by its file
        self.assertEqual(self.signed_by(), first)
        self.move()
        new_copy = self.get(self.both_file, "new")
        self.assertEqual([self.signed_by()], self.listed(keys.KEY_STATE_ACTIVE))
        self.get(self.old_file, code=NO_KEY)  # why the file comes first
        for copy in (old_copy, new_copy):
            done = self.dacm.cli("verify", copy, "--keys", self.both_file, "--issuer",
                                 self.dacm.audience)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_key_file_of_the_move_holds_over_the_first_turn(self):
        """The next key is in it: a client has the life of two keys to learn of key sets."""
        self.skms.admin().CreateService(admin.ValService(
            val_service=self.dacm.audience, purposes=[keys.PURPOSE_MANIFESTS],
            policy=admin.Policy(published_before_s=1)))
        following = self.listed(keys.KEY_STATE_PRE_PUBLISHED)
        self.both_file.write_text(merged(
            self.old_file.read_text(), self.published(self.dacm.audience, "manifests")))
        self.move()
        self.get(self.both_file)
        self.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=self.dacm.audience, purpose=keys.PURPOSE_MANIFESTS))

        def of_the_next_key():
            """What was signed before the turn is not signed again."""
            self.asset = self.dacm.upload(CONTENT, self.user).asset_id
            return [self.signed_by()] == following
        wait_until("a manifest of the next key", of_the_next_key)
        self.get(self.both_file)


class Tokens(Moving):
    def setUp(self):
        super().setUp()
        self.sims = sims.Sims(rs256=False)
        self.addCleanup(lambda: self.assertEqual(self.sims.stop(), 0))
        self.dacm, self.user = self.sims.dacm, self.sims.dacm.users[0]
        self.asset = self.dacm.upload(CONTENT, self.user).asset_id
        self.val = self.sims.add_client("val", "private_key_jwt", grants=["client_credentials"],
                                        scopes=["seal.da"], users=[self.user])

    def asked(self):
        return self.val.own(scope="seal.da", authorization_details=sims.details(
            self.asset, users=[self.user]))

    def token(self):
        reply = self.asked()
        self.assertEqual(reply.status, 200, reply.text)
        return reply.json["access_token"]

    def accepted(self, *tokens):
        for token in tokens:
            self.assertEqual(self.dacm.download(self.asset, self.user, token)[0], CONTENT)

    def entry(self):
        return next(entry for entry in self.dacm.config["issuers"]
                    if entry["issuer"] == self.sims.issuer)

    def move(self):
        self.sims.config["keys"] = {"source": "skms"}
        self.skms_of(self.sims.config, self.sims.dir / "sims" / "skmc", "sims.example",
                     self.sims.issuer)
        self.sims.restart()  # takes no assertion of the second in which it starts
        wait_until("a token", lambda: self.asked().status == 200)

    def test_tokens_of_before_and_after_are_accepted_at_every_step(self):
        before = self.token()
        self.accepted(before)
        self.service(self.sims.issuer, keys.PURPOSE_TOKENS)
        both = self.dacm.dir / "both.jwks"
        both.write_text(merged((self.sims.dir / "pki" / "sims-token.published").read_text(),
                               self.published(self.sims.issuer, "tokens")))
        self.entry()["jwks_file"] = str(both)
        self.dacm.write_config()
        self.assertTrue(self.dacm.reload(), self.dacm.read_log())
        self.accepted(before, self.token())
        self.move()
        after = self.token()
        self.assertNotEqual(kid_of(before), kid_of(after))
        self.accepted(before, after)
        self.assertEqual([self.val.send("/introspect", {"token": token}).json["active"]
                          for token in (before, after)], [False, True])  # simsd forgets at once
        # no token of before is left after tokens.access_life_s: then from the SKM-S alone
        (self.dacm.dir / "root.jwk").write_text(
            self.skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        del self.entry()["jwks_file"]
        self.entry()["jwks_skms"] = True
        folder = self.dacm.dir / "skmc"
        self.dacm.config["skms"] = provisioned.skms_settings(self.skms, folder, "dacm.example") | {
            "root_file": str(self.dacm.dir / "root.jwk"), "enrolment_file": ""}
        (folder / "kept").mkdir(mode=0o700)
        self.assertEqual(self.dacm.terminate(), 0)
        self.dacm.run()
        wait_until("simsd's way to dacmd", lambda: self.asked().status == 200)
        self.accepted(after, self.token())


if __name__ == "__main__":
    unittest.main()
