# SPDX-License-Identifier: Apache-2.0
"""dacmd on a disk that is slow to write or sync its audit trail: nobody is refused for that. A
preload holds the writes or syncs of segments for as long as a file exists."""
import os
import pathlib
import threading
import unittest

import harness
from configured import Server, wait_until
from harness import bearer, da

WAITING_BYTES = 1 << 20


class SlowDisk(unittest.TestCase):
    def setUp(self):
        preload = harness.BIN.parent / "tests" / "libslow.so"
        if not preload.exists():
            self.skipTest("the preload is not built with sanitizers")
        self.server = Server()
        self.addCleanup(self.stop)
        server = self.server
        self.owner, self.listed = server.users[0], server.users[1]
        self.asset = server.upload(b"slow", self.owner, [self.listed]).asset_id
        self.gates = {name: server.dir / name for name in ("SLOW_WRITES", "SLOW_SYNCS")}
        server.config["audit"]["waiting_bytes_max"] = WAITING_BYTES
        server.config["audit"]["stuck_ms"] = 3600000
        server.terminate()
        os.environ.update({name: str(path) for name, path in self.gates.items()},
                          LD_PRELOAD=str(preload))
        try:
            server.run()
        finally:
            del os.environ["LD_PRELOAD"]

    def stop(self):
        for gate in self.gates.values():
            gate.unlink(missing_ok=True)
        self.assertEqual(self.server.stop(), 0)

    def close_gate(self, name):
        self.gates[name].touch()
        return pathlib.Path(f"{self.gates[name]} standing")

    def ask(self, stub, metadata):
        reply = stub.Authorize(da.AuthorizeRequest(asset_id=self.asset, gpsi=self.listed),
                               metadata=metadata, timeout=300)
        self.assertTrue(reply.allowed)
        return reply.request_id

    def metric(self, name):
        for line in self.server.https("/metrics").splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(name + " is missing")

    def trail_size(self):
        folder = pathlib.Path(self.server.config["audit"]["directory"])
        return sum(path.stat().st_size for path in folder.glob("audit-*.log"))

    def token(self):
        return bearer(self.server.token(self.listed, self.asset, ["get"],
                                        [self.owner, self.listed]))

    def test_records_are_written_while_a_sync_takes_its_time(self):
        standing = self.close_gate("SLOW_SYNCS")
        metadata = self.token()
        with self.server.client() as channel:
            stub = self.server.stub(channel)
            self.ask(stub, metadata)
            wait_until("a sync that does not end", standing.exists)
            before = self.trail_size()
            while self.trail_size() < before + WAITING_BYTES // 4:
                self.ask(stub, metadata)
        self.assertTrue(self.gates["SLOW_SYNCS"].exists())
        self.assertEqual(self.metric("dacm_audit_refused_total"), 0)
        self.assertEqual(self.server.health()["status"], "ok")

    def test_answers_wait_for_a_slow_write_and_are_given(self):
        metadata, ids, failures = self.token(), [], []
        done = threading.Event()

        def ask_on():
            try:
                with self.server.client() as channel:
                    stub = self.server.stub(channel)
                    while not done.is_set():
                        ids.append(self.ask(stub, metadata))
            except BaseException as error:  # told by the test's own thread
                failures.append(error)

        standing = self.close_gate("SLOW_WRITES")
        threads = [threading.Thread(target=ask_on) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until("a write that does not end", standing.exists)
        wait_until("answers that are held back",
                   lambda: failures or self.metric("dacm_audit_held_total") >= 3)
        self.assertGreaterEqual(self.metric("dacm_audit_waiting_bytes"), WAITING_BYTES / 4)
        self.assertEqual(self.server.health()["status"], "ok")
        done.set()
        self.assertTrue(all(thread.is_alive() for thread in threads))
        self.gates["SLOW_WRITES"].unlink()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.metric("dacm_audit_refused_total"), 0)
        wait_until("all that waited to be written",
                   lambda: self.metric("dacm_audit_waiting_bytes") == 0)
        folder = pathlib.Path(self.server.config["audit"]["directory"])
        text = "".join(path.read_text() for path in folder.glob("audit-*.log"))
        for request_id in ids:
            self.assertIn(f'"request_id": "{request_id}"', text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
