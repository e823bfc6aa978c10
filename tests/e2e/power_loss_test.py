# SPDX-License-Identifier: Apache-2.0
"""What a disk may hold after a power cut. A preload writes down every write and sync of dacmd;
the store is then rebuilt as it stood at each sync point and must open clean, with everything that
was acknowledged by then. Writes that no sync followed may be lost; the test loses all of them,
and once more every second one."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import harness

WRITE, SYNC, TRUNCATE, RENAME, UNLINK, OPEN = 1, 2, 3, 4, 5, 6
POINTS = 400 if harness.FULL else 40
HEAD = struct.Struct("<IIQQ")


def read_log(path):
    data = path.read_bytes()
    at = 0
    while at < len(data):
        kind, name_size, offset, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        name = data[at:at + name_size].decode()
        at += name_size
        body = data[at:at + size] if kind == WRITE else b""
        at += len(body)
        yield kind, name, offset, body


class Disk:
    """Files as they stand on the platter: what was synced, and what is still on its way."""

    def __init__(self, folder):
        self.folder = folder
        self.pending = {}

    def path(self, name):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def apply(self, name, change):
        kind, offset, body = change
        path = self.path(name)
        with open(path, "r+b" if path.exists() else "w+b") as file:
            if kind == TRUNCATE:
                file.truncate(offset)
            else:
                file.seek(offset)
                file.write(body)

    def step(self, kind, name, offset, body):
        if kind == OPEN:
            self.path(name).touch()
        elif kind in (WRITE, TRUNCATE):
            self.pending.setdefault(name, []).append((kind, offset, body))
        elif kind == SYNC:
            for change in self.pending.pop(name, []):
                self.apply(name, change)

    def copy(self, folder, keep_every):
        """The disk after a cut: of the pending writes, every keep_every-th arrived."""
        subprocess.run(["cp", "-r", "--sparse=always", self.folder, folder], check=True)
        disk = Disk(folder)
        if keep_every:
            for name, changes in self.pending.items():
                for change in changes[::keep_every]:
                    disk.apply(name, change)


class PowerLoss(unittest.TestCase):
    def setUp(self):
        recorder = harness.BIN.parent / "tests" / "librecord.so"
        if not recorder.exists():
            self.skipTest("the recorder is not built with sanitizers")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="dacm-power-"))
        self.addCleanup(shutil.rmtree, self.work, True)
        self.log = self.work / "log"
        dev_dir = self.work / "dev"
        (dev_dir / "data").mkdir(parents=True)
        os.environ.update(LD_PRELOAD=str(recorder), RECORD_LOG=str(self.log),
                          RECORD_DIR=str(dev_dir / "data"))
        try:
            self.dev = harness.Dev(dev_dir)
        finally:
            del os.environ["LD_PRELOAD"]

    def busy(self):
        """Uploads, changes and deletions; (log size at the acknowledgement, asset, digest)."""
        owner, listed = self.dev.users[0], self.dev.users[1]
        acknowledged = []

        def note(asset, digest):
            acknowledged.append((self.log.stat().st_size, asset, digest))
        assets = []
        for i in range(12):
            content = hashlib.shake_256(bytes([i])).digest(30_000 * (i + 1))
            assets.append(self.dev.upload(content, owner, [listed]).asset_id)
            note(assets[-1], hashlib.sha256(content).hexdigest())
        for i in range(0, 12, 3):
            content = hashlib.shake_256(bytes([99, i])).digest(50_000)
            self.dev.upload(content, owner, asset=assets[i])
            note(assets[i], hashlib.sha256(content).hexdigest())
        for i in range(1, 12, 4):
            self.dev.cli("rm", assets[i], "--as", owner, check=True)
            note(assets[i], None)
        return acknowledged

    def check(self, folder, expected):
        config = self.dev.dir / "config" / "dacmd.yaml"
        text = config.read_text().replace(str(self.dev.dir / "data"), str(folder))
        (self.work / "check.yaml").write_text(text)
        done = subprocess.run(
            [harness.BIN / "dacmd", "--config", self.work / "check.yaml", "--store-check",
             "--json"], text=True, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = {}
        for line in done.stdout.splitlines():
            entry = json.loads(line)
            if "asset_id" in entry:
                found[entry["asset_id"]] = entry.get("sha256")
        for asset, digests in expected.items():
            self.assertIn(found.get(asset), digests, f"{asset} of {folder}")

    def test_every_prefix_at_a_sync_point_opens_clean(self):
        acknowledged = self.busy()
        self.assertEqual(self.dev.stop(), 0)
        disk = Disk(self.work / "disk")
        disk.folder.mkdir()
        at, syncs = 0, 0
        records = list(read_log(self.log))
        total = sum(1 for record in records if record[0] == SYNC)
        stride = max(1, total // POINTS)
        checked = 0
        for kind, name, offset, body in records:
            at += HEAD.size + len(name.encode()) + len(body)
            disk.step(kind, name, offset, body)
            if kind != SYNC:
                continue
            syncs += 1
            if syncs % stride:
                continue
            # What was acknowledged before this point must be there; what came after may be.
            expected = {}
            for size, asset, digest in acknowledged:
                if size <= at:
                    expected[asset] = {digest}
                elif asset in expected:
                    expected[asset].add(digest)
            for keep_every in (0, 2):
                copy = self.work / "copy"
                disk.copy(copy, keep_every)
                self.check(copy, expected)
                shutil.rmtree(copy)
            checked += 1
        self.assertGreater(checked, 10)
        print(f"{checked} of {total} sync points, each twice", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    unittest.main(verbosity=2)
