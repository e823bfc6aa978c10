# SPDX-License-Identifier: Apache-2.0
"""Every real file goes up and comes down bit-exact and verified (broken ones too: here they are
bytes), a second version travels as its difference, and a gibibyte fits in little memory."""
import hashlib
import json
import os
import pathlib
import struct
import unittest

import harness

RSS_GROWTH_MAX = 16 << 20
# The memory of a sanitizer is not judged: no need to be larger than any buffer by so much.
LARGE_BYTES = 1 << 28 if os.environ.get("DACM_SANITIZE") else 1 << 30


def setUpModule():
    global dev, owner, listed
    dev = harness.Dev()
    owner, listed = dev.users[0], dev.users[1]


def tearDownModule():
    assert dev.stop() == 0, dev.read_log()


def dacmd_rss_anon():
    """RssAnon of dacmd: the mapped store counts in VmRSS and is not memory of the process."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            ppid = int(text.split("PPid:")[1].split()[0])
        except (OSError, IndexError):
            continue
        if text.startswith("Name:\tdacmd\n") and ppid == dev.process.pid:
            return int(text.split("RssAnon:")[1].split()[0]) << 10
    raise AssertionError("dacmd is not running")


def rename_one_node(glb):
    """The GLB with one node of another name."""
    json_size = struct.unpack_from("<I", glb, 12)[0]
    doc = json.loads(glb[20:20 + json_size])
    node = next(node for node in doc["nodes"] if "name" in node)
    node["name"] += "_renamed"
    text = json.dumps(doc, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    rest = glb[20 + json_size:]
    return (struct.pack("<III", 0x46546C67, 2, 20 + len(text) + len(rest))
            + struct.pack("<II", len(text), 0x4E4F534A) + text + rest)


class RealAvatars(unittest.TestCase):
    def test_every_file_goes_up_and_comes_down_bit_exact(self):
        root = harness.data_file("avatars").parent
        files = sorted(path for path in root.rglob("*") if path.is_file())
        self.assertGreater(len(files), 50)
        with dev.channel() as channel:
            stub = dev.stub(channel)
            for path in files:
                with self.subTest(path=str(path.relative_to(root))):
                    content = path.read_bytes()
                    asset = dev.upload(content, owner, [listed], stub=stub).asset_id
                    self.assertEqual(dev.download(asset, listed, stub=stub)[0], content)

    def test_empty_object(self):
        asset = dev.upload(b"", owner, [listed]).asset_id
        content, claims, _ = dev.download(asset, listed)
        self.assertEqual((content, claims["size"]), (b"", 0))

    def test_second_version_travels_as_its_difference(self):
        first = harness.data_file("avatars/vrm1-valid-white-m-1.vrm").read_bytes()
        second = rename_one_node(first)
        folder = dev.dir / "delta"
        folder.mkdir()
        asset = dev.upload(first, owner, [listed], "model/vrm").asset_id
        dev.cli("get", asset, "--as", listed, "-o", folder / "v1.vrm", check=True)
        dev.upload(second, owner, asset=asset)
        done = dev.cli("--json", "get", asset, "--as", listed, "-o", folder / "v2.vrm",
                       "--have", folder / "v1.vrm", check=True)
        result = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual((folder / "v2.vrm").read_bytes(), second)
        self.assertLess(result["received_bytes"], 0.05 * len(second), result)
        self.assertEqual(dev.cli("verify", folder / "v2.vrm").returncode, 0)

    def test_a_gibibyte_in_both_directions_takes_little_memory(self):
        source = dev.dir / "large"
        digest = hashlib.sha256()
        with open(source, "wb") as file:
            block = hashlib.shake_256(b"large").digest(1 << 20)
            for i in range(LARGE_BYTES >> 20):
                piece = struct.pack("<I", i) + block[4:]
                file.write(piece)
                digest.update(piece)
        dev.upload(b"warm up" * 100_000, owner)
        before = dacmd_rss_anon()
        done = dev.cli("--json", "put", source, "--as", owner, "--allow", listed, check=True)
        asset = json.loads(done.stdout.splitlines()[-1])["asset_id"]
        after_upload = dacmd_rss_anon()
        source.unlink()
        dev.cli("get", asset, "--as", listed, "-o", dev.dir / "back", check=True)
        after_download = dacmd_rss_anon()
        back = hashlib.sha256()
        with open(dev.dir / "back", "rb") as file:
            while piece := file.read(1 << 20):
                back.update(piece)
        self.assertEqual(back.digest(), digest.digest())
        print(f"RssAnon grew by {(after_upload - before) >> 10} KiB up, "
              f"{(after_download - before) >> 10} KiB down", flush=True)
        if os.environ.get("DACM_SANITIZE"):
            return  # sanitizers keep freed memory
        self.assertLess(after_upload - before, RSS_GROWTH_MAX)
        self.assertLess(after_download - before, RSS_GROWTH_MAX)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    unittest.main(verbosity=2)
