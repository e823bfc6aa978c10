# SPDX-License-Identifier: Apache-2.0
"""librpc installed on its own: what is there, what it exports, and programs outside the tree."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import programs
import tutorial
from programs import BINARY, CMAKE, SOURCE, run

HEADERS = ("rpc.h", "rpc_limits.h", "base.h")
OUTSIDE = pathlib.Path(__file__).resolve().parent / "projects" / "outside"


def version():
    numbers = re.findall(r"#define RPC_VERSION_\w+ (\d+)", (SOURCE / "rpc" / "rpc.h").read_text())
    return ".".join(numbers)


class Package(unittest.TestCase):
    METHODS = ["greeter.Greeter/Greet(greeter.Hello) returns (greeter.Greeting)",
               *(f"grpc.reflection.{v}.ServerReflection/ServerReflectionInfo("
                 f"stream grpc.reflection.{v}.ServerReflectionRequest) returns "
                 f"(stream grpc.reflection.{v}.ServerReflectionResponse)"
                 for v in ("v1", "v1alpha"))]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.prefix = self.folder / "prefix"
        run(CMAKE, "--install", BINARY, "--component", "rpc", "--prefix", self.prefix)
        self.lib = next(self.prefix.glob("**/libdacm-rpc.so")).parent
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(self.lib / "pkgconfig"),
                        LD_LIBRARY_PATH=str(self.lib))

    def run(self, result=None):  # a build from outside must not see the tree's settings
        for name in ("CFLAGS", "CXXFLAGS", "LDFLAGS", "DESTDIR"):
            os.environ.pop(name, None)
        return super().run(result)

    def pkg_config(self, *arguments):
        return run("pkg-config", *arguments, "dacm-rpc", env=self.env).split()

    def declared_functions(self):
        declared = set()
        for name in HEADERS:
            text = (self.prefix / "include" / "dacm-rpc" / name).read_text()
            text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
            declared |= set(re.findall(r"RPC_API[^;{]*?\b(rpc_\w+)\s*\(", text))
        return declared

    def outside(self, *definitions):
        build = self.folder / "build"
        run(CMAKE, "-S", OUTSIDE, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", *definitions)
        run(CMAKE, "--build", build)
        return build

    def calls_and_serves(self, program, *, env=None):
        certificates = programs.make_certificates()
        self.addCleanup(certificates.cleanup)
        self.assertEqual(run(program, certificates.name, env=env),
                         f"{version()}: Hello, outside!\n")

    def test_installs_librpc_and_nothing_of_dacm(self):
        installed = sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*")
                           if not path.is_dir())
        lib = str(self.lib.relative_to(self.prefix))
        short = version().rpartition(".")[0]
        self.assertEqual(installed, sorted([
            *(f"include/dacm-rpc/{name}" for name in HEADERS),
            "share/doc/dacm-rpc/LICENSE", "share/doc/dacm-rpc/reference.md",
            f"{lib}/libdacm-rpc.a", f"{lib}/libdacm-rpc.so", f"{lib}/libdacm-rpc.so.{short}",
            f"{lib}/libdacm-rpc.so.{version()}", f"{lib}/pkgconfig/dacm-rpc.pc",
            *(f"{lib}/cmake/dacm-rpc/{name}" for name in (
                "dacm-rpc-config.cmake", "dacm-rpc-config-version.cmake",
                "DacmRpcProtos.cmake", "EmbedFile.cmake"))]))

    def test_the_tree_builds_librpc_alone_without_dacms_libraries(self):
        build, alone = self.folder / "build", self.folder / "alone"
        run(CMAKE, "-S", SOURCE, "-B", build, "-G", "Ninja", "-DDACM_RPC_ONLY=ON")
        run(CMAKE, "--build", build, "-j2")
        self.assertFalse([path for path in build.rglob("*") if path.name in ("dacmd", "trust")])
        run(CMAKE, "--install", build, "--prefix", alone)
        self.assertEqual({path.name for path in alone.rglob("*")},
                         {path.name for path in self.prefix.rglob("*")})

    def test_both_libraries_export_the_functions_of_the_headers_only(self):
        declared = self.declared_functions()
        self.assertGreater(len(declared), 80)
        for library, option in (("libdacm-rpc.so", "-D"), ("libdacm-rpc.a", "-g")):
            lines = run("nm", option, "--defined-only", self.lib / library).splitlines()
            exported = {line.split()[2] for line in lines if len(line.split()) == 3}
            self.assertEqual(exported, declared, library)

    def reference(self, *arguments):
        return subprocess.run(["python3", SOURCE / "scripts" / "reference", *arguments],
                              capture_output=True, text=True, check=False)

    def test_the_reference_is_what_the_headers_say(self):
        done = self.reference("--check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_reference_has_every_function(self):
        text = (self.prefix / "share" / "doc" / "dacm-rpc" / "reference.md").read_text()
        anchors = re.findall(r'<a id="(\w+)"></a>', text)
        self.assertEqual(self.declared_functions() - set(anchors), set())
        self.assertEqual(len(anchors), len(set(anchors)))

    def test_each_link_of_the_documents_leads_somewhere(self):
        folder = SOURCE / "docs" / "librpc"

        def anchors(document):
            titles = re.findall(r"^#+ (.*)$", document, re.M)
            return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles
                    } | set(re.findall(r'<a id="(\w+)"></a>', document))

        for path in sorted(folder.glob("*.md")):
            text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
            links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text)
            for target, anchor in links:
                file = (path.parent / target).resolve() if target else path
                self.assertTrue(file.exists(), f"{path.name}: {target}")
                if anchor:
                    self.assertTrue(anchor in anchors(file.read_text()), f"{path.name}: #{anchor}")

    def test_the_ranges_of_limits_in_the_header_are_those_that_are_checked(self):
        units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
        words = {"HOUR_MS": "3600000", "RPC__KEEPALIVE_MS_MAX": "31536000000",
                 "INT32_MAX": str((1 << 31) - 1), "UINT32_MAX": str((1 << 32) - 1)}

        def number(text):
            digits, _, unit = text.replace(",", "").partition(" ")
            return str(int(digits) * units.get(unit, 1)) if digits.isdigit() else text

        header = (SOURCE / "rpc" / "rpc_limits.h").read_text()
        value = r"([\w,]+(?: [KM]iB)?)"
        said = {name: (number(low), number(high) if high else None) for name, low, high in
                re.findall(rf"(\w+);\s*/\* [^(]*\({value}(?:\.\.{value}| and more)", header)}
        source = (SOURCE / "rpc" / "limits.c").read_text()
        checked = {name: (low, None if high.startswith("INT64_MAX") else words.get(high, high))
                   for name, low, high in re.findall(r'RANGE\((\w+), "[^"]*", (\d+), ([^)]+)\),',
                                                     source)}
        self.assertGreater(len(checked), 30)
        self.assertEqual(said, checked)

    def test_a_header_that_has_changed_makes_the_reference_old(self):
        header, output = self.folder / "header.h", self.folder / "reference.md"
        header.write_text("/** Says one thing. */\nRPC_API void rpc_said(void);\n")
        arguments = ("--headers", header, "--output", output)
        self.assertEqual(self.reference(*arguments).returncode, 0)
        self.assertEqual(self.reference("--check", *arguments).returncode, 0)
        header.write_text(header.read_text().replace("one", "another"))
        done = self.reference("--check", *arguments)
        self.assertEqual(done.returncode, 1)
        self.assertIn("run scripts/reference", done.stderr)

    def test_what_has_no_comment_has_no_place_in_the_reference(self):
        header = self.folder / "bare.h"
        header.write_text("/** Says what it does. */\nRPC_API void rpc_said(void);\n\n"
                          "RPC_API void rpc_unsaid(void);\n\n#define RPC_SILENT 1\n\n"
                          "typedef struct rpc_mute {\n    int field;\n} rpc_mute;\n")
        done = self.reference("--headers", header, "--output", self.folder / "out.md")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no comment says what these are: rpc_unsaid(), RPC_SILENT, rpc_mute",
                      done.stderr)

    def test_the_soname_changes_with_the_minor_version(self):
        dynamic = run("readelf", "-d", self.lib / "libdacm-rpc.so")
        self.assertIn(f"[libdacm-rpc.so.{version().rpartition('.')[0]}]", dynamic)
        self.assertNotIn("libsodium", dynamic)

    def test_headers_compile_alone_as_c17_and_as_cpp(self):
        flags = self.pkg_config("--cflags")
        for compiler, language in (("cc", "c17"), ("c++", "c++17")):
            for header in HEADERS:
                source = self.folder / ("alone.c" if compiler == "cc" else "alone.cc")
                source.write_text(f"#include <dacm-rpc/{header}>\n")
                run(compiler, f"-std={language}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                    "-fsyntax-only", *flags, source)

    def test_a_program_outside_finds_it_with_find_package(self):
        build = self.outside()
        self.calls_and_serves(build / "outside")
        self.assertIn("libdacm-rpc.so", run("readelf", "-d", build / "outside"))

    def test_a_program_outside_links_the_static_library_with_find_package(self):
        build = self.outside("-DOUTSIDE_STATIC=ON")
        self.calls_and_serves(build / "outside")
        self.assertNotIn("libdacm-rpc.so", run("readelf", "-d", build / "outside"))

    def test_find_package_refuses_another_minor_version(self):
        done = subprocess.run([CMAKE, "-S", OUTSIDE, "-B", self.folder / "build",
                               f"-DCMAKE_PREFIX_PATH={self.prefix}", "-DOUTSIDE_VERSION=0.0"],
                              capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"version: {version()}", done.stderr)

    def build_with_pkg_config(self, *flags):
        run("make", "-f", OUTSIDE / "Makefile", f"SOURCE={OUTSIDE}",
            f"PROTOS={SOURCE / 'examples'}", *flags, cwd=self.folder, env=self.env)
        return self.folder / "outside"

    def test_a_program_outside_finds_it_with_pkg_config(self):
        self.assertEqual(self.pkg_config("--modversion"), [version()])
        self.calls_and_serves(self.build_with_pkg_config(), env=self.env)

    def test_a_program_outside_is_linked_wholly_static_with_pkg_config(self):
        program = self.build_with_pkg_config("STATIC=1")
        self.calls_and_serves(program)
        self.assertNotIn("NEEDED", run("readelf", "-d", program))

    def follow(self, document):
        folder = self.folder / "empty"
        folder.mkdir()
        tutorial.run(SOURCE / "docs" / "librpc" / document, folder, dict(
            self.env, CMAKE_PREFIX_PATH=str(self.prefix), CFLAGS="-Wall -Wextra -Werror"))

    def test_every_block_of_the_quickstart_compiles_and_runs(self):
        self.follow("quickstart.md")

    def test_every_block_of_the_tutorial_compiles_and_runs(self):
        self.follow("tutorial.md")

    def test_every_block_of_the_chapters_on_production_compiles_and_runs(self):
        self.follow("production.md")

    def typed(self, document):
        """The document's commands around the greeter, in a folder of their own: their output."""
        script = next(code for language, _, code in tutorial.blocks(document.read_text())
                      if language == "sh" and "greeter_server" in code)
        (self.folder / "examples").symlink_to(SOURCE / "examples")
        env = dict(self.env, CMAKE_PREFIX_PATH=str(self.prefix))
        return run("/bin/bash", "-euc", script + "wait\n", cwd=self.folder, env=env).splitlines()

    def test_the_five_minutes_of_the_readme_work_as_they_are_typed(self):
        lines = self.typed(SOURCE / "docs" / "librpc" / "README.md")
        self.assertEqual(lines[-len(self.METHODS) - 1], "Hello, World!")
        self.assertEqual(sorted(lines[-len(self.METHODS):]), self.METHODS)

    def test_the_commands_of_the_examples_readme_work_as_they_are_typed(self):
        lines = self.typed(SOURCE / "examples" / "README.md")
        self.assertEqual(sorted(lines[-len(self.METHODS) - 2:-2]), self.METHODS)
        self.assertEqual(lines[-2:], ["text=Hello, World!", "Hello, World!"])

    def test_a_block_that_prints_something_else_is_found(self):
        document = self.folder / "document.md"
        document.write_text("```sh\necho one\n```\n```text\ntwo\n```\n")
        with self.assertRaisesRegex(AssertionError, "this was printed\none"):
            tutorial.run(document, self.folder, self.env)
        document.write_text("```sh\nfalse\n```\n")
        with self.assertRaises(AssertionError):
            tutorial.run(document, self.folder, self.env)

    def test_the_comparison_with_grpc_cpp_still_builds_and_measures(self):
        if os.environ.get("DACM_TEST_FULL") != "1":
            self.skipTest("builds with gRPC C++ on one core: DACM_TEST_FULL=1")
        output = self.folder / "compare.md"
        run("python3", SOURCE / "bench" / "compare" / "compare.py", self.prefix, output,
            env=dict(self.env, ROUNDS="1"))
        self.assertRegex(output.read_text(), r"(?m)^\| size of the server, stripped \| \d+ KiB \|")

    def test_examples_build_and_run_outside_the_tree(self):
        build = self.folder / "build"
        run(CMAKE, "-S", SOURCE / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run(CMAKE, "--build", build, "-j2")
        certificates = programs.make_certificates()
        self.addCleanup(certificates.cleanup)
        programs.greet_with(build / "bin", certificates.name)
        programs.count_with(build / "bin", certificates.name)
        programs.authenticate_with(build / "bin", certificates.name)
        programs.reflect_with(build / "bin", certificates.name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
