# SPDX-License-Identifier: Apache-2.0
"""A signed avatar, end to end, by a client that knows nothing but proto/."""
import hashlib
import os
import subprocess
import unittest

import grpc

import harness
from harness import bearer, da


def setUpModule():
    global dev, owner, listed, unlisted
    dev = harness.Dev()
    owner, listed, unlisted = dev.users[0], dev.users[1], dev.users[-1]


def tearDownModule():
    assert dev.stop() == 0, dev.read_log()


class Download(unittest.TestCase):
    def setUp(self):
        self.content = bytes(hashlib.shake_256(b"avatar").digest(700_000))
        self.asset = dev.upload(self.content, owner, [listed]).asset_id

    def refused(self, code, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as error:
            dev.download(*args, **kwargs)
        self.assertEqual(error.exception.code(), code, error.exception.details())
        return error.exception

    def test_listed_user_gets_the_bytes_and_they_verify(self):
        content, claims, _ = dev.download(self.asset, listed)
        self.assertEqual(content, self.content)
        self.assertEqual(claims["asset_id"], self.asset)
        self.assertEqual(claims["version"], 1)

    def test_owner_counts_as_allowed(self):
        self.assertEqual(dev.download(self.asset, owner)[0], self.content)

    def test_unlisted_user_is_refused(self):
        self.refused(grpc.StatusCode.PERMISSION_DENIED, self.asset, unlisted)

    def test_missing_asset_looks_like_a_forbidden_one(self):
        forbidden = self.refused(grpc.StatusCode.PERMISSION_DENIED, self.asset, unlisted)
        missing = self.refused(grpc.StatusCode.PERMISSION_DENIED, "no-such-asset", unlisted)
        self.assertEqual(len(forbidden.details()), len(missing.details()))
        ids = [dict(e.trailing_metadata())["dacm-request-id"] for e in (forbidden, missing)]
        self.assertEqual(forbidden.details().replace(ids[0], "ID"),
                         missing.details().replace(ids[1], "ID"))

    def test_step_one_without_a_token_is_refused(self):
        request = da.DownloadRequest(asset_id=self.asset, gpsi=listed)
        with self.assertRaises(grpc.RpcError) as error:
            list(dev.stub().Download(request, timeout=60))
        self.assertEqual(error.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_token_under_dacm_token_is_taken(self):
        token = dev.token(listed, self.asset, ["get"], [listed])
        request = da.DownloadRequest(asset_id=self.asset, gpsi=listed)
        content, _, _ = dev.check_download(dev.stub().Download(
            request, metadata=bearer(token, "dacm-token"), timeout=60))
        self.assertEqual(content, self.content)

    def test_recipe_for_what_is_no_avatar_is_unimplemented_not_the_original(self):
        self.refused(grpc.StatusCode.UNIMPLEMENTED, self.asset, listed,
                     recipe=da.Recipe(preset=da.PRESET_LOW))

    def test_second_version_is_what_is_downloaded_next(self):
        changed = self.content[:300_000] + b"changed" + self.content[300_000:]
        self.assertEqual(dev.upload(changed, owner, asset=self.asset).version, 2)
        content, claims, _ = dev.download(self.asset, listed)
        self.assertEqual(content, changed)
        self.assertEqual(claims["version"], 2)

    def test_if_none_match_sends_nothing_again(self):
        content, _, start = dev.download(
            self.asset, listed, if_none_match=hashlib.sha256(self.content).digest())
        self.assertEqual(content, b"")
        self.assertTrue(start.not_modified)

    def test_external_id_means_the_extid_gpsi(self):
        asset = dev.upload(b"x" * 1000, owner, ["extid-ann@example.com"]).asset_id
        token = dev.token("extid-ann@example.com", asset, ["get"], ["extid-ann@example.com"])
        request = da.DownloadRequest(asset_id=asset, external_id="ann@example.com")
        content, _, _ = dev.check_download(dev.stub().Download(
            request, metadata=bearer(token), timeout=60))
        self.assertEqual(content, b"x" * 1000)


class Upload(unittest.TestCase):
    def test_digest_that_differs_stores_nothing(self):
        with self.assertRaises(grpc.RpcError) as error:
            dev.upload(b"y" * 5000, owner, sha256=bytes(32))
        self.assertEqual(error.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_more_than_declared_is_refused(self):
        with self.assertRaises(grpc.RpcError) as error:
            dev.upload(b"y" * 5000, owner, size=4999)
        self.assertEqual(error.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_the_same_upload_id_again_gets_the_same_answer(self):
        first = dev.upload(b"z" * 5000, owner, upload_id="again-1")
        self.assertEqual(dev.upload(b"z" * 5000, owner, upload_id="again-1").asset_id,
                         first.asset_id)

    def test_repetition_by_a_former_owner_tells_as_much_as_one_of_a_deleted_asset(self):
        answers = []
        for delete in (False, True):
            upload_id = f"former-{delete}"
            asset = dev.upload(b"f" * 5000, owner, upload_id=upload_id).asset_id
            token = bearer(dev.token(owner, asset, ["update"], [owner]))
            dev.stub().UpdateProfile(da.UpdateProfileRequest(
                asset_id=asset, gpsi=owner, add_owners=[listed], remove_owners=[owner]),
                metadata=token, timeout=60)
            if delete:
                dev.stub().DeleteProfile(
                    da.DeleteProfileRequest(asset_id=asset, gpsi=listed),
                    metadata=bearer(dev.token(listed, asset, ["delete"], [listed])), timeout=60)
            again = dev.upload(b"f" * 5000, owner, upload_id=upload_id)
            self.assertNotEqual(again.asset_id, asset)
            self.assertEqual(dev.download(again.asset_id, owner)[0], b"f" * 5000)
            answers.append(again)
        self.assertEqual(answers[0].version, answers[1].version)
        self.assertEqual(answers[0].ByteSize(), answers[1].ByteSize())

    def test_command_says_when_it_cannot_remember_versions(self):
        blocked = dev.dir / "no-folder"
        blocked.write_text("a file where the folder should be")
        asset = dev.upload(b"1" * 1000, owner).asset_id
        for state, told in ((dev.dir / "state", False), (blocked / "state", True), (None, True)):
            environment = dict(os.environ, DACM_ENV=str(dev.dir / "env.json"))
            for name in ("HOME", "XDG_STATE_HOME"):
                environment.pop(name, None)
                if state:
                    environment[name] = str(state)
            done = subprocess.run(
                [harness.BIN / "dacm", "get", asset, "--as", owner, "-o",
                 dev.dir / "avatar.glb"], env=environment, text=True, capture_output=True,
                timeout=300)
            self.assertEqual((done.returncode, "an older one would pass" in done.stderr),
                             (0, told), done.stderr)

    def test_stale_if_match_is_refused_and_changes_nothing(self):
        asset = dev.upload(b"1" * 1000, owner).asset_id
        dev.upload(b"2" * 1000, owner, asset=asset, if_match=1)
        with self.assertRaises(grpc.RpcError):
            dev.upload(b"3" * 1000, owner, asset=asset, if_match=1)
        self.assertEqual(dev.download(asset, owner)[0], b"2" * 1000)

    def test_only_an_owner_or_allowed_user_uploads_a_version(self):
        asset = dev.upload(b"1" * 1000, owner, [listed]).asset_id
        with self.assertRaises(grpc.RpcError) as error:
            dev.upload(b"2" * 1000, listed, asset=asset)
        self.assertEqual(error.exception.code(), grpc.StatusCode.PERMISSION_DENIED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
