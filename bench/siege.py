# SPDX-License-Identifier: Apache-2.0
"""Hostile clients, all at once, at a rate that is bounded and known: run as a program beside a
server. Says "standing" when all stand; at the end of its input it leaves and says what the server
has done to them.

  readers     ask for 64 MiB with every window open and read one byte a second
  idle        have made one call
  handshakes  have sent half a ClientHello
  flood       sends requests and resets each at once, in bursts

Whoever is thrown out comes back: handshakes and readers at once, the flood with its next burst."""
import argparse
import collections
import json
import os
import selectors
import socket
import ssl
import sys
import time

import hostile
from load import grpc_request

READERS, IDLE, HANDSHAKES = 500, 1000, 200
BURST, BURSTS_A_SECOND = 100, 20  # 2,000 requests and resets a second
SMALL_BUFFER = 4096  # of a reader's socket: the kernel reads ahead otherwise
ADDRESSES = 5  # handshakes come from several: a server lets in only so many strangers of each
SECOND = 1.0
HEADERS_END, RST, GOAWAY = 5, 3, 7
CANCEL = (8).to_bytes(4, "big")


def dial(target, source, buffer=0):
    plain = socket.socket()
    if buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.bind((source, 0))
    plain.settimeout(10)
    plain.connect(target)
    return plain


class Siege:
    def __init__(self, args):
        host, port = args.target.split(":")
        self.target = (host, int(port))
        self.tls = hostile.context()
        token = open(args.token).read().strip()
        headers = [("dacm-token", token)]
        fields = ((1, args.asset), (2, args.gpsi))
        self.download = (hostile.PREFACE + hostile.request("Download", headers)
                         + hostile.frame(0, 1, 1, grpc_request(*fields)))
        self.authorize = (hostile.PREFACE + hostile.request("Authorize", headers)
                          + hostile.frame(0, 1, 1, grpc_request(*fields, (4, 2))))
        # The same block on each stream: no header of it is indexed.
        self.block = hostile.request("Authorize", headers)[9:]
        self.hello = hostile.half_hello()
        self.events = selectors.DefaultSelector()
        self.readers = collections.deque()
        self.flooder = None
        self.thrown_out = collections.Counter()
        self.sent = 0
        self.stranger = 0

    # ---- one of each ------------------------------------------------------------------------

    def add_reader(self):
        plain = dial(self.target, "127.0.3.1", SMALL_BUFFER)
        connection = self.tls.wrap_socket(plain, server_hostname="localhost")
        connection.sendall(self.download)
        connection.setblocking(False)
        self.readers.append(connection)

    def add_idle(self):
        connection = self.tls.wrap_socket(dial(self.target, "127.0.3.2"),
                                          server_hostname="localhost")
        connection.sendall(self.authorize)
        connection.recv(9)
        connection.setblocking(False)
        self.events.register(connection, selectors.EVENT_READ, "idle")

    def add_handshake(self):
        self.stranger += 1
        plain = dial(self.target, f"127.0.4.{1 + self.stranger % ADDRESSES}")
        plain.sendall(self.hello)
        plain.setblocking(False)
        self.events.register(plain, selectors.EVENT_READ, "handshakes")

    def new_flooder(self):
        self.flooder = self.tls.wrap_socket(dial(self.target, "127.0.3.3"),
                                            server_hostname="localhost")
        self.flooder.sendall(hostile.PREFACE)
        self.stream, self.heard = 1, b""
        self.events.register(self.flooder, selectors.EVENT_READ, "flood")

    # ---- what happens -----------------------------------------------------------------------

    def burst(self):
        if not self.flooder:
            self.new_flooder()
        pairs = b""
        for _ in range(BURST):
            pairs += (hostile.frame(1, HEADERS_END, self.stream, self.block)
                      + hostile.frame(RST, 0, self.stream, CANCEL))
            self.stream += 2
        try:
            self.flooder.settimeout(1)
            self.flooder.sendall(pairs)
            self.sent += BURST
        except OSError:
            self.ended(self.flooder, "flood")

    def told_to_go(self):
        """GOAWAY has come: what is sent from now on would cost the server nothing."""
        self.flooder.settimeout(0)
        try:
            data = self.flooder.recv(65536)
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True
        self.heard += data
        while len(self.heard) >= 9:
            size = 9 + int.from_bytes(self.heard[:3], "big")
            if self.heard[3] == GOAWAY:
                return True
            if len(self.heard) < size:
                break
            self.heard = self.heard[size:]
        return not data

    def ended(self, connection, kind):
        self.events.unregister(connection)
        connection.close()
        self.thrown_out[kind] += 1
        if kind == "flood":
            self.flooder = None
        else:
            {"idle": self.add_idle, "handshakes": self.add_handshake}[kind]()

    def readable(self, connection, kind):
        """What is said to it is of no interest; that it has ended is."""
        if kind == "flood":
            if self.told_to_go():
                self.ended(connection, kind)
            return
        try:
            gone = not os.read(connection.fileno(), 65536)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            self.ended(connection, kind)

    def read_a_byte(self):
        reader = self.readers.popleft()
        try:
            gone = not os.read(reader.fileno(), 1)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if not gone:
            self.readers.append(reader)
            return
        reader.close()
        self.thrown_out["readers"] += 1
        self.add_reader()

    def run(self):
        for _ in range(READERS):
            self.add_reader()
        for _ in range(IDLE):
            self.add_idle()
        for _ in range(HANDSHAKES):
            self.add_handshake()
        self.events.register(sys.stdin, selectors.EVENT_READ, None)
        print("standing", flush=True)
        begun = last_read = last_burst = time.monotonic()
        while True:
            now = time.monotonic()
            while last_read + SECOND / READERS <= now:
                last_read += SECOND / READERS
                self.read_a_byte()
            if last_burst + SECOND / BURSTS_A_SECOND <= now:
                last_burst = max(last_burst + SECOND / BURSTS_A_SECOND, now - SECOND)
                self.burst()
            for key, _ in self.events.select(0.005):
                if key.data is None:
                    return time.monotonic() - begun
                self.readable(key.fileobj, key.data)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--target", "--token", "--asset", "--gpsi"):
        parser.add_argument(name, required=True)
    siege = Siege(parser.parse_args())
    seconds = siege.run()
    print(json.dumps({"seconds": round(seconds, 1), "resets_per_s": round(siege.sent / seconds),
                      "thrown_out": dict(siege.thrown_out)}), flush=True)
    os._exit(0)  # the kernel closes all of them


if __name__ == "__main__":
    main()
