# SPDX-License-Identifier: Apache-2.0
"""Clients that are not ours, from proto/ alone: gRPC C++, @grpc/grpc-js with jose, openssl."""
import hashlib
import json
import os
import pathlib
import subprocess
import unittest

import harness
from harness import unb64url


def setUpModule():
    global dev, owner, listed
    dev = harness.Dev()
    owner, listed = dev.users[0], dev.users[1]


def tearDownModule():
    assert dev.stop() == 0, dev.read_log()


class Interop(unittest.TestCase):
    content = hashlib.shake_256(b"interop").digest(900_000)

    def test_grpc_cpp_authorizes_downloads_and_reflects(self):
        client = harness.BIN.parent / "tests" / "interop_cpp_client"
        if not client.exists():
            self.skipTest("the C++ client is built with the release preset only")
        asset = dev.upload(self.content, owner, [listed]).asset_id
        token = dev.token(listed, asset, ["get"], [listed])
        out = dev.dir / "cpp.out"
        done = subprocess.run([client, dev.target, dev.env["ca_file"], asset, listed, token, out],
                              text=True, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(out.read_bytes(), self.content)

    def test_grpc_js_uploads_authorizes_downloads_and_jose_verifies(self):
        folder = harness.SOURCE / "tests" / "interop" / "node"
        if not (folder / "node_modules").exists():
            self.skipTest("run `npm ci` in tests/interop/node (scripts/test does)")
        file = dev.dir / "node.in"
        file.write_bytes(self.content)

        def node(token, *more):
            done = subprocess.run(
                ["/usr/bin/node", "--experimental-global-webcrypto", "--no-warnings",
                 folder / "client.mjs", harness.SOURCE / "proto", dev.dir / "env.json", owner,
                 token, file, *more], text=True, capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout.strip()
        asset = node(dev.token(owner, None, ["create"]))
        node(dev.token(owner, asset, ["get"], [owner]), asset)

    def test_manifest_verifies_with_openssl_and_sha256sum(self):
        """The commands of docs/wire.md."""
        asset = dev.upload(self.content, owner).asset_id
        out = dev.dir / "openssl.out"
        dev.cli("get", asset, "--as", owner, "-o", out, check=True)
        jws = pathlib.Path(str(out) + ".jws").read_text().strip()
        head, body, signature = jws.split(".")
        key = json.loads(pathlib.Path(dev.env["keys_file"]).read_text())["keys"][0]
        # An Ed25519 public key as DER is this prefix and the key's 32 bytes (RFC 8410).
        (dev.dir / "key.der").write_bytes(
            bytes.fromhex("302a300506032b6570032100") + unb64url(key["x"]))
        (dev.dir / "input").write_text(head + "." + body)
        (dev.dir / "signature").write_bytes(unb64url(signature))
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey",
             dev.dir / "key.der", "-rawin", "-in", dev.dir / "input", "-sigfile",
             dev.dir / "signature"], text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        digest = subprocess.run(["sha256sum", out], text=True, capture_output=True).stdout.split()[0]
        self.assertEqual(unb64url(json.loads(unb64url(body))["sha256"]).hex(), digest)


if __name__ == "__main__":
    os.environ.setdefault("NODE_NO_WARNINGS", "1")
    unittest.main(verbosity=2)
