# SPDX-License-Identifier: Apache-2.0
"""TokenStatus.Report: a SIM-S (python3-grpcio) reports revocations, numbered. What is acknowledged is
refused from then on, ends running downloads and outlives kill -9; gaps, repetitions, other issuers
and strangers; and what happens to an issuer that must report and is silent."""
import hashlib
import os
import queue
import threading
import time
import unittest

import grpc

import harness
from configured import Issuer, Server, wait_until
from dacm.v1 import token_status_pb2 as ts
from dacm.v1 import token_status_pb2_grpc
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
DENIED = grpc.StatusCode.PERMISSION_DENIED
FAILED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
LARGE_BYTES = 24 << 20
OTHER = "https://other.example"


def setUpModule():
    global server, other, owner, listed, content, asset, large

    def configure(started, config):
        global other
        other = Issuer(OTHER)
        config["issuers"].append(other.entry(started.dir))
        config["peers"]["sims"].append({"san": "val.dacm.localhost", "issuer": OTHER})
        return config
    server = Server(configure)
    owner, listed = server.users[0], server.users[1]
    content = hashlib.shake_256(b"reports").digest(10_000)
    large = os.urandom(LARGE_BYTES)
    asset = server.upload(content, owner, [listed]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


class Sims:
    """One stream of Report. Requests are sent by send(); answers are read where they are asked
    for."""

    def __init__(self, to=None, certificate="sims", target=None, epoch="epoch-1"):
        self.server = to or server
        target = target or self.server.env["dacm"]["peers"].split("://")[-1]
        pair = self.server.certificate(certificate) if certificate else ()
        self.channel = self.server.channel(*pair, target=target)
        self.requests, self.epoch, self.mark = queue.SimpleQueue(), epoch, 0
        self.call = token_status_pb2_grpc.TokenStatusStub(self.channel).Report(
            iter(self.requests.get, None), timeout=300)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.channel.close()

    def send(self, sequence, epoch=None, **what):
        self.requests.put(ts.ReportRequest(epoch=self.epoch if epoch is None else epoch,
                                           sequence=sequence, **what))

    def revoke(self, sequence, jti=None, subject=None, issued_until=0, expires_at=None, epoch=None):
        end = int(time.time()) + 300 if expires_at is None else expires_at
        what = {"jti": jti} if subject is None else {"subject": subject}
        self.send(sequence, epoch, revocation=ts.ReportRequest.Revocation(
            issued_until=issued_until, expires_at=end, **what))

    def heartbeat(self, sequence, epoch=None, mark=None):
        """With the mark of the last answer that was read."""
        self.send(sequence, epoch, heartbeat=ts.ReportRequest.Heartbeat(
            mark=self.mark if mark is None else mark))

    def expired(self, sequence, epoch=None):
        self.send(sequence, epoch, expired=ts.ReportRequest.Expired())

    def answer(self):
        """(epoch, applied sequence) of the next answer."""
        answer = next(self.call)
        self.mark = answer.mark
        return answer.epoch, answer.applied_sequence

    def applied(self, sequence):
        """Reads answers until that many are applied; the last."""
        while True:
            epoch, at = self.answer()
            if at >= sequence and epoch == self.epoch:
                return at

    def end(self):
        """Reads on until the stream ends; its error, or None."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError as error:
            return error
        return None


def new_token(gpsi=None, asset_id=None, on=None, **changes):
    on = on or server
    gpsi = gpsi or listed
    claims = on.claims(gpsi, asset_id or asset, ["get"], [owner, listed], **changes)
    return claims, on.sign(claims)


def code_of(token, on=None, asset_id=None, stub=None):
    """None when served, otherwise the status code."""
    request = da.AuthorizeRequest(asset_id=asset_id or asset, gpsi=listed)
    on = on or server
    try:
        if stub:
            return None if stub.Authorize(request, metadata=bearer(token), timeout=60).allowed else DENIED
        with on.client() as channel:
            allowed = on.stub(channel).Authorize(
                request, metadata=bearer(token), timeout=60).allowed
            return None if allowed else DENIED
    except grpc.RpcError as error:
        return error.code()


class Download:
    """A download whose reader reads no more after its first chunks: its window is closed."""

    def __init__(self, on, asset_id, token):
        self.channel = grpc.secure_channel(
            on.target, grpc.ssl_channel_credentials(on.ca),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)])
        self.call = on.stub(self.channel).Download(
            da.DownloadRequest(asset_id=asset_id, gpsi=listed), metadata=bearer(token), timeout=240)
        for _ in range(3):
            next(self.call)

    def rest(self):
        """(bytes that still came, status code)."""
        size, code = 0, None
        try:
            for response in self.call:
                size += len(response.chunks.data)
            code = self.call.code()
        except grpc.RpcError as error:
            code = error.code()
        self.channel.close()
        return size, code


def ends(on):
    return on.read_log().count('"method": "Download"')


class Case(unittest.TestCase):
    def begin(self, sims):
        """Where the server stands, made ours: the number of the last that was reported."""
        epoch, at = sims.answer()
        return at if epoch == sims.epoch else 0

    def refused(self, sims, code, word=""):
        error = sims.end()
        self.assertIsNotNone(error)
        self.assertEqual(error.code(), code, error.details())
        self.assertIn(word, error.details())
        return error.details()


class Reports(Case):
    def test_what_is_acknowledged_is_refused_from_then_on(self):
        claims, token = new_token()
        sibling = new_token()[1]
        with Sims() as sims, server.client() as channel:
            stub = server.stub(channel)  # a warm connection that remembers its verdict
            at = self.begin(sims)
            for _ in range(3):
                self.assertIsNone(code_of(token, stub=stub))
            sims.revoke(at + 1, claims["jti"])
            self.assertEqual(sims.applied(at + 1), at + 1)
            self.assertEqual(code_of(token, stub=stub), UNAUTHENTICATED)
            self.assertEqual(code_of(token), UNAUTHENTICATED)
            self.assertIsNone(code_of(sibling, stub=stub))

    def test_subject_loses_what_was_issued_until_then(self):
        now = int(time.time())
        before = new_token(sub="leaver", iat=now - 20)[1]
        after = new_token(sub="leaver", iat=now - 5)[1]
        stays = new_token(sub="stayer", iat=now - 20)[1]
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, subject="leaver", issued_until=now - 10)
            sims.applied(at + 1)
            self.assertEqual(code_of(before), UNAUTHENTICATED)
            self.assertIsNone(code_of(after))
            self.assertIsNone(code_of(stays))

    def test_report_takes_nothing_back_of_what_an_operator_revoked(self):
        now = int(time.time())
        token = new_token(sub="both")[1]
        server.cli("token", "revoke", "--subject", "both", check=True)
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, subject="both", issued_until=now - 1000)
            sims.applied(at + 1)
        self.assertEqual(code_of(token), UNAUTHENTICATED)
        server.kill()
        server.run()
        self.assertEqual(code_of(token), UNAUTHENTICATED)

    def test_running_downloads_end_and_others_go_on(self):
        on = server.upload(large, owner, [listed]).asset_id
        one, token = new_token(asset_id=on)
        of_subject = new_token(asset_id=on, sub="disabled")[1]
        calls = [Download(server, on, token), Download(server, on, of_subject)]
        stays = Download(server, on, new_token(asset_id=on)[1])
        before = ends(server)
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, one["jti"])
            sims.revoke(at + 2, subject="disabled", issued_until=int(time.time()))
            sims.applied(at + 2)
            wait_until("the end of both downloads", lambda: ends(server) >= before + 2)
        for call in calls:
            size, code = call.rest()
            self.assertEqual(code, UNAUTHENTICATED)
            self.assertLess(size, LARGE_BYTES)
        self.assertEqual(stays.rest()[1], grpc.StatusCode.OK)

    def test_resumes_where_it_stood_after_a_new_stream_and_after_a_kill(self):
        claims, token = new_token()
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, claims["jti"])
            sims.applied(at + 1)
        with Sims() as sims:
            self.assertEqual(sims.answer(), ("epoch-1", at + 1))
        for _ in range(2):
            server.kill()
            server.run()
            self.assertEqual(code_of(token), UNAUTHENTICATED)
            with Sims() as sims:
                self.assertEqual(sims.answer(), ("epoch-1", at + 1))

    def test_nothing_acknowledged_is_lost_when_it_is_killed_under_load(self):
        acknowledged = 0
        with Sims() as sims:
            start = self.begin(sims)
            for i in range(1, 2001):
                sims.revoke(start + i, f"load-{start + i}")
            while acknowledged < start + 300:
                acknowledged = sims.answer()[1]
            server.kill()
        server.run()
        with Sims() as sims:
            at = self.begin(sims)
            self.assertGreaterEqual(at, acknowledged)
            for i in range(at + 1, start + 2001):
                sims.revoke(i, f"load-{i}")
            sims.applied(start + 2000)
        for i in (start + 1, acknowledged, at, start + 2000):
            self.assertEqual(code_of(new_token(jti=f"load-{i}")[1]), UNAUTHENTICATED)
        self.assertIsNone(code_of(new_token(jti=f"load-{start + 2001}")[1]))

    def test_repetitions_are_ignored_and_answered(self):
        claims, token = new_token()
        spared, stays = new_token()
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, claims["jti"])
            sims.applied(at + 1)
            sims.revoke(at + 1, spared["jti"])
            self.assertEqual(sims.answer(), ("epoch-1", at + 1))
            sims.revoke(1, spared["jti"])
            self.assertEqual(sims.answer(), ("epoch-1", at + 1))
        self.assertEqual(code_of(token), UNAUTHENTICATED)
        self.assertIsNone(code_of(stays))

    def test_gap_ends_the_stream_and_says_what_to_send(self):
        first, refused_token = new_token()
        second, stays = new_token()
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, first["jti"])
            sims.revoke(at + 3, second["jti"])
            self.refused(sims, FAILED, f"is {at + 2}")
        self.assertEqual(code_of(refused_token), UNAUTHENTICATED)  # what came before the gap
        self.assertIsNone(code_of(stays))
        with Sims() as sims:
            self.assertEqual(sims.answer(), ("epoch-1", at + 1))

    def test_heartbeat_with_a_number_that_we_do_not_have_is_a_gap(self):
        with Sims() as sims:
            at = self.begin(sims)
            sims.heartbeat(at)
            self.assertEqual(sims.answer()[1], at)
            sims.heartbeat(at + 1)
            self.refused(sims, FAILED, f"is {at + 1}")

    def test_store_of_the_sims_that_went_back_is_told(self):
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, "back-1")
            sims.applied(at + 1)
            sims.heartbeat(at)
            self.refused(sims, FAILED, "new epoch")

    def test_expired_ones_need_not_be_sent(self):
        claims, token = new_token()
        with Sims() as sims:
            at = self.begin(sims)
            sims.expired(at + 1000)
            sims.revoke(at + 1001, claims["jti"])
            self.assertEqual(sims.applied(at + 1001), at + 1001)
            sims.expired(at + 5)  # ignored
            self.assertEqual(sims.answer()[1], at + 1001)
        self.assertEqual(code_of(token), UNAUTHENTICATED)

    def test_another_epoch_starts_anew_and_what_was_revoked_stays_so(self):
        claims, token = new_token()
        again, too = new_token()
        with Sims() as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, claims["jti"])
            sims.applied(at + 1)
        with Sims(epoch="epoch-2") as sims:
            self.assertEqual(sims.answer(), ("epoch-1", at + 1))
            sims.revoke(1, again["jti"])
            self.assertEqual(sims.applied(1), 1)
            sims.revoke(1, "x", epoch="epoch-3")
            self.assertEqual(sims.answer(), ("epoch-3", 1))
            sims.revoke(3, "y", epoch="epoch-1")
            self.refused(sims, FAILED, "is 1")
        self.assertEqual(code_of(token), UNAUTHENTICATED)
        self.assertEqual(code_of(too), UNAUTHENTICATED)

    def test_what_is_no_report_is_refused(self):
        revocation, far = ts.ReportRequest.Revocation, 253402300800
        for word, epoch, what in (
                ("epoch:", "", {"heartbeat": ts.ReportRequest.Heartbeat()}),
                ("epoch:", "e" * 65, {"heartbeat": ts.ReportRequest.Heartbeat()}),
                ("epoch:", "e\n", {"heartbeat": ts.ReportRequest.Heartbeat()}),
                ("epoch:", "\u00e9", {"heartbeat": ts.ReportRequest.Heartbeat()}),
                ("what:", "bad", {}),
                ("what:", "bad", {"revocation": revocation()}),
                ("what:", "bad", {"revocation": revocation(jti="")}),
                ("what:", "bad", {"revocation": revocation(jti="j" * 256)}),
                ("what:", "bad", {"revocation": revocation(subject="s" * 256)}),
                ("times", "bad", {"revocation": revocation(subject="s", issued_until=-1)}),
                ("times", "bad", {"revocation": revocation(subject="s", issued_until=far)}),
                ("times", "bad", {"revocation": revocation(jti="j", expires_at=-1)}),
                ("times", "bad", {"revocation": revocation(jti="j", expires_at=far)})):
            with self.subTest(word=word, epoch=epoch, what=what), Sims() as sims:
                before = sims.answer()
                sims.send(1 if "revocation" in what else 0, epoch, **what)
                self.refused(sims, INVALID, word)
                with Sims() as again:
                    self.assertEqual(again.answer(), before)

    def test_newer_stream_takes_over(self):
        with Sims() as older:
            at = self.begin(older)
            with Sims() as newer:
                self.assertEqual(self.begin(newer), at)
                self.refused(older, grpc.StatusCode.ABORTED, "newer stream")
                newer.revoke(at + 1, "newer")
                newer.applied(at + 1)

    def test_streams_that_take_over_under_load_lose_nothing(self):
        with Sims() as first:
            start = self.begin(first)
        streams = []
        for _ in range(8):
            sims = Sims()
            streams.append(sims)
            for i in range(self.begin(sims) + 1, start + 501):
                sims.revoke(i, f"over-{i}")
            sims.heartbeat(start + 500)  # it may find everything applied
        streams[-1].applied(start + 500)
        for sims in streams:
            sims.close()
        with Sims() as sims:
            self.assertEqual(sims.answer(), ("epoch-1", start + 500))
        for i in (1, 250, 500):
            self.assertEqual(code_of(new_token(jti=f"over-{start + i}")[1]), UNAUTHENTICATED)

    def test_flood_is_taken_in_batches_while_others_are_served(self):
        token, served = new_token()[1], 0
        with Sims() as sims:
            at = self.begin(sims)
            for i in range(1, 20001):
                sims.revoke(at + i, f"flood-{at + i}")
            answers = 0
            while sims.answer()[1] < at + 20000:
                answers += 1
                if answers % 10 == 0:
                    self.assertIsNone(code_of(token))
                    served += 1
        self.assertLess(answers, 20000)
        self.assertGreater(served, 0)
        self.assertEqual(code_of(new_token(jti=f"flood-{at + 20000}")[1]), UNAUTHENTICATED)

    def test_heartbeats_of_one_who_does_not_read_cost_nothing(self):
        with Sims() as sims:
            at = self.begin(sims)
            for _ in range(20000):
                sims.heartbeat(at)
            sims.revoke(at + 1, "after the flood")
            self.assertEqual(sims.applied(at + 1), at + 1)

    def test_half_close_ends_it_once_all_is_applied(self):
        with Sims() as sims:
            at = self.begin(sims)
            for i in range(1, 501):
                sims.revoke(at + i, f"half-{at + i}")
            sims.requests.put(None)
            self.assertIsNone(sims.end())
        with Sims() as sims:
            self.assertEqual(sims.answer(), ("epoch-1", at + 500))


class Who(Case):
    def test_only_the_sims_of_an_issuer(self):
        with Sims(certificate="admin") as sims:
            self.refused(sims, DENIED, "not for you")
        with Sims(certificate="sims", target=server.target) as sims:
            self.refused(sims, grpc.StatusCode.UNIMPLEMENTED)
        with Sims(certificate=None) as sims:
            self.refused(sims, UNAVAILABLE)  # no connection without a certificate

    def test_sims_of_one_issuer_revokes_nothing_of_another(self):
        claims, token = new_token(sub="of-both")
        mine = other.token(server, listed, asset, [listed], jti=claims["jti"], sub="of-both")
        also = other.token(server, listed, asset, [listed], sub="of-both")
        self.assertIsNone(code_of(mine))
        with Sims(certificate="val", epoch="others") as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, claims["jti"])
            sims.revoke(at + 2, subject="of-both", issued_until=int(time.time()))
            sims.applied(at + 2)
        self.assertIsNone(code_of(token))
        self.assertEqual(code_of(mine), UNAUTHENTICATED)
        self.assertEqual(code_of(also), UNAUTHENTICATED)

    def test_issuers_stand_where_each_of_them_stands(self):
        with Sims() as one, Sims(certificate="val", epoch="others") as two:
            a, b = self.begin(one), self.begin(two)
            one.revoke(a + 1, "a")
            one.applied(a + 1)
            two.heartbeat(b)
            self.assertEqual(two.answer(), ("others", b) if b else ("others", 0))

    def test_sims_that_is_taken_out_of_the_configuration_is_sent_away(self):
        sims_list = server.config["peers"]["sims"]
        with Sims(certificate="val", epoch="others") as sims:
            at = self.begin(sims)
            sims.heartbeat(at, epoch="others")
            sims.answer()
            server.config["peers"]["sims"] = sims_list[:1]
            server.write_config()
            self.assertTrue(server.reload())
            sims.revoke(at + 1, "too late")
            self.refused(sims, DENIED, "no longer")
        server.config["peers"]["sims"] = sims_list
        server.write_config()
        self.assertTrue(server.reload())

    def test_server_that_stops_says_so(self):
        with Sims() as sims:
            self.begin(sims)
            self.assertEqual(server.terminate(), 0)
            self.refused(sims, UNAVAILABLE, "stopping")
        server.run()


class Beating:
    """A SIM-S that lives: it sends heartbeats until it is silenced."""

    def __init__(self, on):
        self.sims, self.silent = Sims(to=on), threading.Event()
        epoch, at = self.sims.answer()
        self.thread = threading.Thread(
            target=self.run, args=(at if epoch == self.sims.epoch else 0,))
        self.thread.start()

    def run(self, at):
        self.sims.heartbeat(at)
        while not self.silent.wait(0.2):
            self.sims.answer()
            self.sims.heartbeat(at)

    def silence(self, close=True):
        self.silent.set()
        self.thread.join()
        if close:
            self.sims.close()


class Staleness(Case):
    @classmethod
    def setUpClass(cls):
        def configure(started, config):
            config["issuers"][0].update(revocations="report", max_staleness_s=2)
            cls.free = Issuer("https://free.example")
            config["issuers"].append(cls.free.entry(started.dir))
            return config
        cls.server = Server(configure)
        cls.heart = Beating(cls.server)
        cls.asset = cls.server.upload(content, owner, [listed]).asset_id

    @classmethod
    def tearDownClass(cls):
        cls.heart.silence()
        assert cls.server.stop() == 0, cls.server.read_log()

    def setUp(self):
        cls = type(self)
        if cls.heart.silent.is_set():
            cls.heart.sims.close()
            cls.heart = Beating(cls.server)
        wait_until("a fresh issuer", lambda: self.code() is None)

    def code(self, token=None, stub=None):
        token = token or new_token(asset_id=self.asset, on=self.server)[1]
        return code_of(token, self.server, self.asset, stub)

    def go_stale(self, close=True):
        self.heart.silence(close)
        wait_until("a stale issuer", lambda: self.code() == UNAVAILABLE)

    def test_tokens_of_a_silent_issuer_are_answered_unavailable(self):
        for close in (True, False):  # cut off, or connected and without a word
            with self.subTest(close=close):
                self.setUp()
                self.go_stale(close)
                with self.server.client() as channel, self.assertRaises(grpc.RpcError) as error:
                    self.server.stub(channel).Download(
                        da.DownloadRequest(asset_id=self.asset, gpsi=listed), timeout=60,
                        metadata=bearer(new_token(asset_id=self.asset, on=self.server)[1])).next()
                self.assertEqual(error.exception.code(), UNAVAILABLE)
                self.assertIn("try again", error.exception.details())
                request_id = dict(error.exception.trailing_metadata())["dacm-request-id"]
                self.assertEqual(self.server.explain(request_id)["reason"], "stale")

    def test_remembered_verdicts_and_warm_connections_are_no_way_round(self):
        token = new_token(asset_id=self.asset, on=self.server)[1]
        with self.server.client() as channel:
            stub = self.server.stub(channel)
            for _ in range(4):
                self.assertIsNone(self.code(token, stub))
            self.go_stale()
            for _ in range(4):
                self.assertEqual(self.code(token, stub), UNAVAILABLE)
            self.setUp()
            for _ in range(4):
                self.assertIsNone(self.code(token, stub))

    def test_token_that_is_wrong_is_refused_as_ever(self):
        self.go_stale()
        token = new_token(asset_id=self.asset, on=self.server, exp=1)[1]
        self.assertEqual(self.code(token), UNAUTHENTICATED)

    def test_issuers_that_need_not_report_are_served(self):
        self.go_stale()
        token = self.free.token(self.server, listed, self.asset, [listed])
        self.assertIsNone(self.code(token))

    def test_running_download_ends(self):
        on = self.server.upload(large, owner, [listed]).asset_id
        call = Download(self.server, on, new_token(asset_id=on, on=self.server)[1])
        token = self.free.token(self.server, listed, on, [listed])
        stays = Download(self.server, on, token)
        before = ends(self.server)
        self.go_stale()
        wait_until("the end of the download", lambda: ends(self.server) > before)
        size, code = call.rest()
        self.assertEqual(code, UNAVAILABLE)
        self.assertLess(size, LARGE_BYTES)
        self.assertEqual(stays.rest()[1], grpc.StatusCode.OK)

    def test_log_health_and_metric_tell_the_operator(self):
        age = lambda: float(next(  # noqa: E731
            line for line in self.server.https("/metrics").splitlines()
            if line.startswith("dacm_revocations_age_seconds{")).rsplit(" ", 1)[1])
        warnings = lambda: [w["name"] for w in self.server.health()["warnings"]]  # noqa: E731
        self.assertNotIn("revocations", warnings())
        before = self.server.read_log().count("was not heard for too long")
        self.go_stale()
        self.assertGreater(age(), 2)
        self.assertIn("revocations", warnings())
        self.assertEqual(self.server.read_log().count("was not heard for too long"), before + 1)
        self.assertEqual(self.server.health()["status"], "ok")
        self.setUp()
        self.assertNotIn("revocations", warnings())
        self.assertIn(f'issuer="{self.server.issuer}"', self.server.https("/metrics"))

    def test_restart_gives_the_sims_time_to_come_back(self):
        self.go_stale()
        self.server.kill()
        self.server.run()
        self.assertIsNone(self.code())
        wait_until("a stale issuer", lambda: self.code() == UNAVAILABLE)

    def test_revocations_are_no_sign_of_life_before_all_of_them_are_there(self):
        self.go_stale()
        with Sims(to=self.server) as sims:
            at = self.begin(sims)
            sims.revoke(at + 1, "one of many")
            sims.applied(at + 1)
            self.assertEqual(self.code(), UNAVAILABLE)
            sims.revoke(at + 2, "the last one")
            sims.heartbeat(at + 2)
            sims.applied(at + 2)
            wait_until("a fresh issuer", lambda: self.code() is None)

    def test_heartbeat_that_was_late_says_nothing_of_now(self):
        """As after a black hole: what waited in a socket arrives, and then what is new."""
        self.go_stale()
        with Sims(to=self.server) as sims:
            at = self.begin(sims)
            old = sims.mark
            sims.heartbeat(at, mark=0)  # one that answers nothing
            sims.answer()
            self.assertEqual(self.code(), UNAVAILABLE)
            sims.heartbeat(at)
            sims.answer()
            self.assertIsNone(self.code())
            wait_until("a stale issuer", lambda: self.code() == UNAVAILABLE)
            for _ in range(3):
                sims.heartbeat(at, mark=old)
                sims.answer()
                self.assertEqual(self.code(), UNAVAILABLE)
            sims.heartbeat(at)
            sims.answer()
            self.assertIsNone(self.code())

    def test_mark_that_was_never_sent_is_refused(self):
        self.heart.silence()
        with Sims(to=self.server) as sims:
            at = self.begin(sims)
            sims.heartbeat(at, mark=2**63)
            self.refused(sims, INVALID, "mark")

    def test_stream_that_brings_nothing_that_counts_is_no_sign_of_life(self):
        self.go_stale()
        with Sims(to=self.server) as sims:
            at = self.begin(sims)
            sims.revoke(at + 7, "gap")
            self.refused(sims, FAILED)
        self.assertEqual(self.code(), UNAVAILABLE)


class Settings(unittest.TestCase):
    def check(self, change):
        config = server.base_config()
        change(config)
        kept, server.config = server.config, config
        server.write_config()
        done = server.spawn(["--check-config"], stdout=-1, stderr=-1, text=True)
        out = "".join(done.communicate(timeout=60))
        server.config = kept
        server.write_config()
        return done.returncode, out

    def test_issuer_that_cannot_report_is_not_told_to(self):
        def without_sims(config):
            config["issuers"][0]["revocations"] = "report"
            config["peers"]["sims"] = []

        def without_listener(config):
            config["issuers"][0]["revocations"] = "report"
            del config["listen"]["peers"]
        for change in (without_sims, without_listener):
            with self.subTest(change=change.__name__):
                code, out = self.check(change)
                self.assertNotEqual(code, 0)
                self.assertIn("issuers[0].revocations", out)

    def test_good_ones_are_taken(self):
        code, out = self.check(lambda config: config["issuers"][0].update(
            revocations="report", max_staleness_s=2))
        self.assertEqual(code, 0, out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
