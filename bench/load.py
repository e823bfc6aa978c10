# SPDX-License-Identifier: Apache-2.0
"""Load: our own client, gRPC C++'s own client, and h2load, which is neither's, where servers are
compared under the same client."""
import json
import re
import subprocess
import sys

from servers import CIPHER, LARGE, SMALL


def run(what, arguments, **kwargs):
    done = subprocess.run([str(part) for part in arguments], text=True, capture_output=True,
                          **kwargs)
    if done.returncode != 0:
        sys.exit(f"bench: {what}: {done.stdout}{done.stderr}")
    return done.stdout


def own_client(servers, name, work, connections, inflight, amount):
    """Each side called by the client that belongs to it. amount: ("--seconds", N) or
    ("--count", N)."""
    token = servers.fresh_token()
    asset = servers.assets[LARGE]
    how, much = amount
    if name == "dacmd":
        arguments = [servers.bin / "dacm-bench", "--target",
                     "tls+tcp://" + servers.targets[name], "--ca", servers.ca, "--work", work,
                     "--connections", connections, "--inflight", inflight, "--asset", asset,
                     "--gpsi", servers.user, "--token", token, how, much]
    else:
        arguments = [servers.build / "bench" / "grpc_cpp_client", servers.targets[name],
                     servers.ca, work, connections, inflight,
                     much if how == "--seconds" else f"x{much}", asset, servers.user, token]
        if name.endswith("tuned"):
            arguments.append("tuned")
    return json.loads(run(f"{name} {work}", arguments))


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def grpc_request(*fields):
    """A gRPC message of string fields (number, text) and varints (number, integer)."""
    message = b""
    for number, value in fields:
        if isinstance(value, str):
            message += varint(number << 3 | 2) + varint(len(value)) + value.encode()
        else:
            message += varint(number << 3) + varint(value)
    return b"\0" + len(message).to_bytes(4, "big") + message


UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse_h2load(text):
    took = re.search(r"finished in ([\d.]+)(us|ms|s)", text)
    requests = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, "
                         r"(\d+) failed, (\d+) errored", text)
    data = re.search(r"\((\d+)\) data", text)
    cipher = re.search(r"Cipher: (\S+)", text)
    if not (took and requests and data and cipher):
        sys.exit("bench: h2load: " + text)
    if cipher[1] != CIPHER:
        sys.exit(f"bench: h2load negotiated {cipher[1]} and not {CIPHER}")
    if int(requests[2]) or int(requests[3]):
        sys.exit("bench: h2load: calls failed: " + text)
    return {"seconds": float(took[1]) * TIMES[took[2]], "done": int(requests[1]),
            "bytes": int(data[1])}


def h2load(servers, name, work, count, connections=1, inflight=1, header="dacm-token", size=LARGE,
           http1=False):
    """work: authorize or download. nginx answers Authorize with `return 200` and the same headers,
    and gives files of the same size; the others get the same call with the same token. Adds
    cpu_seconds of the server."""
    asset = servers.assets[size]
    target = name
    arguments = ["h2load", "-n", count, "-c", connections, "-m", inflight, "-t", 1, "-w", 23, "-W",
                 24]
    path = f"/dacm.v1.DigitalAssets/{work.capitalize()}"
    if name == "nginx" and work == "download":
        path = f"/{size}"
    else:
        token = servers.fresh_token(asset=asset).read_text()
        body = servers.dir / "request"
        fields = ((1, asset), (2, servers.user), *(((4, 2),) if work == "authorize" else ()))
        body.write_bytes(grpc_request(*fields))
        value = token if header == "dacm-token" else "Bearer " + token
        arguments += ["-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers",
                      "-H", f"{header}: {value}"]
        if name == "gRPC C++" and size == SMALL:
            target = "gRPC C++ 100k"
    if http1:
        arguments.append("--h1")
    server = servers.servers[target]
    before, poller = server.cpu_seconds(), server.thread_cpu_seconds("nng:poll")
    text = run(f"h2load {name} {work}",
               [*arguments, f"https://{servers.targets[target]}{path}"])
    result = parse_h2load(text)
    result["cpu_seconds"] = server.cpu_seconds() - before
    result["poller_seconds"] = server.thread_cpu_seconds("nng:poll") - poller
    least = size if work == "download" else 0 if name == "nginx" else 10
    if result["bytes"] < count * least:
        sys.exit(f"bench: {name} {work}: {result['bytes']} bytes came for {count} calls: {text}")
    return result
