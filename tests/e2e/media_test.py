# SPDX-License-Identifier: Apache-2.0
"""dacm adapt and dacm inspect: avatars through the sandboxed worker, offline."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest
import zlib

import harness
from configured import wait_until
from harness import BIN, SOURCE, data_file

SANITIZED = bool(os.environ.get("DACM_SANITIZE"))


def run(*arguments, program=BIN / "dacm"):
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("DACM_", "XDG_"))}
    return subprocess.run([program, *map(str, arguments)], env=variables, capture_output=True,
                          text=True, timeout=280)


def process(pid):
    """Its parent, its state, and when it began; None: there is no such process."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[1]), fields[0], fields[19]


def below(pid):
    """Processes below this one, each with the time it began."""
    all_now = {int(path.name): process(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")}
    found, parents = [], {pid}
    while parents:
        children = {child for child, of in all_now.items() if of and of[0] in parents}
        found += [(child, all_now[child][2]) for child in children]
        parents = children
    return found


def runs(worker):
    now = process(worker[0])
    return now is not None and now[2] == worker[1] and now[1] != "Z"


def gray_png(side, row=None):
    """A picture of one gray, or of one row again and again: few bytes, many pixels."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    deflate = zlib.compressobj(9)
    line = b"\0" + (row or bytes(side))
    rows = b"".join(deflate.compress(line) for _ in range(side)) + deflate.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", rows) + chunk(b"IEND", b""))


class Media(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="dacm-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)
        cls.avatar = cls.made("humanoid")

    @classmethod
    def made(cls, kind):
        path = cls.dir / f"{kind}.glb"
        subprocess.run([SOURCE / "tests/data/make-avatar", "--kind", kind, "-o", path], check=True)
        return path

    def good(self, *arguments):
        done = run(*arguments)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def objects(self, *arguments):
        """What --json prints, a line each."""
        return [json.loads(line) for line in self.good("--json", *arguments).splitlines()]

    def refused(self, code, *arguments):
        """The error object of a command that ends with that code."""
        done = run("--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        return json.loads(done.stdout)["error"]


class Adapting(Media):
    def adapt(self, *options, source=None, output="variant.glb"):
        output = self.dir / output
        answer, = self.objects("adapt", source or self.avatar, "-o", output, *options)
        return answer, output.read_bytes()

    def test_the_same_file_and_options_give_the_same_bytes_and_true_figures(self):
        first, content = self.adapt("--preset", "low")
        second, again = self.adapt("--preset", "low", output="again.glb")
        self.assertEqual(content, again)
        self.assertEqual(first["recipe"], second["recipe"])
        self.assertEqual(first["figures"]["bytes"], len(content))
        self.assertEqual(first["source"]["bytes"], self.avatar.stat().st_size)
        self.assertEqual(first["media_type"], "model/gltf-binary")
        before, after = self.objects("inspect", self.avatar, self.dir / "variant.glb")
        self.assertEqual(before["figures"], first["source"])
        self.assertEqual(after["figures"], first["figures"])

    def test_options_become_the_recipe(self):
        for options, recipe in (
                (["--lod", "1"], {"lod": 1}),
                (["--max-triangles", "100"], {"max_triangles": 100}),
                (["--max-bytes", "1000000"], {"max_bytes": 1000000}),
                (["--max-bytes", "200k"], {"max_bytes": 200000}),
                (["--max-bytes", "2MB"], {"max_bytes": 2000000}),
                (["--texture-size", "32", "--texture-format", "png"],
                 {"texture_size_limit": 32, "texture_format": "png"}),
                (["--texture-format", "webp", "--texture-quality", "70"],
                 {"texture_format": "webp", "texture_quality": 70}),
                (["--base"], {"base": True}),
                (["--mesh-compression", "meshopt"], {"mesh_compression": "meshopt"}),
                (["--quantization", "standard"], {"quantization": "standard"}),
                (["--quantization", "keep", "--lod", "1"], {"lod": 1}),
                (["--morph-targets", "oculus,arkit,smile"],
                 {"morph_targets": {"groups": ["arkit", "oculus"], "names": ["smile"]}}),
                (["--morph-targets", "none"], {"morph_targets": {"groups": [], "names": []}}),
                (["--animations", "none", "--texture-format", "keep"], {"animations": []}),
                (["--texture-channels", "normal,baseColor"],
                 {"texture_channels": ["baseColor", "normal"]})):
            with self.subTest(options=options):
                answer, _ = self.adapt(*options)
                self.assertEqual(answer["recipe"], recipe)

    def test_what_is_asked_for_is_what_comes(self):
        answer, _ = self.adapt("--max-triangles", "64", "--texture-size", "16", "--animations",
                               "none", "--morph-targets", "none")
        source, made = answer["source"], answer["figures"]
        self.assertGreater(source["triangles"], 64)
        self.assertTrue(made["triangles"] <= 64 * 1.05 or answer["why"], answer)
        self.assertLess(made["triangles"], source["triangles"])
        self.assertLessEqual(made["texture_size"], 16)
        self.assertEqual((made["animations"], made["morph_targets"]), (0, 0))
        self.assertEqual([made[name] for name in ("skins", "joints", "nodes", "vrm")],
                         [source[name] for name in ("skins", "joints", "nodes", "vrm")])

    def test_recipe_file_and_options_go_together(self):
        recipe = self.dir / "recipe.json"
        recipe.write_text('{"preset": "low", "max_triangles": 90, "animations": []}')
        answer, _ = self.adapt("--recipe", recipe, "--max-triangles", "80")
        self.assertEqual(answer["recipe"]["max_triangles"], 80)
        self.assertEqual(answer["recipe"]["animations"], [])
        self.assertEqual(answer["recipe"]["texture_size_limit"], 256)
        recipe.write_text('{"triangles": 90}')
        error = self.refused(2, "adapt", self.avatar, "-o", self.dir / "x", "--recipe", recipe)
        self.assertIn("'triangles' is not known", error["message"])
        recipe.write_text(" " * 5000)
        error = self.refused(11, "adapt", self.avatar, "-o", self.dir / "x", "--recipe", recipe)
        self.assertIn("recipe.json': it is larger than 2047 bytes", error["message"])

    def test_names_that_a_recipe_may_say(self):
        shown, = self.objects("inspect", self.avatar)
        names = shown["names"]
        self.assertEqual(len(names["animations"]), shown["figures"]["animations"])
        self.assertEqual(len(names["morph_targets"]), shown["figures"]["morph_targets"])
        answer, _ = self.adapt("--morph-targets", names["morph_targets"][0], "--animations",
                               names["animations"][0])
        self.assertEqual(answer["figures"]["morph_targets"], 1)
        self.assertEqual(answer["figures"]["animations"], 1)
        for name in sum(names.values(), []):
            self.assertRegex(self.good("inspect", "--names", self.avatar), rf"(?m)^  {name}$")
        self.assertNotIn("names of", self.good("inspect", self.avatar))

    def test_names_do_not_steer_terminals_and_stand_once(self):
        glb = self.avatar.read_bytes()
        size = int.from_bytes(glb[12:16], "little")
        gltf = json.loads(glb[20:20 + size])
        nod, = gltf["animations"]
        gltf["animations"] = [{**nod, "name": name} for name in ("a\x1b[2J", "b", "b")]
        text = json.dumps(gltf).encode()
        text += b" " * (-len(text) % 4)
        rest = glb[20 + size:]
        file = self.dir / "named.glb"
        file.write_bytes(struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text),
                                     0x4e4f534a) + text + rest)
        self.assertIn("animations:\n  a?[2J\n  b\nnames", self.good("inspect", "--names", file))
        shown, = self.objects("inspect", file)
        self.assertEqual(shown["names"]["animations"], ["a\x1b[2J", "b"])

    def test_people_see_before_and_after(self):
        shown = self.good("adapt", self.avatar, "-o", self.dir / "seen.glb", "--preset", "low")
        self.assertIn("humanoid.glb", shown)
        self.assertIn("seen.glb", shown)
        self.assertRegex(shown, r"(?m)^triangles +\d+ +\d+$")
        long = self.dir / "an-avatar-with-a-long-name.glb"
        long.write_bytes(self.avatar.read_bytes())
        self.assertIn(" ..-a-long-name.glb ", self.good("inspect", long, self.avatar))
        shown = self.good("inspect", self.avatar)
        self.assertRegex(shown, r"(?m)^triangles +\d+$")
        self.assertRegex(shown, r"(?m)^VRM +1\.0$")

    def test_real_avatars(self):
        for name in ("cesium-man.glb", "valid-white-m-1-casual.glb", "vrm1-valid-white-m-1.vrm"):
            with self.subTest(name=name):
                answer, content = self.adapt("--preset", "low",
                                             source=data_file(f"avatars/{name}"))
                self.assertLess(len(content), answer["source"]["bytes"])
                self.assertEqual(answer["figures"]["joints"], answer["source"]["joints"])


class Refusing(Media):
    def test_wrong_arguments(self):
        out = ["-o", self.dir / "never"]
        for words, *arguments in (
                ("which file", "adapt", *out), ("where to", "adapt", self.avatar),
                ("nothing is to be adapted", "adapt", self.avatar, *out),
                ("nothing is to be adapted", "adapt", self.avatar, *out, "--lod", "0"),
                ("lod", "adapt", self.avatar, *out, "--lod", "3"),
                ("preset", "adapt", self.avatar, *out, "--preset", "tiny"),
                ("there are low, medium, high", "adapt", self.avatar, *out, "--preset", "tiny"),
                ("there are baseColor, ", "adapt", self.avatar, *out, "--texture-channels", "skin"),
                ("not a number", "adapt", self.avatar, *out, "--max-bytes", "1km"),
                ("not a number", "adapt", self.avatar, *out, "--max-triangles", "1k"),
                ("too large", "adapt", self.avatar, *out, "--max-bytes", "9223372036854775M"),
                ("leave the option out", "adapt", self.avatar, *out, "--max-triangles", "0"),
                ("leave the option out", "adapt", self.avatar, *out, "--max-bytes", "0k"),
                ("texture_size_limit", "adapt", self.avatar, *out, "--texture-size", "4"),
                ("--timeout", "adapt", self.avatar, *out, "--timeout", "0"),
                ("--memory", "inspect", self.avatar, "--memory", "1"),
                ("which file", "inspect"), ("two files", "inspect", "a", "b", "c")):
            with self.subTest(arguments=arguments):
                error = self.refused(2, *arguments)
                self.assertEqual(error["code"], "INVALID_ARGUMENT")
                self.assertIn(words, error["message"])
        self.assertFalse((self.dir / "never").exists())

    def test_files_that_are_none_or_broken_name_themselves_and_leave_what_was(self):
        empty, kept = self.dir / "empty", self.dir / "kept"
        empty.write_bytes(b"")
        kept.write_bytes(b"earlier")
        for file in (self.dir / "nowhere", self.dir, empty, "/dev/zero", self.made("truncated"),
                     self.made("length-lies"), self.made("json-deep"), self.made("accessor-huge"),
                     self.made("node-cycle")):
            with self.subTest(file=file):
                for arguments in (["adapt", file, "-o", kept, "--preset", "low"],
                                  ["inspect", file]):
                    error = self.refused(11, *arguments)
                    self.assertIn(f"'{file}'", error["message"])
        self.assertEqual(kept.read_bytes(), b"earlier")

    def test_every_broken_kind_that_is_drawn_is_refused_for_its_fault(self):
        listed = subprocess.run([SOURCE / "tests/data/make-avatar", "--list"], check=True, text=True,
                                capture_output=True).stdout.split("\n")
        broken = [line.split()[0] for line in listed if line.endswith(" broken")]
        places = {
            "truncated": "GLB: its header says", "length-lies": "GLB: its header says",
            "json-deep": "JSON: is nested deeper", "accessor-huge": "/accessors/0/count",
            "node-cycle": "/nodes/0: is its own ancestor", "texture-damaged": "/images/0: PNG: byte",
            "text": "neither glTF (GLB, VRM) nor a picture", "extension-undeclared": "VRMC_vrm: is used, and",
            "extension-misplaced": "/scenes/0/extensions/VRMC_vrm: does not belong here",
            "vrm-no-hips": "/humanBones/hips: is missing", "vrm-no-meta": "/meta: is missing",
            "vrm-bone-nowhere": "/humanBones/head/node: 99999",
            "vrm-target-nowhere": "/morphTargetBinds/0: morph target 2",
            "picture-of-another-kind": "/images/0: says image/jpeg, and is image/png",
            "index-beyond": "/indices: an index is 60000", "joint-beyond": "bound to joint 200",
            "number-none": "/accessors/1: element 2 is no finite number",
            "position-beyond": "/accessors/0: element 1 has 1e+06",
            "times-fall": "/samplers/0/input: time 2"}
        self.assertEqual(set(broken), set(places))
        for kind, place in places.items():
            with self.subTest(kind=kind):
                file = self.made(kind)
                for arguments in (["inspect", file], ["adapt", file, "-o", self.dir / "never",
                                                      "--lod", "1"]):
                    error = self.refused(1 if kind == "text" else 11, *arguments)
                    self.assertIn(place, error["message"])
        self.assertFalse((self.dir / "never").exists())

    def test_an_avatar_whose_licence_prohibits_it_is_shown_and_not_adapted(self):
        file = self.made("prohibited")
        shown, = self.objects("inspect", file)
        licence = shown["figures"]["licence"]
        self.assertEqual(licence["modification"], "prohibited")
        self.assertEqual(shown["figures"]["prohibits"], "modification: prohibited")
        self.assertIn("\nmay be adapted: no, its licence prohibits it (modification: prohibited)\n",
                      self.good("inspect", file))
        self.assertIn("\nmay be adapted: yes\n", self.good("inspect", self.avatar))
        error = self.refused(9, "adapt", file, "-o", self.dir / "never", "--lod", "1")
        self.assertIn("(modification: prohibited): only the original", error["message"])
        self.assertFalse((self.dir / "never").exists())

    def test_output_that_cannot_be_written(self):
        error = self.refused(11, "adapt", self.avatar, "-o", "/nowhere/out.glb", "--preset", "low")
        self.assertIn("/nowhere/out.glb", error["message"])

    def test_output_that_is_no_file_stays_what_it_is(self):
        pipe, folder, link = (self.dir / name for name in ("pipe", "folder", "link"))
        os.mkfifo(pipe)
        folder.mkdir()
        link.symlink_to(pipe)
        for output in pipe, folder, link:
            with self.subTest(output=output.name):
                before = output.lstat()
                error = self.refused(11, "adapt", self.avatar, "-o", output, "--preset", "low")
                self.assertIn(f"'{output}' is", error["message"])
                self.assertEqual((output.lstat().st_ino, output.lstat().st_mode),
                                 (before.st_ino, before.st_mode))

    def test_every_broken_file_ends_with_a_reason(self):
        broken = data_file("broken")
        files = sorted(path for path in broken.rglob("*") if path.is_file())
        self.assertGreater(len(files), 100)
        for file in files if harness.FULL else files[::5]:
            with self.subTest(file=file.relative_to(broken)):
                done = run("--json", "adapt", file, "-o", self.dir / "broken-out", "--lod", "1",
                           "--texture-size", "64")
                answer = json.loads(done.stdout)
                if done.returncode != 0:
                    self.assertIn(done.returncode, (1, 9, 10, 11), done)
                    self.assertNotIn(answer["error"]["code"], ("INTERNAL", "UNAVAILABLE"), done)
                    self.assertGreater(len(answer["error"]["message"]), 20)

    @unittest.skipIf(SANITIZED, "sanitizers need all of the address space")
    def test_a_bomb_costs_the_memory_that_it_may(self):
        bomb = self.dir / "bomb.png"
        bomb.write_bytes(gray_png(8000))
        error = self.refused(10, "adapt", bomb, "-o", self.dir / "never", "--texture-size", "64",
                             "--memory", "128")
        self.assertEqual(error["code"], "RESOURCE_EXHAUSTED")
        self.assertIn("cost more memory than it was given", error["message"])

    def long_job(self):
        """Arguments of an adaptation that takes seconds, and where its variant would be."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.dir))
        picture = folder / "large.png"
        picture.write_bytes(gray_png(8000, bytes(x * x * 31 % 251 for x in range(8000))))
        return folder, ["adapt", picture, "-o", folder / "never.webp", "--texture-size", "8000",
                        "--texture-format", "webp"]

    def test_a_command_that_is_ended_leaves_no_worker_and_no_output(self):
        folder, arguments = self.long_job()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number), subprocess.Popen(
                    [BIN / "dacm", *map(str, arguments)], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL) as command:
                wait_until("a worker of a worker", lambda: len(below(command.pid)) >= 2)
                workers = below(command.pid)
                command.send_signal(number)
                self.assertEqual(command.wait(60), -number)
                wait_until("no worker is left", lambda: not any(map(runs, workers)))
            self.assertEqual([path.name for path in folder.iterdir()], ["large.png"])

    def test_a_job_that_takes_too_long_is_ended(self):
        folder, arguments = self.long_job()
        error = self.refused(10, *arguments, "--timeout", "1")
        self.assertEqual(error["code"], "RESOURCE_EXHAUSTED")
        self.assertIn("cost more than 1.000 s", error["message"])
        self.assertEqual([path.name for path in folder.iterdir()], ["large.png"])

    def test_no_decoder_is_linked_where_keys_are(self):
        def has_decoder(program):
            linked = subprocess.run(["ldd", BIN / program], check=True, text=True,
                                    capture_output=True).stdout
            return any(name in linked for name in
                       ("libpng", "libturbojpeg", "libjpeg", "libwebp", "libmeshoptimizer"))
        self.assertTrue(has_decoder("dacm-media"))
        for program in ("dacm", "dacmd", "simsd", "skmsd"):
            self.assertFalse(has_decoder(program), program)

    def test_command_without_its_worker_says_so(self):
        alone = self.dir / "alone"
        alone.mkdir()
        shutil.copy(BIN / "dacm", alone)
        done = run("inspect", self.avatar, program=alone / "dacm")
        self.assertEqual(done.returncode, 11, done)
        self.assertIn("dacm-media", done.stderr)


if __name__ == "__main__":
    unittest.main()
