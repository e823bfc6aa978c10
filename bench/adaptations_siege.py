# SPDX-License-Identifier: Apache-2.0
"""Users who have dacmd adapt what costs most, at the same time and without end: run as a program
beside a server. Each of its requests has a recipe that nobody asked for before. Says "standing"
when all wait for their first answer; at the end of its input it leaves and says how they ended.

Standard input begins with one JSON object: target, ca, and asks, a list of {user, asset, token,
kind}; kind says which recipes cost most of that asset."""
import collections
import itertools
import json
import sys
import threading

import grpc

from load import grpc_request

METHOD = "/dacm.v1.DigitalAssets/Download"
ROOM = 256 << 20
counter = itertools.count(1)  # next() of it is one step of the interpreter


def recipe(kind):
    number = next(counter)
    fields = {
        "triangles": ((3, 1000 + number),),  # simplified anew each time
        "picture": ((12, 2000 + number),),   # out of reach of so many pixels: all attempts
        "broken": ((3, 1000 + number),)}[kind]
    return grpc_request(*fields)[5:]


def request(ask):
    made = recipe(ask["kind"])
    head = grpc_request((1, ask["asset"]), (2, ask["user"]))[5:]
    return head + bytes([4 << 3 | 2, len(made)]) + made


class Attacker(threading.Thread):
    def __init__(self, call, ask, ended, leaving):
        super().__init__(daemon=True)
        self.call, self.ask, self.ended, self.leaving = call, ask, ended, leaving

    def run(self):
        while not self.leaving.is_set():
            try:
                for _ in self.call(request(self.ask), timeout=60,
                                   metadata=(("dacm-token", self.ask["token"]),)):
                    pass
                self.ended["OK"] += 1
            except grpc.RpcError as error:
                self.ended[error.code().name] += 1
                self.leaving.wait(0.1)  # who is refused comes back ten times a second


def main():
    told = json.loads(sys.stdin.readline())
    channel = grpc.secure_channel(
        told["target"], grpc.ssl_channel_credentials(open(told["ca"], "rb").read()),
        [("grpc.max_receive_message_length", ROOM)])
    grpc.channel_ready_future(channel).result(10)
    call = channel.unary_stream(METHOD)  # bytes in, bytes out
    ended, leaving = collections.Counter(), threading.Event()
    attackers = [Attacker(call, ask, ended, leaving) for ask in told["asks"]]
    for attacker in attackers:
        attacker.start()
    print("standing", flush=True)
    sys.stdin.read()
    leaving.set()
    print(json.dumps(ended), flush=True)


main()
