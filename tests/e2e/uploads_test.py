# SPDX-License-Identifier: Apache-2.0
"""Uploads that must not be taken, or not twice: each is refused by name, nothing of it becomes
visible, and what was there before is served meanwhile and afterwards."""
import hashlib
import os
import threading
import unittest

import grpc

import harness
from configured import Server, wait_until
from harness import bearer, da

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
ABORTED = grpc.StatusCode.ABORTED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def setUpModule():
    global server, owner, listed, unlisted
    server = Server()
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]


def tearDownModule():
    assert server.stop() == 0, server.read_log()


class Case(unittest.TestCase):
    def setUp(self):
        self.content = os.urandom(400_000)
        self.asset = server.upload(self.content, owner, [listed]).asset_id
        self.assets = self.count_of(owner)

    def tearDown(self):
        self.assert_unchanged()

    def assert_unchanged(self):
        content, claims, _ = server.download(self.asset, listed)
        self.assertEqual((content, claims["version"]), (self.content, 1))
        self.assertEqual(self.count_of(owner), self.assets)

    @staticmethod
    def count_of(user):
        """Assets that the user owns or may discover."""
        count, page = 0, ""
        while True:
            answer = server.stub().DiscoverProfiles(
                da.DiscoverProfilesRequest(gpsi=user, page_size=1000, page_token=page),
                metadata=bearer(server.token(user, None, ["discovery"])), timeout=60)
            count, page = count + len(answer.profiles), answer.next_page_token
            if not page:
                return count

    def refused(self, code, fn, *args, word="", **kwargs):
        with self.assertRaises(grpc.RpcError) as error:
            fn(*args, **kwargs)
        self.assertEqual(error.exception.code(), code, error.exception.details())
        self.assertIn(word, error.exception.details())
        return error.exception

    def start(self, content=b"new" * 100, **fields):
        fields = dict(dict(upload_id=os.urandom(8).hex(), gpsi=owner, size=len(content),
                           sha256=hashlib.sha256(content).digest(),
                           media_type="model/gltf-binary"), **fields)
        start = da.UploadStart(**fields)
        if start.WhichOneof("target") is None:
            start.asset.asset_id = self.asset
        return da.UploadRequest(start=start)

    def send(self, *requests, user=None, token=None):
        user = user or owner
        token = token or server.token(user, self.asset, ["update"], [user])
        return server.stub().Upload(iter(requests), metadata=bearer(token), timeout=60)


DATA = da.UploadRequest(data=b"new" * 100)


class Sequence(Case):
    def test_messages_out_of_order(self):
        for what, requests in (("nothing", ()), ("data first", (DATA, self.start())),
                               ("start twice", (self.start(), self.start(), DATA)),
                               ("no part", (da.UploadRequest(),)),
                               ("no part later", (self.start(), da.UploadRequest(), DATA))):
            with self.subTest(what=what):
                self.refused(INVALID, self.send, *requests)

    def test_less_than_declared(self):
        self.refused(INVALID, self.send, self.start(), da.UploadRequest(data=b"new" * 99))
        self.refused(INVALID, self.send, self.start())

    def test_more_than_declared(self):
        self.refused(INVALID, self.send, self.start(), DATA, da.UploadRequest(data=b"n"))

    def test_digest_that_differs(self):
        self.refused(INVALID, self.send, self.start(sha256=bytes(32)), DATA)

    def test_fields_of_wrong_form_are_named(self):
        for word, fields in (("sha256", {"sha256": b"short"}), ("sha256", {"sha256": bytes(33)}),
                             ("upload_id", {"upload_id": ""}), ("upload_id", {"upload_id": "../x"}),
                             ("upload_id", {"upload_id": "x" * 65}), ("media_type", {"media_type": ""}),
                             ("media_type", {"media_type": "no slash\r\nx: y"}),
                             ("gpsi", {"gpsi": "49170"})):
            with self.subTest(**fields):
                error = self.refused(INVALID, self.send, self.start(**fields), DATA, word=word)
                self.assertNotIn("\r", error.details())

    def test_size_beyond_the_limit_is_refused_before_a_byte_is_taken(self):
        for size in (1 << 40, (1 << 64) - 1):
            with self.subTest(size=size):
                self.refused(EXHAUSTED, self.send, self.start(size=size), DATA,
                             word="limits.object_bytes")


