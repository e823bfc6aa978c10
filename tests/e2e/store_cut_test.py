# SPDX-License-Identifier: Apache-2.0
"""A store whose file is cut off, emptied or overwritten: dacmd, simsd and skmsd say so in one line
and do not start, their tools neither, and no signal ends them. With the file of before they serve."""
import json
import os
import subprocess
import unittest

import harness
import keyserver
import sims

PAGE = 4096
RESTORE = "restore the store from a backup"


class Program:
    def __init__(self, name, config_file, store):
        self.name, self.config_file, self.store = name, config_file, store

    def run(self, *arguments):
        return subprocess.run([harness.BIN / self.name, "--config", self.config_file, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120)


class StoreCut(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = sims.Sims()
        cls.skms = keyserver.Skms(lambda server, config: config.pop("log"))
        cls.skms.log = lambda: ""  # it goes to stderr
        cls.skms.add()
        cls.sims.add_user("john")
        dacm = cls.sims.dacm
        dacm.upload(os.urandom(100_000), dacm.users[0])
        cls.skms.kill()
        cls.sims.kill()
        dacm.terminate()
        cls.programs = [
            Program("dacmd", dacm.config_file, dacm.config["store"]["directory"]),
            Program("simsd", cls.sims.config_file, cls.sims.config["store"]["directory"]),
            Program("skmsd", cls.skms.config_file, cls.skms.config["store"]["directory"])]

    @classmethod
    def tearDownClass(cls):
        cls.sims.dacm.run()  # what was cut off is back
        cls.sims.run()
        cls.skms.start()
        assert cls.sims.stop() == 0
        cls.skms.close()

    def assert_refused(self, program, half):
        done = program.run()
        self.assertEqual(done.returncode, 1, done.stdout)
        errors = [line for line in map(json.loads, done.stdout.splitlines())
                  if line["level"] == "error"]
        self.assertEqual([line["message"] for line in errors], ["cannot start"], done.stdout)
        self.assertIn(f"store: cannot open '{half}': ", errors[0]["why"])
        self.assertIn(RESTORE, errors[0]["why"])

    def files(self):
        for program in self.programs:
            for half in "meta", "chunks":
                file = os.path.join(program.store, half, "data.mdb")
                with open(file, "rb") as opened:
                    content = opened.read()
                try:
                    yield program, half, file, len(content)
                finally:
                    with open(file, "wb") as opened:
                        opened.write(content)

    def test_cut_off_at_any_page(self):
        for program, half, file, size in self.files():
            refused = 0
            for length in range(size - size % PAGE, 0, -PAGE):
                for length in (length - 1, ) if length == size else (length + 1, length - 1):
                    os.truncate(file, length)
                    with self.subTest(program=program.name, half=half, length=length):
                        checked = program.run("--store-check")
                        self.assertIn(checked.returncode, (0, 1), checked.stdout)
                        if checked.returncode:  # else no page that holds something is missing
                            refused += 1
                            self.assertEqual(len(checked.stdout.splitlines()), 1)
                            self.assertIn(RESTORE, checked.stdout)
                            self.assert_refused(program, half)
            self.assertGreaterEqual(refused, 4, (program.name, half))

    def test_tools_say_what_to_do_whatever_page_is_no_page_any_more(self):
        faults = 0
        for program, half, file, size in self.files():
            for page in range(2 * PAGE, size - size % PAGE, PAGE):
                with open(file, "r+b") as opened:
                    opened.seek(page)
                    content = opened.read(PAGE)
                    opened.seek(page)
                    opened.write(bytes(PAGE))
                with self.subTest(program=program.name, half=half, page=page // PAGE):
                    checked = program.run("--store-check")
                    self.assertIn(checked.returncode, (0, 1), checked.stdout)
                    if checked.returncode:  # else nothing was in there
                        faults += 1
                        self.assertIn("backup", checked.stdout)
                with open(file, "r+b") as opened:
                    opened.seek(page)
                    opened.write(content)
        self.assertGreater(faults, 10)

    def test_emptied(self):
        for program, half, file, _ in self.files():
            if program.name != "dacmd" and half == "chunks":
                continue  # nothing is in there
            os.truncate(file, 0)
            with self.subTest(program=program.name, half=half):
                for tool in "--store-check", "--store-stat":
                    done = program.run(tool)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(RESTORE, done.stdout)
                self.assert_refused(program, half)
                self.assertEqual(os.path.getsize(file), 0)

    def test_overwritten(self):
        for program, half, file, size in self.files():
            with open(file, "wb") as opened:
                opened.write(os.urandom(size))
            with self.subTest(program=program.name, half=half):
                self.assertEqual(program.run("--store-check").returncode, 1)
                self.assert_refused(program, half)


if __name__ == "__main__":
    unittest.main()
