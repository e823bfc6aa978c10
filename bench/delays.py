# SPDX-License-Identifier: Apache-2.0
"""How long a download still runs once its right is taken away: from the moment at which whoever
takes it away has the answer, to the end of the stream as its reader sees it on the wire."""
import os
import select
import socket
import statistics
import threading
import time

import hpack

import hostile
import suite
from load import grpc_request

BYTES = 64 << 20
WINDOW = 65535  # RFC 9113 6.9.2
CREDIT, PAUSE = 16 << 10, 0.01  # 1.6 MB/s: the download would take 40 s
END_SECONDS = 30
DATA, HEADERS, RST, SETTINGS, PING, UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, ACK = 1, 1
ENDS = {"7": "PERMISSION_DENIED", "16": "UNAUTHENTICATED"}


class Reader(threading.Thread):
    """Downloads on a connection of its own, no faster than CREDIT each PAUSE, or with closed no more
    than what the first window lets through. ended: when the trailers came; status: what they say."""

    def __init__(self, target, ca, asset, gpsi, token, closed):
        super().__init__(daemon=True)
        self.closed = closed
        tls = hostile.context()
        tls.load_verify_locations(ca)
        self.connection = hostile.connect(target, tls)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.headers = hpack.Decoder()
        self.received, self.buffer = 0, b""
        self.flows = threading.Event()
        self.status = self.ended = None
        self.connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hostile.frame(SETTINGS, 0, 0, b"")
            + hostile.request("Download", [("dacm-token", token)])
            + hostile.frame(DATA, END_STREAM, 1, grpc_request((1, asset), (2, gpsi))))
        self.start()

    def give_credit(self):
        for stream in (0, 1):
            self.connection.sendall(hostile.frame(UPDATE, 0, stream, CREDIT.to_bytes(4, "big")))

    def take(self, kind, flags, payload):
        if kind == DATA:
            self.received += len(payload)
            # Throttled: more than the first window has come, so that it goes on; closed: no less.
            if self.received > WINDOW or (self.closed and self.received == WINDOW):
                self.flows.set()
        elif kind == HEADERS:
            fields = dict(self.headers.decode(payload))
            if flags & END_STREAM:
                self.ended = time.monotonic()
                self.status = ENDS.get(fields["grpc-status"], fields["grpc-status"])
        elif kind == RST:
            self.ended, self.status = time.monotonic(), "reset"
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self.connection.sendall(
                hostile.frame(kind, ACK, 0, payload if kind == PING else b""))

    def take_all(self):
        while len(self.buffer) >= 9 and not self.status:
            size = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < size:
                return
            self.take(self.buffer[3], self.buffer[4], self.buffer[9:size])
            self.buffer = self.buffer[size:]

    def run(self):
        due = time.monotonic()
        while not self.status:
            wait = None if self.closed else max(due - time.monotonic(), 0)
            if self.connection.pending() or select.select([self.connection], [], [], wait)[0]:
                data = self.connection.recv(65536)
                if not data:
                    self.ended, self.status = time.monotonic(), "closed"
                self.buffer += data
                self.take_all()
            elif not self.closed:
                due = time.monotonic() + PAUSE
                self.give_credit()
        self.flows.set()
        self.connection.close()


class Trials:
    def __init__(self, servers):
        self.suite = suite.load(servers.build)
        self.sims = servers.sims()
        self.dacm = self.sims.dacm
        host, port = self.dacm.target.split(":")
        self.target = host, int(port)
        self.app = self.sims.add_client("app")
        self.operator, self.stub = self.sims.admin(), self.dacm.stub()
        self.owner = self.dacm.users[0]
        self.asset = self.dacm.upload(os.urandom(BYTES), self.owner).asset_id
        self.kinds = {"token revoked": self.revoke, "user disabled": self.disable,
                      "user taken off the list": self.take_off}

    def change_list(self, **changes):
        token = self.dacm.token(self.owner, self.asset, ["update"], [self.owner])
        self.stub.UpdateProfile(
            self.suite.harness.da.UpdateProfileRequest(asset_id=self.asset, gpsi=self.owner, **changes),
            metadata=self.suite.harness.bearer(token), timeout=60)

    def revoke(self, token, _, __):
        reply = self.app.send("/revoke", {"token": token})
        assert reply.status == 200, reply.text

    def disable(self, _, username, __):
        admin = self.suite.sim
        self.operator.UpdateUser(
            admin.UpdateUserRequest(username=username, disabled=admin.SWITCH_ON), timeout=60)

    def take_off(self, _, __, gpsi):
        self.change_list(deny=[gpsi])

    def one(self, number, take_away, closed):
        """Seconds, of a user of its own."""
        username, gpsi = f"user{number}", f"msisdn-4917{number:07d}"
        self.sims.add_user(username, [gpsi])
        self.change_list(allow=[self.suite.harness.da.AccessControlEntry(allowed_user=gpsi)])
        token = self.suite.Browser(self.sims).tokens(
            self.app, username, authorization_details=self.suite.details(self.asset)
        )["access_token"]
        reader = Reader(self.target, self.sims.ca_file, self.asset, gpsi, token, closed)
        assert reader.flows.wait(END_SECONDS) and not reader.status, reader.status
        take_away(token, username, gpsi)
        acknowledged = time.monotonic()
        reader.join(END_SECONDS)
        assert reader.status in ENDS.values(), reader.status or "it runs on"
        return reader.ended - acknowledged


def distribution(seconds):
    ordered = sorted(seconds)
    at = lambda part: round(ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1e3, 1)  # noqa: E731
    return {"trials": len(ordered), "min": at(0), "p50": round(statistics.median(ordered) * 1e3, 1),
            "p90": at(0.9), "p99": at(0.99), "max": at(1)}


def measure(servers, quick):
    """(the longest in ms, the distribution of all and of each kind in ms)."""
    trials = Trials(servers)
    found = {}
    kinds = list(trials.kinds.items())
    for i in range(24 if quick else 200):
        kind, take_away = kinds[i % len(kinds)]
        closed = i // len(kinds) % 2 == 1
        took = trials.one(i, take_away, closed)
        found.setdefault(f"{kind}, {'window closed' if closed else 'throttled'}", []).append(took)
    every = [took for kind in found.values() for took in kind]
    return max(every) * 1e3, {"ms": {"all": distribution(every), **{
        kind: distribution(times) for kind, times in sorted(found.items())}}}
