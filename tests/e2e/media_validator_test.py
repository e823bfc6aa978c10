# SPDX-License-Identifier: Apache-2.0
"""Variants of real and drawn avatars, judged by Khronos' glTF Validator: never more errors than in
the source, also where meshes are written uncompressed, so that it looks inside. DACM_TEST_FULL=1:
every file and every recipe."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import BIN, SOURCE, data_file

FULL = os.environ.get("DACM_TEST_FULL") == "1"
NODE = SOURCE / "tests" / "interop" / "node"
FILES = ["cesium-man.glb", "fox.glb", "kaykit-knight.glb", "mannequiny.glb",
         "morph-stress-embedded.gltf", "robot-expressive.glb", "valid-white-m-1-casual.glb",
         "vrm0-godette.vrm"]
PLAIN = ["--mesh-compression", "none"]
ROUNDED = ["--quantization", "standard"]
RECIPES = [["--preset", "low", *PLAIN], ["--base", *PLAIN], ["--lod", "1"],
           ["--mesh-compression", "meshopt"], [*ROUNDED, *PLAIN],
           [*ROUNDED, "--mesh-compression", "meshopt"], [*ROUNDED, "--preset", "low"],
           ["--preset", "low"], ["--preset", "medium"],
           ["--preset", "high"], ["--lod", "2"],
           ["--texture-size", "512", "--texture-format", "webp"], ["--max-bytes", "40%"]]
CANNOT_BE = 9  # exit code: the recipe cannot be met


class Validator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (NODE / "node_modules" / "gltf-validator").exists():
            raise AssertionError(f"gltf-validator is missing: npm ci in {NODE} (scripts/test does)")
        folder = tempfile.TemporaryDirectory(prefix="dacm-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.dir = pathlib.Path(folder.name)

    def judged(self, paths):
        """What the validator says of each file, in order."""
        done = subprocess.run(
            ["/usr/bin/node", "--no-warnings", "gltf-validator.mjs"], cwd=NODE, check=True,
            input="".join(f"{path}\n" for path in paths), capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def variant(self, source, number, options):
        """A variant beside copies of what the source names; None: it cannot be that small."""
        budget = str(source.stat().st_size * 2 // 5)
        output = self.dir / f"{source.name}.{number}.glb"
        done = subprocess.run(
            [BIN / "dacm", "adapt", source, "-o", output,
             *(budget if option == "40%" else option for option in options)],
            capture_output=True, text=True)
        if done.returncode == CANNOT_BE and "max_bytes" in done.stderr:
            return None
        self.assertEqual(done.returncode, 0, (source, options, done.stderr))
        return output

    def no_more_errors(self, sources, recipes):
        made = [(source, options, self.variant(source, number, options))
                for source in sources for number, options in enumerate(recipes)]
        made = [entry for entry in made if entry[2]]
        before = dict(zip(sources, self.judged(sources)))
        for (source, options, _), after in zip(made, self.judged([path for *_, path in made])):
            with self.subTest(source=source.name, options=options):
                self.assertLessEqual(after["errors"], before[source]["errors"], after)
                for kind, count in after["kinds"].items():
                    self.assertLessEqual(count, before[source]["kinds"].get(kind, 0), after)
        return len(made)

    def test_variants_of_real_avatars_have_no_more_errors_than_their_sources(self):
        folder = pathlib.Path(data_file("avatars/fox.glb")).parent
        sources = [path for path in sorted(folder.iterdir())
                   if path.is_file() and (FULL or path.name in FILES)]
        shutil.copytree(folder / "Textures", self.dir / "Textures")
        count = self.no_more_errors(sources, RECIPES if FULL else RECIPES[:6])
        self.assertGreaterEqual(count, 200 if FULL else 6 * len(FILES))

    def test_variants_of_drawn_avatars_have_none(self):
        sources = []
        for kind in ("humanoid", "prop"):
            sources.append(self.dir / f"{kind}.glb")
            subprocess.run([SOURCE / "tests/data/make-avatar", "--kind", kind, "-o", sources[-1]],
                           check=True)
        self.assertEqual([verdict["errors"] for verdict in self.judged(sources)], [0, 0])
        recipes = [[*options, "--max-triangles", number] for number in ("4", "40", "400")
                   for options in ([], PLAIN, [*ROUNDED, *PLAIN])]
        self.assertEqual(self.no_more_errors(sources, recipes), 18)


if __name__ == "__main__":
    unittest.main()
