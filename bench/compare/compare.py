# SPDX-License-Identifier: Apache-2.0
"""compare.py PREFIX OUTPUT: builds the greeter with the librpc installed in PREFIX and with
gRPC C++, measures both side by side, and writes docs/librpc/compare.md.

Each figure is the median of ROUNDS, taken in turn; compilers run without a cache, on one core.
"""
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROUNDS = int(os.environ.get("ROUNDS", "5"))


def run(*command, env=None):
    return subprocess.run([str(part) for part in command], env=env, check=True, text=True,
                          capture_output=True).stdout


def libraries(program, env):
    """What the loader maps for the program, by real file."""
    found = re.findall(r"=> (/\S+)", run("ldd", program, env=env))
    return {os.path.realpath(path) for path in found}


def stripped_size(program, folder):
    copy = folder / "stripped"
    shutil.copy(program, copy)
    run("strip", copy)
    return copy.stat().st_size


def memory(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    value = {name: int(number) for name, number in re.findall(r"(\w+):\s+(\d+)", text)}
    return {"anonymous": value["RssAnon"], "resident": value["VmRSS"], "threads": value["Threads"]}


class Side:
    """One of the two: its project, its programs, its figures."""

    def __init__(self, name, source, only, env, options=()):
        self.name, self.source, self.only, self.env, self.options = name, source, only, env, options
        self.figures = {}

    def note(self, what, value):
        self.figures.setdefault(what, []).append(value)

    def build(self, folder):
        build = folder / self.name
        shutil.rmtree(build, ignore_errors=True)
        run("cmake", "-S", self.source, "-B", build, "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release", *self.options, env=self.env)
        began = time.monotonic()
        run("ninja", "-C", build, "-j1", *self.only, env=self.env)
        self.note("build", time.monotonic() - began)
        self.bin = build / "bin"

    def serve(self, certificates):
        began = time.monotonic()
        server = subprocess.Popen([self.bin / "greeter_server", certificates], env=self.env,
                                  text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        url = server.stdout.readline().strip()
        self.note("start", 1000 * (time.monotonic() - began))
        for what, value in memory(server.pid).items():
            self.note(what, value)
        began = time.monotonic()
        run(self.bin / "greeter_client", url, certificates, "World", env=self.env)
        self.note("client", 1000 * (time.monotonic() - began))
        for _ in range(20):
            run(self.bin / "greeter_client", url, certificates, "World", env=self.env)
        self.note("anonymous_after", memory(server.pid)["anonymous"])
        server.stdin.close()
        server.wait()
        server.stdout.close()

    def inspect(self, folder):
        loaded = libraries(self.bin / "greeter_server", self.env)
        self.note("program", stripped_size(self.bin / "greeter_server", folder))
        self.note("libraries", len(loaded))
        self.note("library_bytes", sum(os.path.getsize(path) for path in loaded))

    def median(self, what):
        return statistics.median(self.figures[what])


FEATURES = [
    ("language of the API, and of what is linked", "C17", "C++17"),
    ("unary and streams of all kinds, deadlines, cancellation, metadata", "yes", "yes"),
    ("asynchronous server without a thread per call", "yes", "yes (callback API)"),
    ("flow control up to the producer", "yes: `RPC_SENT_BUSY`, `on_writable`", "yes: one write in flight"),
    ("large content without a copy", "yes: `rpc_body`, slice by slice", "`ByteBuffer`"),
    ("gzip, deflate", "yes", "yes"),
    ("TLS", "1.3, OpenSSL", "1.2 and 1.3, OpenSSL"),
    ("peer's certificate", "names, digest, DER", "properties, PEM"),
    ("every limit a setting with a counter", "[yes](limits.md)", "some, as channel arguments"),
    ("health, reflection", "v1 and v1alpha", "v1alpha (1.51)"),
    ("interceptors", "calls, start and end", "every operation"),
    ("several addresses, round robin, connection made again with jitter", "yes", "yes"),
    ("other policies of balancing, service configuration, xDS", "no", "yes"),
    ("Windows, macOS", "no", "yes"),
]


def kib(size):
    return f"{size / 1024:,.0f} KiB" if size < 10 * 1024 * 1024 else f"{size / 1048576:,.1f} MiB"


def render(ours, peer, static_size, versions):
    rows = [
        ("size of the server, stripped", "program", kib),
        ("libraries it loads, libc among them", "libraries", lambda n: f"{n:.0f}"),
        ("size of these libraries", "library_bytes", kib),
        ("build from nothing: generate, compile, link; one core", "build", lambda s: f"{s:.1f} s"),
        ("server: start until it listens", "start", lambda ms: f"{ms:.0f} ms"),
        ("client: whole program, one call over TLS", "client", lambda ms: f"{ms:.0f} ms"),
        ("server at rest: anonymous memory", "anonymous", lambda k: kib(1024 * k)),
        ("server at rest: resident, libraries included", "resident", lambda k: kib(1024 * k)),
        ("server after 21 connections: anonymous memory", "anonymous_after", lambda k: kib(1024 * k)),
        ("server at rest: threads", "threads", lambda n: f"{n:.0f}"),
    ]
    lines = [
        "<!-- made by scripts/compare; do not edit -->",
        "# librpc beside gRPC C++",
        "",
        f"The greeter of [examples/](../../examples) and the same in gRPC C++ "
        f"([bench/compare](../../bench/compare)), built and measured side by side by "
        f"`scripts/compare`: {versions}. Medians of {ROUNDS} rounds, taken in turn. "
        f"Throughput and latency are `scripts/bench`'s.",
        "",
        "| a greeter | librpc | gRPC C++ | ratio |",
        "|---|---|---|---|",
    ]
    for title, what, text in rows:
        mine, theirs = ours.median(what), peer.median(what)
        lines.append(f"| {title} | {text(mine)} | {text(theirs)} | {theirs / mine:.1f} |")
    lines += [
        f"| linked wholly static, stripped | {kib(static_size)} | – | |",
        "",
        "A ratio above 1 means that librpc needs less.",
        "",
        "| feature | librpc 0.1 | gRPC C++ |",
        "|---|---|---|",
        *(f"| {what} | {mine} | {theirs} |" for what, mine, theirs in FEATURES),
        "",
    ]
    return "\n".join(lines)


def static_greeter(prefix, folder, env):
    """With pkg-config --static, as a user without CMake would."""
    source = ROOT / "tests" / "package" / "projects" / "outside"
    build = folder / "static"
    build.mkdir()
    env = dict(env, PKG_CONFIG_PATH=str(next(prefix.glob("**/pkgconfig"))))
    run("make", "-C", build, "-f", source / "Makefile", f"SOURCE={source}",
        f"PROTOS={ROOT / 'examples'}", "STATIC=1", env=env)
    return stripped_size(build / "outside", folder)


def main():
    prefix, output = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    env = {name: value for name, value in os.environ.items()
           if not name.endswith("COMPILER_LAUNCHER")}
    lib = next(prefix.glob("**/libdacm-rpc.so")).parent
    ours = Side("librpc", ROOT / "examples", ["greeter_server", "greeter_client"],
                dict(env, LD_LIBRARY_PATH=str(lib)), [f"-DCMAKE_PREFIX_PATH={prefix}"])
    peer = Side("cpp", ROOT / "bench" / "compare", [], env)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run(ROOT / "examples" / "certificates.sh", folder / "certificates")
        for _ in range(ROUNDS):
            for side in (ours, peer):
                side.build(folder)
                side.serve(folder / "certificates")
        for side in (ours, peer):
            side.inspect(folder)
        static_size = static_greeter(prefix, folder, env)
    compiler = run("cc", "-dumpfullversion").strip()
    versions = (f"gRPC C++ {run('pkg-config', '--modversion', 'grpc++').strip()} of Debian, "
                f"GCC {compiler}, {os.cpu_count()} cores, {platform.machine()}")
    output.write_text(render(ours, peer, static_size, versions))


main()
