# SPDX-License-Identifier: Apache-2.0
"""What a connection costs its server: memory while it is idle, CPU to begin it."""
import socket
import ssl
import subprocess
import sys
import time

# The client's preface and an empty SETTINGS frame (RFC 9113, 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def settled_kb(server):
    """Buffers go back some time after the last call: waits until memory no longer falls."""
    lowest, calm = server.anonymous_kb(), 0
    while calm < 15:
        time.sleep(0.2)
        now = server.anonymous_kb()
        calm = calm + 1 if now >= lowest else 0
        lowest = min(lowest, now)
    return lowest


def idle_kb(servers, side, quick):
    """The calls may fail (a fresh dacmd does not know the asset); the connections count."""
    count = 200 if quick else 800
    server, target, ca, stop = servers.fresh(side)
    before = settled_kb(server)
    client = subprocess.Popen(
        [str(part) for part in (
            servers.bin / "dacm-bench", "--target", "tls+tcp://" + target, "--ca", ca, "--work",
            "idle", "--connections", count, "--gpsi", servers.user)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "idle":
        sys.exit(f"bench: {side}: the idle connections were not made")
    after = settled_kb(server)
    client.communicate("over\n")
    stop()
    return (after - before) / count


def shake(address, context, session=None):
    """Returns the session, whose ticket comes before the server's SETTINGS."""
    with socket.create_connection(address) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(
                plain, server_hostname="localhost", session=session) as connection:
            connection.sendall(PREFACE)
            if not connection.recv(9):
                sys.exit("bench: a server closed during the handshake")
            if session and not connection.session_reused:
                sys.exit("bench: a server did not take the session up again")
            return connection.session


def handshake_us(resumed):
    def measure(servers, side, quick):
        count = 200 if quick else 1000
        context = ssl.create_default_context(cafile=servers.ca)
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        host, port = servers.targets[side].split(":")
        address = host, int(port)
        server = servers.servers[side]
        session = shake(address, context) if resumed else None
        before = server.cpu_seconds()
        for _ in range(count):
            made = shake(address, context, session)
            session = made if resumed else None
        return (server.cpu_seconds() - before) / count * 1e6
    return measure
