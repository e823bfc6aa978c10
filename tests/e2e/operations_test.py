# SPDX-License-Identifier: Apache-2.0
"""What docs/operations.md promises an operator: a backup made beside a running server is a server
again, and the audit trail may lose its oldest segments but not its newest."""
import json
import os
import pathlib
import shutil
import subprocess
import threading
import unittest

import grpc

import harness
from configured import Server, wait_until
from harness import bearer, da


def tool(server, *arguments):
    return subprocess.run([harness.BIN / "dacmd", "--config", server.config_file, *arguments],
                          text=True, capture_output=True, timeout=120)


def audit_records(server):
    """Every record of the trail, oldest first."""
    folder = pathlib.Path(server.config["audit"]["directory"])
    return [json.loads(line.split(" ", 1)[1]) for segment in sorted(folder.glob("audit-*.log"))
            for line in segment.read_text().splitlines()]


class Restore(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.stop)

    def stop(self):
        self.assertEqual(self.server.stop(), 0)

    def test_backup_made_under_load_is_a_server_again(self):
        server = self.server
        owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
        before = {}
        for _ in range(5):
            content = os.urandom(300_000)
            before[server.upload(content, owner, [listed]).asset_id] = content
        done, made = threading.Event(), []

        def load():
            while not done.is_set():
                made.append(server.upload(os.urandom(200_000), owner, [listed]).asset_id)

        thread = threading.Thread(target=load)
        thread.start()
        backup = server.dir / "backup"
        copied = tool(server, "--store-backup", backup)
        done.set()
        thread.join()
        self.assertEqual(copied.returncode, 0, copied.stderr)
        store = server.dir / "data" / "store"
        server.terminate()
        shutil.move(store, server.dir / "old-store")
        shutil.copytree(backup, store)
        checked = tool(server, "--store-check")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        server.run()
        for asset, content in before.items():
            self.assertEqual(server.download(asset, listed)[0], content)
            with self.assertRaises(grpc.RpcError) as error:
                server.download(asset, unlisted)
            self.assertEqual(error.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        for asset in made:  # whole, or not there
            try:
                self.assertEqual(len(server.download(asset, listed)[0]), 200_000)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.PERMISSION_DENIED)
        again = server.upload(b"after", owner, [listed]).asset_id
        self.assertNotIn(again, {**before, **dict.fromkeys(made)})
        self.assertEqual(server.download(again, listed)[0], b"after")

    def test_second_server_on_the_store_is_refused_and_the_first_goes_on(self):
        server = self.server
        config = server.config_file.read_text()
        for what, folder in (("audit", "audit"), ("store", "other-audit")):
            other = json.loads(config)
            other["audit"]["directory"] = str(server.dir / "data" / folder)
            server.config_file.write_text(json.dumps(other))
            second = server.spawn(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said, _ = second.communicate(timeout=60)
            with self.subTest(what=what):
                self.assertNotEqual(second.returncode, 0)
                self.assertIn(what + ": ", said)
                self.assertRegex(said, "stop (that one|the other server)")
        asset = server.upload(b"still here", server.users[0]).asset_id
        self.assertEqual(server.download(asset, server.users[0])[0], b"still here")

    def test_backup_into_a_folder_that_is_there_changes_nothing_in_it(self):
        folder = self.server.dir / "mine"
        folder.mkdir()
        (folder / "precious").write_text("keep me")
        done = tool(self.server, "--store-backup", folder)
        self.assertEqual((folder / "precious").read_text(), "keep me")
        if done.returncode != 0:
            self.assertEqual([p.name for p in folder.iterdir()], ["precious"])


class Keys(unittest.TestCase):
    def test_manifest_key_is_rolled_without_a_download_that_does_not_verify(self):
        """As the table of docs/operations.md says: new key first, old one verify-only."""
        server = Server()
        try:
            owner = server.users[0]
            assets = [server.upload(os.urandom(50_000), owner).asset_id for _ in range(2)]
            path = server.dir / "pki" / "manifest.jwks"
            keys = json.loads(path.read_text())
            first = keys["keys"][0]
            made = server.cli("pki", "keys", server.dir / "new", "manifest", "--for", "manifest")
            self.assertEqual(made.returncode, 0, made.stderr)
            new = json.loads((server.dir / "new" / "manifest.jwks").read_text())["keys"][0]
            path.write_text(json.dumps({"keys": [new, dict(first, dacm_state="verify-only")]}))
            self.assertTrue(server.reload(), server.read_log()[-400:])
            published = json.loads(server.https("/.well-known/jwks.json"))["keys"]
            self.assertEqual([key["kid"] for key in published], [new["kid"], first["kid"]])
            self.assertFalse(any("d" in key for key in published))
            (server.dir / "keys.json").write_text(json.dumps({"keys": published}))
            server.env["keys_file"] = str(server.dir / "keys.json")
            assets.append(server.upload(os.urandom(50_000), owner).asset_id)
            kids = set()
            for asset in assets:
                jws = server.download(asset, owner)[2].manifest
                kids.add(json.loads(harness.unb64url(jws.split(".")[0]))["kid"])
            self.assertIn(new["kid"], kids)
        finally:
            self.assertEqual(server.stop(), 0)


class Short(unittest.TestCase):
    """Records of remembered decisions name the full one, which stands in the same segment."""

    def resolved(self, server):
        """{request ID: all its members}, and how many records were short."""
        folder = pathlib.Path(server.config["audit"]["directory"])
        records, short = {}, 0
        for segment in sorted(folder.glob("audit-*.log")):
            full = {}
            for line in segment.read_text().splitlines()[1:]:
                record = json.loads(line.split(" ", 1)[1])
                if "as" in record:
                    self.assertEqual(set(record), {"time_ms", "request_id", "as"})
                    short += 1
                    record = {**full[record.pop("as")], **record}
                else:
                    full[record["request_id"]] = record
                records[record["request_id"]] = record
        return records, short

    def test_records_of_remembered_decisions_are_short_and_resolve_in_every_segment(self):
        server = Server()
        try:
            owner, listed = server.users[0], server.users[1]
            asset = server.upload(b"remembered", owner, [listed]).asset_id
            server.config["audit"]["segment_bytes_max"] = 8192
            server.terminate()
            server.run()
            token = server.token(listed, asset, ["get"], [owner, listed])
            with server.client() as channel:
                stub = server.stub(channel)
                replies = [stub.Authorize(da.AuthorizeRequest(asset_id=asset, gpsi=listed),
                                          metadata=bearer(token), timeout=60)
                           for _ in range(300)]
            ids = [reply.request_id for reply in replies]
            self.assertTrue(all(reply.allowed for reply in replies))
            for restarted in (False, True):
                if restarted:
                    self.assertEqual(server.terminate(), 0)
                    server.run()
                wait_until("all records", lambda: ids[-1] in self.resolved(server)[0])
                records, short = self.resolved(server)
                segments = list(pathlib.Path(server.config["audit"]["directory"])
                                .glob("audit-*.log"))
                self.assertGreater(len(segments), 4)
                self.assertGreater(short, 200)
                self.assertGreaterEqual(short, len(ids) - len(segments))
                for request_id in ids:
                    record = records[request_id]
                    self.assertEqual(
                        (record["method"], record["asset_id"], record["outcome"],
                         record["reason"]), ("Authorize", asset, "OK", "allowed"))
                verified = tool(server, "--audit-verify")
                self.assertEqual(verified.returncode, 0, verified.stderr)
                for request_id in (ids[0], ids[1], ids[150], ids[-1]):
                    told = server.explain(request_id)
                    self.assertEqual(
                        (told["request_id"], told["method"], told["asset_id"], told["outcome"],
                         told["reason"]), (request_id, "Authorize", asset, "OK", "allowed"))
                    if told["request_id"] != ids[0]:  # that one may come from memory
                        self.assertEqual(told["time_ms"], records[request_id]["time_ms"])
                    self.assertEqual((told["user"], told["subject"]),
                                     (records[request_id]["user"], records[request_id]["subject"]))
        finally:
            self.assertEqual(server.stop(), 0)


class Strangers(unittest.TestCase):
    """A stranger can ask as fast as the network allows, and not fill the audit trail's disk."""

    def test_requests_without_a_genuine_token_are_recorded_so_many_a_second(self):
        server = Server()
        try:
            owner = server.users[0]
            asset = server.upload(b"mine", owner).asset_id
            server.config["audit"]["unauthenticated_per_s"] = 1
            server.terminate()
            server.run()
            stub = server.stub()
            asked, recorded = 0, 0
            while True:  # until a record comes that speaks of others
                with self.assertRaises(grpc.RpcError) as error:
                    stub.Authorize(da.AuthorizeRequest(asset_id=asset, gpsi=owner),
                                   metadata=bearer("not-a-token"), timeout=60)
                self.assertEqual(error.exception.code(), grpc.StatusCode.UNAUTHENTICATED,
                                 error.exception.details())
                asked += 1
                records = [record for record in audit_records(server)
                           if record.get("outcome") == "UNAUTHENTICATED"]
                recorded, left_out = len(records), sum(r.get("left_out", 0) for r in records)
                if left_out:
                    break
            self.assertLess(recorded, asked)
            self.assertEqual(recorded + left_out, asked)
            metrics = server.https("/metrics")
            self.assertRegex(metrics, rf"(?m)^dacm_audit_left_out_total {left_out}$")
            # One with a genuine token is always recorded.
            before = len(audit_records(server))
            for _ in range(5):
                self.assertEqual(server.download(asset, owner)[0], b"mine")
            wait_until("the records of what was allowed",
                       lambda: len(audit_records(server)) >= before + 5)
            verified = tool(server, "--audit-verify")
            self.assertEqual(verified.returncode, 0, verified.stderr)
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
