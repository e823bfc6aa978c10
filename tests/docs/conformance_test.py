# SPDX-License-Identifier: Apache-2.0
"""scripts/conformance finds every test that docs/conformance names, and says which it does not."""
import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(os.environ["DACM_SOURCE_DIR"]) / "scripts" / "conformance"
GOOD = "e2e.sims_login: Login, test_state_comes_back_exactly; unit-trust; fuzz.token; –"


def judge(*arguments):
    done = subprocess.run([SCRIPT, *arguments], text=True, capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Conformance(unittest.TestCase):
    def table(self, tests, code="`trust/jws.c`"):
        with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
            file.write(f"| clause | code | test |\n|---|---|---|\n| 1 | {code} | {tests} |\n")
            file.flush()
            return judge(file.name)

    def test_documents_name_tests_that_exist(self):
        self.assertEqual(judge(), (0, ""))

    def test_what_does_not_exist_is_told(self):
        self.assertEqual(self.table(GOOD), (0, ""))
        for tests in ("e2e.nothing", "e2e.sims_login: test_nothing", "unit-nothing", "",
                      "unit-trust: nothing", "fuzz.nothing", "bench: nothing", "some words",
                      "e2e.sims_login: two words", "e2e.sims_login:"):
            with self.subTest(tests=tests):
                self.assertEqual(self.table(tests)[0], 1)
        code, told = self.table(GOOD, "`trust/nothing.c`")
        self.assertEqual(code, 1)
        self.assertIn("trust/nothing.c", told)


if __name__ == "__main__":
    unittest.main()
