# SPDX-License-Identifier: Apache-2.0
"""Clients that learn keys by themselves: an application with libdacm that lives on, an SKM-S that
lies as it is told, and a DACM that answers what it answered before."""
import concurrent.futures
import json
import pathlib
import subprocess
import threading
import time

import grpc

import harness
import trust_test
from configured import wait_until
from harness import da_grpc
from skms.v1 import signing_keys_pb2 as keys
from skms.v1 import signing_keys_pb2_grpc as keys_grpc

PROGRAM = harness.BIN.parent / "tests" / "keys-client"


class App:
    """keys_client.c, told what to do."""

    def __init__(self, **options):
        self.process = subprocess.Popen(
            [PROGRAM, *(f"{name}={value}" for name, value in options.items())], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def state(self):
        return self.ask("keys")

    def watches(self):
        told = self.ask("wait", 60000)
        assert told["code"] == "OK", told

    def wait_state(self, what, condition):
        wait_until(what, lambda: condition(self.state()))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        code = self.process.wait(60)
        assert code == 0, code


class Liar(keys_grpc.SigningKeysServicer):
    """An SKM-S whose answers are the test's: answer(request) gives a KeySet or raises; watchers get
    it again whenever tell() is called. pki: with skmsd.crt, which clients trust."""

    def __init__(self, pki, root=None):
        self.root = root or trust_test.Key()
        self.answer, self.asked, self.endless, self.full = None, [], False, False
        self.changed, self.serial = threading.Condition(), 0
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(8),
            options=[("grpc.max_send_message_length", 64 << 20)])
        keys_grpc.add_SigningKeysServicer_to_server(self, self.server)
        pki = pathlib.Path(pki)
        port = self.server.add_secure_port("localhost:0", grpc.ssl_server_credentials(
            [((pki / "skmsd.key").read_bytes(), (pki / "skmsd.crt").read_bytes())]))
        self.address = f"tls+tcp://localhost:{port}"
        self.server.start()

    def set(self, listed, version, root=None, **changes):
        """A key set of its root, or of another."""
        jws = trust_test.key_set(root or self.root, listed, version, **changes)
        return keys.KeySet(version=version, jws=jws)

    def tell(self, answer):
        self.answer = (lambda _: answer) if isinstance(answer, keys.KeySet) else answer
        with self.changed:
            self.serial += 1
            self.changed.notify_all()

    def GetKeySet(self, request, context):
        self.asked.append("GetKeySet")
        return self.answer(request)

    def WatchKeys(self, request, context):
        self.asked.append("WatchKeys")
        told = -1
        if self.full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already")
        while context.is_active():
            with self.changed:
                if told == self.serial and not self.endless:
                    self.changed.wait(0.1)
                    continue
                told = self.serial
            yield self.answer(request)

    def GetRoot(self, request, context):
        jwk = dict(self.root.jwk, dacm_issuer=trust_test.SKMS)
        return keys.Root(jwk=json.dumps(jwk))

    def close(self):
        with self.changed:
            self.changed.notify_all()
        self.server.stop(None).wait()


class Replay(da_grpc.DigitalAssetsServicer):
    """A DACM that answers each Download with what was recorded of a real one. It has that one's
    certificate."""

    def __init__(self, dacm):
        self.responses = []
        pki = dacm.dir / "pki"
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        da_grpc.add_DigitalAssetsServicer_to_server(self, self.server)
        port = self.server.add_secure_port("localhost:0", grpc.ssl_server_credentials(
            [((pki / "dacmd.key").read_bytes(), (pki / "dacmd.crt").read_bytes())]))
        self.target = f"tls+tcp://localhost:{port}"
        self.server.start()

    def Download(self, request, context):
        yield from self.responses

    def close(self):
        self.server.stop(None).wait()


def seconds_until(condition):
    """How long it took; measured, and judged by nobody."""
    start = time.monotonic()
    wait_until("what is measured", condition)
    return time.monotonic() - start
