# SPDX-License-Identifier: Apache-2.0
"""What adaptation does to the looks: source and variant rendered from four cameras, compared by
SSIM, and VRM files opened as a VRM runtime opens them. least.json has what each file and recipe
reached when it was last looked at; a test fails that falls below it.

    pictures_test.py --write          measures all of them anew and writes least.json
    pictures_test.py --show FOLDER    writes before and after of the three worst, small"""
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import render  # noqa: I001  (puts tests/e2e on the path)

import harness

LEAST = render.HERE / "least.json"
RECIPES = {"low": ["--preset", "low"], "medium": ["--preset", "medium"],
           "high": ["--preset", "high"],
           "quantized": ["--quantization", "standard", "--mesh-compression", "meshopt"]}
LEAST_QUANTIZED = 0.98  # of every file: what is rounded is not seen
SOME = ("valid-white-m-1-casual.glb", "kaykit-knight.glb", "vrm0-godette.vrm", "mannequiny.glb",
        "morph-stress-embedded.gltf", "robot-expressive.glb")
SLACK = 0.005  # rounding of another version of the browser
FULL = os.environ.get("DACM_TEST_FULL") == "1"
# Not shown by the viewer: compressed by Draco or in KTX2 (passed through unchanged), no mesh, or
# with files beside them (refused).
LEFT_OUT = ("-draco.glb", "-ktx2.glb", ".vrma", "kenney-character.glb")


def avatars():
    folder = harness.data_file("avatars")
    return sorted(path for path in folder.iterdir()
                  if path.suffix in (".glb", ".gltf", ".vrm") and not path.name.endswith(LEFT_OUT))


def adapt(path, recipe):
    with tempfile.TemporaryDirectory(prefix="dacm-render-") as folder:
        out = pathlib.Path(folder) / "adapted.glb"
        subprocess.run([harness.BIN / "dacm", "adapt", path, "-o", out, *RECIPES[recipe]],
                       check=True, capture_output=True, timeout=300)
        return out.read_bytes()


class Shown:
    """A file and its adapted copies, rendered."""

    def __init__(self, viewer, path):
        self.name, self.viewer = path.name, viewer
        self.facts, self.pictures = viewer.view(self.name, path.read_bytes())
        self.adapted = {}
        for recipe in RECIPES:
            name = f"{recipe}-{self.name}"
            facts, pictures = viewer.view(name, adapt(path, recipe), like=self.name)
            self.adapted[recipe] = facts, pictures, viewer.compare(self.name, name)
            viewer.forget(name)
        viewer.forget(self.name)

    def least(self):
        return {recipe: round(min(alike), 4) for recipe, (_, _, alike) in self.adapted.items()}


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.viewer = render.Viewer()
        cls.addClassCleanup(cls.viewer.close)
        cls.least = json.loads(LEAST.read_text())

    def test_variants_look_like_their_source(self):
        for path in avatars():
            if not FULL and path.name not in SOME:
                continue
            shown = Shown(self.viewer, path)
            self.assertGreaterEqual(shown.least()["quantized"], LEAST_QUANTIZED, path.name)
            for recipe, reached in shown.least().items():
                with self.subTest(file=path.name, recipe=recipe):
                    self.assertGreaterEqual(reached, self.least[path.name][recipe] - SLACK)
            for recipe, (facts, _, _) in shown.adapted.items():
                with self.subTest(file=path.name, recipe=recipe):
                    for name in facts.keys() - {"triangles"}:
                        self.assertEqual(facts[name], shown.facts[name], name)

    def test_the_comparison_sees_a_difference(self):
        """Two avatars are not alike, and one is like itself."""
        first, second = (path for path in avatars() if path.name in SOME[1:3])
        for path in first, second:
            self.viewer.view(path.name, path.read_bytes(),
                             like=None if path == first else first.name)
        self.assertLess(max(self.viewer.compare(first.name, second.name)), 0.9)
        self.assertEqual(self.viewer.compare(first.name, first.name), [1] * len(render.CAMERAS))


def measure(show=None):
    from PIL import Image
    viewer, least, worst = render.Viewer(), {}, []
    for path in avatars():
        shown = Shown(viewer, path)
        least[path.name] = shown.least()
        print(path.name, least[path.name], flush=True)
        for recipe, (_, pictures, alike) in shown.adapted.items():
            worst.append((min(alike), path.name, recipe, shown.pictures, pictures))
    viewer.close()
    if not show:
        LEAST.write_text(json.dumps(least, indent=1, sort_keys=True) + "\n")
        return
    for reached, name, recipe, before, after in sorted(worst, key=lambda one: one[0])[:3]:
        row = Image.new("RGB", (4 * 192, 2 * 192))
        for line, pictures in enumerate((before, after)):
            for camera, png in enumerate(pictures):
                row.paste(Image.open(io.BytesIO(png)).resize((192, 192)), (192 * camera, 192 * line))
        file = pathlib.Path(show) / f"{pathlib.Path(name).stem}-{recipe}.jpg"
        row.save(file, quality=85)
        print(f"{file}: {reached:.3f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        measure()
    elif sys.argv[1:2] == ["--show"]:
        measure(sys.argv[2])
    else:
        unittest.main()