class Interrupted(Case):
    def test_stops_half_way_and_comes_again_whole(self):
        content = os.urandom(3 << 20)
        for again in range(3):
            gate = threading.Event()

            def requests():
                yield self.start(content, upload_id="half-%d" % again)
                yield da.UploadRequest(data=content[:2 << 20])
                gate.wait(60)

            call = server.stub().Upload.future(
                requests(), metadata=bearer(server.token(owner, self.asset, ["update"], [owner])))
            self.assert_unchanged()  # while it is under way
            call.cancel()
            gate.set()
            self.assert_unchanged()
        scratch = server.upload(b"first", owner).asset_id
        answer = server.upload(content, owner, asset=scratch, upload_id="half-0")
        self.assertEqual(answer.version, 2)
        self.assertEqual(server.download(scratch, owner)[0], content)
        self.assets += 1

    def test_channel_that_dies_leaves_nothing(self):
        content = os.urandom(1 << 20)
        channel = server.channel()
        started = threading.Event()

        def requests():
            yield self.start(content)
            yield da.UploadRequest(data=content[:-1])
            started.set()
            threading.Event().wait(60)

        call = server.stub(channel).Upload.future(
            requests(), metadata=bearer(server.token(owner, self.asset, ["update"], [owner])))
        wait_until("the upload to be under way or refused",
                   lambda: started.is_set() or call.done())
        self.assertFalse(call.done(), call.done() and call.exception())
        channel.close()
        self.assertTrue(call.done() or call.cancel() or call.done())


class Twice(Case):
    def test_same_upload_id_again_gets_the_same_answer_and_makes_one_version(self):
        scratch = server.upload(b"first", owner).asset_id
        answers = [server.upload(b"second", owner, asset=scratch, upload_id="twice")
                   for _ in range(3)]
        self.assertEqual({a.version for a in answers}, {2})
        self.assertEqual(server.download(scratch, owner)[1]["version"], 2)
        self.assets += 1

    def test_same_upload_id_with_other_bytes_is_refused(self):
        scratch = server.upload(b"first", owner).asset_id
        server.upload(b"second", owner, asset=scratch, upload_id="other-bytes")
        error = self.refused(grpc.StatusCode.FAILED_PRECONDITION, server.upload, b"third!", owner,
                             asset=scratch, upload_id="other-bytes")
        self.assertIn("upload_id", error.details())
        self.assertEqual(server.download(scratch, owner)[0], b"second")
        self.assets += 1

    def test_upload_id_of_somebody_else_tells_nothing(self):
        """IDs are per user: the answer of another's upload is not given away, nor is it in the way."""
        mine = server.upload(b"mine", owner, upload_id="shared-id")
        theirs = server.upload(b"mine", listed, upload_id="shared-id")
        self.assertNotEqual(mine.asset_id, theirs.asset_id)
        self.assertEqual(server.download(theirs.asset_id, listed)[0], b"mine")
        self.assets += 1

    def test_replayed_by_a_former_owner(self):
        scratch = server.upload(b"first", owner).asset_id
        server.upload(b"second", owner, asset=scratch, upload_id="former")
        token = server.token(owner, scratch, ["update"], [owner, listed])
        add = da.UpdateProfileRequest(asset_id=scratch, gpsi=owner, add_owners=[listed])
        server.stub().UpdateProfile(add, metadata=bearer(token), timeout=60)
        leave = da.UpdateProfileRequest(asset_id=scratch, gpsi=listed, remove_owners=[owner])
        server.stub().UpdateProfile(leave, metadata=bearer(
            server.token(listed, scratch, ["update"], [listed])), timeout=60)
        for upload_id in ("former", "former-new"):  # the replay, and anything new
            with self.subTest(upload_id=upload_id):
                self.refused(DENIED, server.upload, b"second", owner, asset=scratch,
                             upload_id=upload_id, token=token)
        content, claims, _ = server.download(scratch, listed)
        self.assertEqual((content, claims["version"]), (b"second", 2))

    def test_stale_if_match(self):
        scratch = server.upload(b"1", owner).asset_id
        server.upload(b"22", owner, asset=scratch, if_match=1)
        for stale in (1, 3, (1 << 64) - 1):
            with self.subTest(if_match=stale):
                self.refused(ABORTED, server.upload, b"333", owner, asset=scratch, if_match=stale,
                             word="if_match")
        content, claims, _ = server.download(scratch, owner)
        self.assertEqual((content, claims["version"]), (b"22", 2))
        self.assets += 1


