# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: the examples' programs and throw-away certificates."""
import os
import pathlib
import subprocess
import tempfile

SOURCE = pathlib.Path(os.environ["DACM_SOURCE_DIR"])
BINARY = pathlib.Path(os.environ["DACM_BINARY_DIR"])
CMAKE = os.environ["CMAKE"]
HANG_S = 280


def run(*command, cwd=None, env=None, expect=0):
    """The command's standard output; its exit status must be what is expected."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, text=True,
                          capture_output=True, timeout=HANG_S, check=False)
    assert done.returncode == expect, (command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def make_certificates():
    """A folder object; its name is the path."""
    folder = tempfile.TemporaryDirectory()
    run(SOURCE / "examples" / "certificates.sh", folder.name)
    return folder


class Serving:
    """A server program that prints its URL and ends with its standard input."""

    def __init__(self, *command):
        self._process = subprocess.Popen([str(part) for part in command], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        code = self._process.wait(timeout=HANG_S)
        self._process.stdout.close()
        assert code == 0, f"the server ended with {code}"


def greet_with(folder, certificates):
    """Every example in folder against its other half; what it prints is what it should."""
    with Serving(folder / "greeter_server", certificates) as server:
        greet = [folder / "greeter_client", server.url, certificates]
        assert run(*greet, "World") == "Hello, World!\n"
        assert run(*greet, "", expect=1) == "INVALID_ARGUMENT: greeter: whom? Fill in name\n"


def count_with(folder, certificates):
    with Serving(folder / "numbers_server", certificates) as server:
        printed = run(folder / "numbers_client", server.url, certificates)
    expected = [("Count", 1), ("Count", 2), ("Count", 3), ("Sum", 500500),
                ("Add", 1), ("Add", 3), ("Add", 6), ("Add", 10)]
    assert printed == "".join(f"/numbers.Numbers/{m}: {n}\n" for m, n in expected), printed


def authenticate_with(folder, certificates):
    digest = run("openssl", "x509", "-in", f"{certificates}/client.crt", "-noout", "-fingerprint",
                 "-sha256").partition("=")[2].replace(":", "").lower()[:8]
    with Serving(folder / "mutual_tls_server", certificates) as server:
        client = [folder / "mutual_tls_client", server.url, certificates]
        printed = run(*client, "client")
        assert printed == f"Hello, https://client.example/, with certificate {digest}…!\n", printed
        assert run(*client, expect=1) == "UNAVAILABLE\n"


def reflect_with(folder, certificates):
    with Serving(folder / "greeter_server", certificates) as server:
        client = [folder / "reflection_client", server.url, certificates]
        methods = run(*client).splitlines()
        assert "greeter.Greeter/Greet(greeter.Hello) returns (greeter.Greeting)" in methods, methods
        assert run(*client, "greeter.Greeter/Greet", "name=World") == "text=Hello, World!\n"
        run(*client, "greeter.Greeter/Greet", "age=1", expect=1)
        run(*client, "greeter.Greeter/Nothing", expect=1)
        run(*client, "greeter.Nobody/Greet", expect=1)
