# SPDX-License-Identifier: Apache-2.0
"""The programs of docs/media.md, "From a program": in C, Python and Node.js, as they stand there."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import harness
from configured import Server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "package"))
import tutorial  # noqa: E402

NODE = harness.SOURCE / "tests" / "interop" / "node"
MAKER = harness.SOURCE / "tests" / "data" / "make-avatar"


def programs():
    """Those blocks of the document that are files, by name."""
    document = (harness.SOURCE / "docs" / "media.md").read_text()
    return {name: code for _, name, code in tutorial.blocks(document) if name}


class Programs(unittest.TestCase):
    SAID = (r"^\d+ triangles; all that was asked for; modification: "
            "allowModificationRedistribution\n?$")

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.user = cls.server.users[0]
        cls.programs = programs()
        cls.asset, cls.prohibited = (cls.server.upload(cls.drawn(kind), cls.user).asset_id
                                     for kind in ("humanoid", "prohibited"))

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.read_log()

    @staticmethod
    def drawn(kind):
        with tempfile.NamedTemporaryFile(suffix=".glb") as file:
            subprocess.run(["/usr/bin/python3", MAKER, "--kind", kind, "-o", file.name], check=True)
            return file.read()

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dacm-programs-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_program(self, *command, asset=None, **environment):
        asset = asset or self.asset
        token = self.server.token(self.user, asset, ["get"], [self.user])
        names = {"SERVER": self.server.env["dacm"]["grpc"].split("//")[1],
                 "CA": self.server.env["ca_file"], "KEYS": self.server.env["keys_file"],
                 "ISSUER": self.server.audience, "TOKEN": token, "ID": asset, "GPSI": self.user}
        done = subprocess.run([part.format(**names) for part in map(str, command)], text=True,
                              capture_output=True, timeout=120, cwd=self.folder, check=False,
                              env={"PATH": "/usr/bin:/bin", **environment})
        return done.returncode, done.stdout, done.stderr

    def test_c(self):
        ours = [harness.BIN.parent / "tests" / "variant-program", "tls+tcp://{SERVER}", "{CA}",
                "{KEYS}", "{ISSUER}", "{TOKEN}", "{ID}", "{GPSI}"]
        code, told, error = self.run_program(*ours)
        self.assertEqual(code, 0, error)
        self.assertRegex(told, r"^phone.glb: \d+ triangles, textures of \d+ px at most; all that was "
                               "asked for; modification: allowModificationRedistribution\n$")
        self.assertEqual((self.folder / "phone.glb").read_bytes()[:4], b"glTF")
        code, told, error = self.run_program(*ours, asset=self.prohibited)
        self.assertEqual((code, told), (1, ""))
        self.assertIn("FAILED_PRECONDITION: media: the licence", error)

    def test_python(self):
        (self.folder / "variant.py").write_text(self.programs["variant.py"])
        ours = ["/usr/bin/python3", "variant.py", "{SERVER}", "{CA}", "{TOKEN}", "{ID}", "{GPSI}"]
        environment = {"PYTHONPATH": os.environ["DACM_STUBS"]}
        code, told, error = self.run_program(*ours, **environment)
        self.assertEqual(code, 0, error)
        first, kept = told.splitlines()[0], told.splitlines()[1:]
        self.assertRegex(first, self.SAID)
        triangles = int(first.split()[0])
        self.assertIn((500, triangles), [
            (json.loads(line.split()[0]).get("max_triangles"), int(line.split()[2])) for line in kept])
        code, told, error = self.run_program(*ours, asset=self.prohibited, **environment)
        self.assertEqual((code, told), (1, ""))
        self.assertIn("FAILED_PRECONDITION: media: the licence", error)

    def test_node(self):
        if not (NODE / "node_modules").exists():
            self.skipTest("run `npm ci` in tests/interop/node (scripts/test does)")
        (self.folder / "variant.mjs").write_text(self.programs["variant.mjs"])
        (self.folder / "node_modules").symlink_to(NODE / "node_modules")
        ours = ["node", "variant.mjs", harness.SOURCE / "proto", "{SERVER}", "{CA}", "{TOKEN}", "{ID}",
                "{GPSI}"]
        code, told, error = self.run_program(*ours, PATH=os.environ["PATH"])
        self.assertEqual(code, 0, error)
        self.assertRegex(told, self.SAID)
        code, told, error = self.run_program(*ours, asset=self.prohibited, PATH=os.environ["PATH"])
        self.assertEqual((code, told), (1, ""))
        self.assertIn("9 media: the licence", error)


if __name__ == "__main__":
    unittest.main()