class Writers(Case):
    def test_two_writers_of_one_asset_both_or_one_and_never_a_mixture(self):
        scratch = server.upload(b"0" * 1000, owner).asset_id
        contents = [bytes([i]) * (1 << 20) for i in range(6)]
        answers, lock = [], threading.Lock()

        def write(content):
            try:
                version = server.upload(content, owner, asset=scratch, if_match=1).version
            except grpc.RpcError as error:
                version = error.code()
            with lock:
                answers.append((version, content))

        threads = [threading.Thread(target=write, args=(c,)) for c in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [content for version, content in answers if version == 2]
        self.assertEqual(len(won), 1, [version for version, _ in answers])
        self.assertEqual({v for v, _ in answers}, {2, ABORTED})
        content, claims, _ = server.download(scratch, owner)
        self.assertEqual((content, claims["version"]), (won[0], 2))
        self.assets += 1

    def test_without_if_match_every_writer_makes_a_version(self):
        scratch = server.upload(b"0" * 1000, owner).asset_id
        versions, lock = {}, threading.Lock()

        def write(content):
            version = server.upload(content, owner, asset=scratch).version
            with lock:
                versions[version] = content

        threads = [threading.Thread(target=write, args=(bytes([i]) * 70_000,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(versions), list(range(2, 8)))
        for version, content in versions.items():
            self.assertEqual(server.download(scratch, owner, version=version)[0], content)
        self.assets += 1

    def test_open_uploads_of_an_owner_are_limited_and_others_are_not_hurt(self):
        gate, calls = threading.Event(), []

        def requests(index):
            yield self.start(b"x" * 10, upload_id="open-%d" % index)
            gate.wait(60)
            yield da.UploadRequest(data=b"x" * 9)  # one byte is missing: nothing is stored

        for index in range(12):
            calls.append(server.stub().Upload.future(
                requests(index),
                metadata=bearer(server.token(owner, self.asset, ["update"], [owner]))))
        wait_until("uploads over the limit", lambda: sum(c.done() for c in calls) >= 4)
        over = [c for c in calls if c.done()]
        self.assertEqual(len(over), 4)
        for call in over:
            self.assertEqual(call.exception().code(), EXHAUSTED)
            self.assertIn("limits.uploads_per_owner", call.exception().details())
        server.upload(b"of another", listed)
        gate.set()
        for call in calls:
            self.assertIsNotNone(call.exception(60))


class Deleted(unittest.TestCase):
    def test_token_issued_for_a_deleted_asset_opens_nothing(self):
        asset = server.upload(b"to go" * 100, owner, [listed]).asset_id
        tokens = {action: server.token(owner, asset, [action], [owner])
                  for action in ("get", "update", "delete")}
        stub = server.stub()
        stub.DeleteProfile(da.DeleteProfileRequest(asset_id=asset, gpsi=owner),
                           metadata=bearer(tokens["delete"]), timeout=60)
        calls = {
            "Download": lambda: list(stub.Download(
                da.DownloadRequest(asset_id=asset, gpsi=owner),
                metadata=bearer(tokens["get"]), timeout=60)),
            "GetProfile": lambda: stub.GetProfile(
                da.GetProfileRequest(asset_id=asset, gpsi=owner),
                metadata=bearer(tokens["get"]), timeout=60),
            "UpdateProfile": lambda: stub.UpdateProfile(
                da.UpdateProfileRequest(asset_id=asset, gpsi=owner, add_owners=[listed]),
                metadata=bearer(tokens["update"]), timeout=60),
            "DeleteProfile": lambda: stub.DeleteProfile(
                da.DeleteProfileRequest(asset_id=asset, gpsi=owner),
                metadata=bearer(tokens["delete"]), timeout=60),
            "Upload": lambda: server.upload(b"back", owner, asset=asset, token=tokens["update"]),
        }
        for name, call in calls.items():
            with self.subTest(method=name):
                with self.assertRaises(grpc.RpcError) as error:
                    call()
                self.assertEqual(error.exception.code(), DENIED)
        self.assertFalse(stub.Authorize(da.AuthorizeRequest(asset_id=asset, gpsi=owner),
                                        metadata=bearer(tokens["get"]), timeout=60).allowed)


if __name__ == "__main__":
    unittest.main(verbosity=2)
