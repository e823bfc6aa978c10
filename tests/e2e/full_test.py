# SPDX-License-Identifier: Apache-2.0
"""A store that is full refuses what needs room, cleanly and by name, and goes on reading; making
room lets it go on. Full maps by configuration, a full disk by a small tmpfs."""
import io
import os
import subprocess
import time
import unittest

import grpc
from PIL import Image

import harness
from configured import Server, wait_until
from harness import bearer, da

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
PIECE = 300_000
LIMIT_SECONDS = 60  # a bound on waiting, not an expectation


class Full:
    """Fills a store until it refuses; what subclasses configure says with what."""
    names = None  # the message names it

    @staticmethod
    def configure(server, config):
        raise NotImplementedError

    def setUp(self):
        try:
            self.server = Server(type(self).configure)
        except PermissionError as error:
            self.skipTest(str(error))
        self.owner, self.listed = self.server.users[:2]

    def tearDown(self):
        if hasattr(self, "server"):
            code = self.server.stop()
            type(self).clean()
            self.assertEqual(code, 0)

    @classmethod
    def clean(cls):
        pass

    def store_check(self):
        done = subprocess.run([harness.BIN / "dacmd", "--config", self.server.config_file,
                               "--store-check"], text=True, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def fill(self):
        """Uploads until one is refused; what was acknowledged, and the refusal."""
        stored = {}
        while True:
            content = os.urandom(PIECE)
            try:
                stored[self.server.upload(content, self.owner, [self.listed]).asset_id] = content
            except grpc.RpcError as error:
                return stored, error
            self.assertLess(len(stored), 200, "nothing fills it")

    def all_readable(self, stored):
        for asset, content in stored.items():
            self.assertEqual(self.server.download(asset, self.listed)[0], content)

    def test_full_store_refuses_by_name_reads_go_on_and_room_lets_it_go_on(self):
        stored, refusal = self.fill()
        self.assertGreater(len(stored), 2)
        self.assertEqual(refusal.code(), EXHAUSTED, refusal.details())
        self.assertIn(self.names, refusal.details())
        self.all_readable(stored)
        self.store_check()
        self.make_room(stored)
        self.goes_on(stored)
        self.all_readable(stored)
        self.store_check()

    def make_room(self, stored):
        """Deletes half; the sweep collects what that held."""
        for asset in list(stored)[:len(stored) // 2]:
            self.server.stub().DeleteProfile(
                da.DeleteProfileRequest(asset_id=asset, gpsi=self.owner),
                metadata=bearer(self.server.token(self.owner, asset, ["delete"])), timeout=60)
            del stored[asset]

    def goes_on(self, stored):
        until = time.monotonic() + LIMIT_SECONDS
        while True:
            content = os.urandom(PIECE)
            try:
                stored[self.server.upload(content, self.owner, [self.listed]).asset_id] = content
                return
            except grpc.RpcError as error:
                self.assertEqual(error.code(), EXHAUSTED, error.details())
            self.assertLess(time.monotonic(), until, "no room came back")
            time.sleep(0.2)


def sweep_soon(config):
    config["store"]["sweep_interval_s"] = 1
    config["store"]["sweep_grace_s"] = 1


class FullChunksMap(Full, unittest.TestCase):
    names = "store.chunks_map_bytes_max"

    @staticmethod
    def configure(server, config):
        config["store"]["chunks_map_bytes_max"] = 8 << 20
        sweep_soon(config)
        return config

    def test_revocations_and_lists_change_while_content_is_full(self):
        stored, _ = self.fill()
        asset = next(iter(stored))
        self.server.cli("deny", asset, self.listed, "--as", self.owner, check=True)
        with self.assertRaises(grpc.RpcError) as error:
            self.server.download(asset, self.listed)
        self.assertEqual(error.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        token = self.server.token(self.owner, asset, ["get"], [self.owner], jti="to-go")
        self.server.download(asset, self.owner, token=token)
        self.server.cli("token", "revoke", "--jti", "to-go", check=True)
        with self.assertRaises(grpc.RpcError) as error:
            self.server.download(asset, self.owner, token=token)
        self.assertEqual(error.exception.code(), grpc.StatusCode.UNAUTHENTICATED)


class FullOfVariants(unittest.TestCase):
    """What is kept to be quick never keeps an owner from storing an avatar."""

    def test_who_asks_for_many_variants_leaves_room_for_uploads(self):
        def configure(_, config):
            config["store"]["chunks_map_bytes_max"] = 12 << 20
            return config
        server = Server(configure)
        self.addCleanup(lambda: self.assertEqual(server.stop(), 0))
        owner, listed = server.users[:2]
        picture = io.BytesIO()
        Image.frombytes("RGB", (512, 512), os.urandom(512 * 512 * 3)).save(picture, "JPEG", quality=95)
        asset = server.upload(picture.getvalue(), owner, [listed], "image/jpeg").asset_id
        made = []

        def served(size):
            recipe = da.Recipe(texture_size_limit=size, texture_quality=95)
            try:
                made.append(len(server.download(asset, listed, recipe=recipe)[0]))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), EXHAUSTED, error.details())
                self.assertIn("media.variants_bytes_max", error.details())
                return False
            return True
        for size in range(500, 420, -1):
            wait_until("room for another variant", lambda: served(size))
        self.assertGreater(sum(made), 12 << 20)
        server.upload(os.urandom(PIECE), owner)


class FullDisk(Full, unittest.TestCase):
    names = "disk"
    mounted = None

    @staticmethod
    def configure(server, config):
        folder = config["store"]["directory"]
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "dacm-full",
                               folder], text=True, capture_output=True)
        if done.returncode != 0:
            server.stop()
            raise PermissionError("cannot mount a tmpfs here: " + done.stderr.strip())
        FullDisk.mounted = folder
        sweep_soon(config)
        return config

    def make_room(self, stored):
        """What the operator does: even a deletion needs a page of the disk."""
        subprocess.run(["mount", "-o", "remount,size=24m", FullDisk.mounted], check=True)

    @classmethod
    def clean(cls):
        if cls.mounted:
            subprocess.run(["umount", cls.mounted], check=True)
        cls.mounted = None


class FullMetaMap(unittest.TestCase):
    def test_records_refused_by_name_and_reads_go_on(self):
        def configure(server, config):
            config["store"]["meta_map_bytes_max"] = 512 << 10
            return config
        server = Server(configure)
        try:
            owner, listed = server.users[:2]
            content = os.urandom(1000)
            asset = server.upload(content, owner, [listed]).asset_id
            token, stub = server.token(owner, None, ["create"]), server.stub()
            refusal = None
            for _ in range(5000):
                try:
                    stub.CreateProfile(
                        da.CreateProfileRequest(gpsi=owner, profile=da.DigitalAssetProfile(
                            asset_type=da.ASSET_TYPE_AVATAR)),
                        metadata=bearer(token), timeout=60)
                except grpc.RpcError as error:
                    refusal = error
                    break
            self.assertIsNotNone(refusal, "nothing fills the map")
            self.assertEqual(refusal.code(), EXHAUSTED, refusal.details())
            self.assertIn("store.meta_map_bytes_max", refusal.details())
            self.assertEqual(server.download(asset, listed)[0], content)
        finally:
            code = server.stop()
        self.assertEqual(code, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
