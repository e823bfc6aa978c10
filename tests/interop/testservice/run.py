# SPDX-License-Identifier: Apache-2.0
"""run.py PAIR CASE: starts the pair's server, runs the client's case, and keeps the result in
RESULTS/PAIR/CASE for table.py: passed, failed, not possible, or missing (a peer is not there).
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import cases

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ["BIN"])
PROTO_DIR = os.environ["PROTO_DIR"]
FULL = os.environ.get("DACM_TEST_FULL") == "1"
SOAK_ITERATIONS = {"rpc_soak": 2000, "channel_soak": 300} if FULL else {}
HANG_S = 600 if FULL else 100
NODE = HERE.parent / "node"
PYTHON = ["/usr/bin/python3", "-B"]


def make_certificate(folder):
    """One that signs itself: certificate of the server and trust of the client."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2",
         "-subj", "/CN=interop", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def server_command(name, certificate, key):
    program = {
        "ours": [BIN / "testservice_server"],
        "cpp": [BIN / "testservice_cpp_server"],
        "grpcio": PYTHON + [HERE / "grpcio_server.py"],
    }[name]
    return [*program, certificate, key]


def client_command(name, port, certificate, pair, case):
    iterations = str(SOAK_ITERATIONS.get(case, 10))
    arguments = [f"127.0.0.1:{port}", certificate, case, iterations]
    if name == "ours":
        probe = ["--no_probe"] if pair == "ours-grpcio" else []
        return [BIN / "testservice_client", f"--server_port={port}", f"--ca_file={certificate}",
                f"--test_case={case}", f"--soak_iterations={iterations}", *probe]
    program = {
        "cpp": [BIN / "testservice_cpp_client"],
        "grpcio": PYTHON + [HERE / "grpcio_client.py"],
        "js": ["/usr/bin/node", NODE / "testservice.mjs", PROTO_DIR],
    }[name]
    return [*program, *arguments]


def run(pair, case, folder):
    client, server = cases.PAIRS[pair]
    if client == "js" and not (NODE / "node_modules").exists():
        return "missing: run `npm ci` in tests/interop/node (scripts/test does)"
    certificate, key = make_certificate(folder)
    serving = subprocess.Popen(server_command(server, certificate, key), text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    port = serving.stdout.readline().strip()
    try:
        code = subprocess.run(client_command(client, port, certificate, pair, case),
                              timeout=HANG_S, check=False).returncode
    finally:
        serving.stdin.close()
    server_code = serving.wait(timeout=HANG_S)
    if code == 0 and server_code == 0:
        return "passed"
    return f"failed: client ended with {code}, server with {server_code}"


def main():
    pair, case = sys.argv[1:]
    result = pathlib.Path(os.environ["RESULTS"]) / pair / case
    result.unlink(missing_ok=True)
    result.parent.mkdir(parents=True, exist_ok=True)
    reason = cases.NOT_POSSIBLE.get((pair, case))
    if reason:
        line = f"not possible: {reason}"
    else:
        with tempfile.TemporaryDirectory() as folder:
            line = run(pair, case, pathlib.Path(folder))
    result.write_text(line + "\n")
    print(line)
    return 1 if line.startswith("failed") else 0


sys.exit(main())
