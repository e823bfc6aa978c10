# SPDX-License-Identifier: Apache-2.0
"""The command dacm as a user types it: exit codes, one line of JSON, and what its failures say."""
import json
import os
import subprocess
import unittest

import harness


def run(*arguments, env=None, **options):
    """dacm with the variables of env only; standard output and error as text."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DACM_")}
    return subprocess.run([harness.BIN / "dacm", *arguments], env={**variables, **(env or {})},
                          capture_output=True, text=True, timeout=120, **options)


class Development(unittest.TestCase):
    """`dacm dev` itself."""

    def setUp(self):
        self.dev = harness.Dev()

    def tearDown(self):
        self.assertEqual(self.dev.stop(), 0)

    def test_second_run_in_the_same_folder_is_refused_and_harms_nothing(self):
        before = (self.dev.dir / "env.json").read_bytes()
        second = run("--json", "dev", "--dir", self.dev.dir,
                     "--ports-from", str(harness.free_ports(3)))
        self.assertEqual(second.returncode, 9, second)
        error = json.loads(second.stdout)["error"]
        self.assertEqual(error["code"], "FAILED_PRECONDITION")
        self.assertIn(str(self.dev.dir), error["message"])
        self.assertEqual((self.dev.dir / "env.json").read_bytes(), before)
        listed = run("ls", "--as", self.dev.users[0], env={"DACM_ENV": str(self.dev.dir)})
        self.assertEqual(listed.returncode, 0, listed)

    def test_taken_port_is_no_advice_to_look_for_the_server(self):
        other = self.dev.dir / "other"
        second = run("dev", "--dir", other, "--ports-from", str(self.dev.first_port))
        self.assertEqual(second.returncode, 9, second)
        self.assertIn("--ports-from", second.stderr)
        self.assertNotIn("Is the server running", second.stderr)


if __name__ == "__main__":
    unittest.main()
