# SPDX-License-Identifier: Apache-2.0
"""What ends a right, with tokens that simsd issued and reports of its own to dacmd: a user is taken
off the list, a token is revoked, a user is disabled. Downloads that run then end with the code that
says so, of a reader that is slow and of one that reads nothing; the token opens nothing afterwards,
on the warm connection or another. And when simsd is killed, its silence has a bound."""
import os
import queue
import threading
import unittest

import grpc

import harness
import sims
from configured import wait_until
from harness import bearer, da
from sims import Browser, details, sim

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
DENIED = grpc.StatusCode.PERMISSION_DENIED
OK = grpc.StatusCode.OK
LARGE_BYTES = (64 if harness.FULL else 24) << 20
PACE_SECONDS = 0.2  # between two messages of the slow reader: it takes ten seconds for everything
GPSIS = ("msisdn-49111%07d" % n for n in range(1000))


class Login:
    """A user of simsd with a token for one asset."""

    def __init__(self, server, app, asset=None):
        self.server, self.app, self.gpsi = server, app, next(GPSIS)
        self.username = "user-" + self.gpsi[-4:]
        server.add_user(self.username, [self.gpsi])
        self.asset = asset
        if asset:
            self.log_in()

    def log_in(self):
        self.tokens = Browser(self.server).tokens(
            self.app, self.username, authorization_details=details(),
            exchange={"authorization_details": details(self.asset)})
        self.token = self.tokens["access_token"]

    def set_disabled(self, how):
        self.server.admin().UpdateUser(sim.UpdateUserRequest(
            username=self.username, disabled=how), timeout=60)


class Download:
    """A download that has begun. A slow reader goes on reading; another one reads nothing more
    until it is asked for the rest, so that its window is closed."""

    def __init__(self, login, slow):
        dacm = login.server.dacm
        self.channel = grpc.secure_channel(
            dacm.target, grpc.ssl_channel_credentials(dacm.ca),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)])
        self.stub = dacm.stub(self.channel)
        self.call = self.stub.Download(
            da.DownloadRequest(asset_id=login.asset, gpsi=login.gpsi),
            metadata=bearer(login.token), timeout=240)
        for _ in range(3):
            next(self.call)
        self.size, self.pace = 0, threading.Event()
        self.ended = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.slow = slow
        if slow:
            self.thread.start()

    def read(self):
        try:
            for response in self.call:
                self.size += len(response.chunks.data)
                self.pace.wait(PACE_SECONDS if self.slow else 0)
            self.ended.put(self.call.code())
        except grpc.RpcError as error:
            self.ended.put(error.code())

    def code(self):
        """Reads to the end; with what code it ended."""
        if not self.slow:
            self.thread.start()
        code = self.ended.get(timeout=120)
        self.thread.join()
        return code

    def close(self):
        self.pace.set()
        self.channel.close()


def use(login, token=None, stub=None):
    """OK, or the code with which a new download is refused."""
    request = da.DownloadRequest(asset_id=login.asset, gpsi=login.gpsi)
    dacm = login.server.dacm
    try:
        if stub:
            next(iter(stub.Download(request, metadata=bearer(token or login.token), timeout=60)))
        else:
            with dacm.client() as channel:
                next(iter(dacm.stub(channel).Download(
                    request, metadata=bearer(token or login.token), timeout=60)))
    except grpc.RpcError as error:
        return error.code()
    return OK


class Reporting(sims.Sims):
    """simsd, and a dacmd that refuses its tokens when it is not heard."""
    max_staleness_s = 60

    def configure_dacm(self, dacm, config):
        config = super().configure_dacm(dacm, config)
        entry = next(entry for entry in config["issuers"] if entry["issuer"] == self.issuer)
        entry.update(revocations="report", max_staleness_s=self.max_staleness_s)
        return config


class Case(unittest.TestCase):
    server_class = Reporting

    @classmethod
    def setUpClass(cls):
        cls.server = cls.server_class()
        cls.dacm = cls.server.dacm
        cls.app = cls.server.add_client("app")
        cls.owner = cls.dacm.users[0]
        cls.large = os.urandom(LARGE_BYTES)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def users(self, count):
        """Logins of that many users of one large asset."""
        logins = [Login(self.server, self.app) for _ in range(count)]
        asset = self.dacm.upload(
            self.large, self.owner, allow=[login.gpsi for login in logins]).asset_id
        for login in logins:
            login.asset = asset
            login.log_in()
        return logins

    def begin(self, login, slow):
        download = Download(login, slow)
        self.addCleanup(download.close)
        return download

    def download_ends(self):
        return self.dacm.read_log().count('"method": "Download"')


class Running(Case):
    def check(self, end, code):
        """end(login) takes the right of one of two users; what the other has goes on."""
        login, other = self.users(2)
        idle = self.app.refresh(login.tokens["refresh_token"],
                                authorization_details=details(login.asset)).json["access_token"]
        downloads = [self.begin(login, slow=True), self.begin(login, slow=False)]
        stays = self.begin(other, slow=False)
        before = self.download_ends()
        end(login)
        # by itself: the reader that reads nothing is asked for nothing until then
        wait_until("the end of both downloads", lambda: self.download_ends() >= before + 2)
        self.assertEqual(self.download_ends(), before + 2)
        for download in downloads:
            self.assertEqual(download.code(), code)
            self.assertLess(download.size, LARGE_BYTES * 3 // 4)
            self.assertEqual(use(login, stub=download.stub), code)  # the warm connection
        self.assertEqual(use(login), code)
        self.assertEqual(stays.code(), OK)
        self.assertEqual(use(other), OK)
        return login, idle

    def test_user_taken_off_the_list(self):
        def deny(login):
            self.dacm.cli("deny", login.asset, login.gpsi, "--as", self.owner, check=True)
        login, idle = self.check(deny, DENIED)
        self.assertEqual(use(login, idle), DENIED)

    def test_token_revoked(self):
        def revoke(login):
            self.assertEqual(self.app.send("/revoke", {"token": login.token}).status, 200)
        login, idle = self.check(revoke, UNAUTHENTICATED)
        self.assertEqual(use(login, idle), OK)  # it was this token's end and no other's

    def test_login_revoked_by_its_refresh_token(self):
        def revoke(login):
            reply = self.app.send("/revoke", {"token": login.tokens["refresh_token"]})
            self.assertEqual(reply.status, 200)
        login, idle = self.check(revoke, UNAUTHENTICATED)
        self.assertEqual(use(login, idle), UNAUTHENTICATED)

    def test_user_disabled(self):
        login, idle = self.check(lambda it: it.set_disabled(sim.SWITCH_ON), UNAUTHENTICATED)
        self.assertEqual(use(login, idle), UNAUTHENTICATED)
        login.set_disabled(sim.SWITCH_OFF)
        self.assertEqual(use(login, idle), UNAUTHENTICATED)  # what was, stays revoked
        login.log_in()
        self.assertEqual(use(login), OK)


if __name__ == "__main__":
    unittest.main(verbosity=2)
