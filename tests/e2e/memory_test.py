# SPDX-License-Identifier: Apache-2.0
"""What callers once sent leaves dacmd's memory again."""
import os
import pathlib
import re
import threading
import unittest

import grpc

from configured import Server, wait_until

MESSAGE = 4 << 20  # what limits.message_bytes lets in
CALLERS, CALLS = 24, 10


def anonymous_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1])


@unittest.skipIf(os.environ["DACM_SANITIZE"], "a sanitizer's own bookkeeping is most of the memory")
class Memory(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(lambda: self.assertEqual(self.server.stop(), 0))

    def call(self, codes):
        body = b"\x0a\x00" * (MESSAGE // 2)
        with self.server.channel() as channel:
            method = channel.unary_unary("/dacm.v1.DigitalAssets/GetProfile")
            for _ in range(CALLS):
                try:
                    method(body, timeout=120)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    codes.append(error.code())

    def test_large_messages_that_were_refused_are_not_kept(self):
        pid = self.server.daemon.pid
        before, codes = anonymous_kib(pid), []
        callers = [threading.Thread(target=self.call, args=(codes,)) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(codes, [grpc.StatusCode.RESOURCE_EXHAUSTED] * CALLERS * CALLS)
        threads = len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))
        most = before + 16 * 1024 + threads * 2048  # the heap of each may keep 2 MiB
        wait_until(f"RssAnon of {most} KiB or less", lambda: anonymous_kib(pid) <= most)


if __name__ == "__main__":
    unittest.main()
