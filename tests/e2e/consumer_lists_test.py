# SPDX-License-Identifier: Apache-2.0
"""Step 5a of solution #6: a SIM-S asks, over mutual TLS, who may use an asset. Who may ask, what
is answered, and whole lists, also while they change."""
import hashlib
import threading
import unittest

import grpc

import harness
from configured import Server, request_id_of
from dacm.v1 import consumer_list_pb2 as cl
from dacm.v1 import consumer_list_pb2_grpc as cl_grpc
from harness import bearer, da

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
LONG = 5_000


def configure(server, config):
    """The SIM-S of `dacm dev` may stream; whoever has the certificate of val may only ask."""
    config["peers"]["sims"].append({"san": "val.dacm.localhost", "issuer": server.issuer})
    return config


def setUpModule():
    global server, owner, listed, unlisted, asset, peers
    server = Server(configure)
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
    asset = server.upload(b"list" * 100, owner, [listed]).asset_id
    peers = server.env["dacm"]["peers"].split("://")[-1]


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def number(index):
    return "msisdn-49171%07d" % index


def update(asset_id, allow=(), deny=(), operations=(), **fields):
    request = da.UpdateProfileRequest(asset_id=asset_id, gpsi=owner, deny=deny, **fields)
    for user in allow:
        request.allow.add(allowed_user=user, allowed_operations=operations)
    token = server.token(owner, asset_id, ["update"])
    return server.stub().UpdateProfile(request, metadata=bearer(token), timeout=60)


def new_asset(count=0):
    """An asset of owner, with the first `count` numbers on its list."""
    token = server.token(owner, None, ["create"])
    made = server.stub().CreateProfile(
        da.CreateProfileRequest(profile=da.DigitalAssetProfile(), gpsi=owner),
        metadata=bearer(token), timeout=60).profile.asset_id
    for first in range(0, count, 1000):
        update(made, [number(i) for i in range(first, min(count, first + 1000))])
    return made


class Case(unittest.TestCase):
    def channel(self, certificate="sims", target=None):
        pair = server.certificate(certificate) if certificate else ()
        channel = server.channel(*pair, target=target or peers)
        self.addCleanup(channel.close)
        return channel

    def stub(self, certificate="sims", target=None):
        return cl_grpc.ConsumerListsStub(self.channel(certificate, target))

    def ask(self, asset_id, users, stub=None):
        answer = (stub or self.stub()).GetConsumerList(
            cl.GetConsumerListRequest(asset_id=asset_id, users=users), timeout=60)
        return list(answer.allowed_users), answer.count

    def stream(self, asset_id, stub=None):
        users, pages = [], 0
        for page in (stub or self.stub()).ListConsumers(
                cl.ListConsumersRequest(asset_id=asset_id), timeout=120):
            self.assertLessEqual(len(page.allowed_users), 1000)
            self.assertGreater(len(page.allowed_users), 0)
            users += page.allowed_users
            pages += 1
        return users

    def assert_fails(self, code, call):
        with self.assertRaises(grpc.RpcError) as error:
            call()
        self.assertEqual(error.exception.code(), code, error.exception.details())
        return error.exception


class WhoMayAsk(Case):
    def both(self, stub):
        return (lambda: self.ask(asset, [listed], stub), lambda: self.stream(asset, stub))

    def test_configured_sims_is_answered(self):
        self.assertEqual(self.ask(asset, [listed, unlisted]), ([listed], 2))
        self.assertEqual(sorted(self.stream(asset)), sorted([owner, listed]))

    def test_another_certificate_is_refused_with_no_word_why(self):
        for call in self.both(self.stub("admin")):
            error = self.assert_fails(DENIED, call)
            self.assertNotIn("SIM-S", error.details())
            self.assertIn(request_id_of(error), error.details())

    def test_operator_is_told_whom_it_refused(self):
        error = self.assert_fails(DENIED, self.both(self.stub("admin"))[0])
        server.kill()
        server.run()
        self.assertIn("SIM-S", server.explain(request_id_of(error))["reason"])

    def test_asking_does_not_entitle_to_whole_lists(self):
        ask, stream = self.both(self.stub("val"))
        self.assertEqual(ask(), ([listed], 2))
        self.assert_fails(DENIED, stream)

    def test_without_a_certificate_there_is_no_connection(self):
        for call in self.both(self.stub(None)):
            self.assert_fails(UNAVAILABLE, call)

    def test_certificate_of_a_stranger_makes_no_connection(self):
        other = server.dir / "other-pki"
        server.cli("pki", "init", other, check=True)
        server.cli("pki", "issue", other, "sims", "--dns", "sims.dacm.localhost", check=True)
        pair = ((other / "sims.crt").read_bytes(), (other / "sims.key").read_bytes())
        with server.channel(*pair, target=peers) as channel:
            for call in self.both(cl_grpc.ConsumerListsStub(channel)):
                self.assert_fails(UNAVAILABLE, call)

    def test_not_on_the_users_listener(self):
        for certificate in ("sims", None):
            for call in self.both(self.stub(certificate, server.target)):
                self.assert_fails(UNIMPLEMENTED, call)

    def test_sims_that_was_taken_out_of_the_configuration_is_refused(self):
        stub = self.stub()
        self.assertEqual(self.ask(asset, [listed], stub), ([listed], 2))
        kept = server.config["peers"]["sims"]
        server.config["peers"]["sims"] = kept[1:]
        server.write_config()
        self.assertTrue(server.reload())
        try:
            for call in self.both(stub):
                self.assert_fails(DENIED, call)
        finally:
            server.config["peers"]["sims"] = kept
            server.write_config()
            self.assertTrue(server.reload())
        self.assertEqual(self.ask(asset, [listed], stub), ([listed], 2))


class Answers(Case):
    def test_owners_count(self):
        self.assertEqual(self.ask(asset, [owner, unlisted]), ([owner], 2))
        alone = new_asset()
        self.assertEqual(self.ask(alone, [owner, listed]), ([owner], 1))
        update(alone, add_owners=[listed])
        self.assertEqual(self.ask(alone, [owner, listed, unlisted]), ([owner, listed], 2))
        self.assertEqual(sorted(self.stream(alone)), sorted([owner, listed]))

    def test_owner_who_was_on_the_list_counts_once(self):
        made = new_asset()
        update(made, allow=[listed, unlisted])
        update(made, add_owners=[listed])
        self.assertEqual(self.ask(made, [owner, listed, unlisted])[1], 3)
        self.assertEqual(sorted(self.stream(made)), sorted([owner, listed, unlisted]))

    def test_unknown_and_deleted_assets_look_like_a_list_with_nobody(self):
        gone = new_asset(2)
        server.stub().DeleteProfile(
            da.DeleteProfileRequest(asset_id=gone, gpsi=owner),
            metadata=bearer(server.token(owner, gone, ["delete"])), timeout=60)
        for name in ("no-such-asset", gone):
            self.assertEqual(self.ask(name, [owner, listed, number(0)]), ([], 0))
            self.assertEqual(self.stream(name), [])

    def test_only_who_may_get_is_named_and_counted(self):
        made = new_asset()
        update(made, [number(1)], operations=[da.OPERATION_DISCOVERY])
        update(made, [number(2)], operations=[da.OPERATION_UPDATE, da.OPERATION_DELETE])
        update(made, [number(3)], operations=[da.OPERATION_DISCOVERY, da.OPERATION_GET])
        update(made, [number(4)])
        users = [number(i) for i in range(5)]
        self.assertEqual(self.ask(made, users), ([number(3), number(4)], 3))
        self.assertEqual(sorted(self.stream(made)), sorted([owner, number(3), number(4)]))
        update(made, [number(3)], operations=[da.OPERATION_DISCOVERY])
        self.assertEqual(self.ask(made, users), ([number(4)], 2))
        update(made, deny=[number(4)])
        self.assertEqual(self.ask(made, users), ([], 1))

    def test_a_thousand_users_are_answered_and_one_more_is_refused(self):
        made = new_asset(700)
        users = [number(i) for i in range(1000)]
        allowed, count = self.ask(made, users)
        self.assertEqual((allowed, count), (users[:700], 701))
        error = self.assert_fails(INVALID, lambda: self.ask(made, [*users, number(1000)]))
        self.assertIn("users: name 1 to 1000", error.details())
        self.assertIn("users", self.assert_fails(INVALID, lambda: self.ask(made, [])).details())

    def test_syntax_is_refused_with_the_field_and_without_the_value(self):
        for name in ("", "a b", "a" * 129, "../x"):
            for call in (lambda: self.ask(name, [listed]), lambda: self.stream(name)):
                self.assertTrue(self.assert_fails(INVALID, call).details().startswith("asset_id"))
        for user in ("", "4915112345678", "ann@example.com", "msisdn-123", listed.upper()):
            error = self.assert_fails(INVALID, lambda: self.ask(asset, [listed, user]))
            self.assertTrue(error.details().startswith("users[1]:"), error.details())
            if user:
                self.assertNotIn(user, error.details())


class WholeLists(Case):
    @classmethod
    def setUpClass(cls):
        cls.long = new_asset(LONG)
        cls.users = {number(i) for i in range(LONG)} | {owner}

    def test_five_thousand_entries_each_once(self):
        users = self.stream(self.long)
        self.assertEqual(len(users), LONG + 1)
        self.assertEqual(set(users), self.users)
        self.assertEqual(self.ask(self.long, [number(0)])[1], LONG + 1)

    def test_a_page_may_hold_nobody_who_may_get(self):
        made = new_asset()
        for first in range(0, 2000, 1000):
            update(made, [number(i) for i in range(first, first + 1000)],
                   operations=[da.OPERATION_DISCOVERY])
        update(made, [number(5000)])
        self.assertEqual(sorted(self.stream(made)), sorted([owner, number(5000)]))

    def test_list_that_changes_meanwhile_is_whole_or_says_so(self):
        """A stream that ends well is the list as it stood at one time: the rounds add and remove
        a pair, and no stream has half of it."""
        pair = {number(LONG), number(LONG + 1)}
        stop, failures = threading.Event(), []

        def change():
            try:
                while not stop.is_set():
                    update(self.long, allow=sorted(pair))
                    update(self.long, deny=sorted(pair))
            except Exception as error:  # carried to the main thread
                failures.append(error)
        changer = threading.Thread(target=change)
        changer.start()
        whole = aborted = 0
        try:
            for _ in range(60 if harness.FULL else 20):
                try:
                    users = self.stream(self.long)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.ABORTED, error.details())
                    self.assertIn("ask again", error.details())
                    aborted += 1
                    continue
                whole += 1
                self.assertEqual(len(users), len(set(users)))
                self.assertIn(set(users) - self.users, (set(), pair))
                self.assertEqual(self.users - set(users), set())
        finally:
            stop.set()
            changer.join()
        self.assertEqual(failures, [])
        self.assertGreater(whole + aborted, 0)
        update(self.long, deny=sorted(pair))
        self.assertEqual(set(self.stream(self.long)), self.users)

    def test_change_between_two_pages_aborts(self):
        """The reader stops after the first page, with more of the list than fits any window of
        the connection: what the server has not read yet cannot be of the same time."""
        made = new_asset(LONG)
        # Long names: 5,000 of them are more than a megabyte.
        long_user = lambda i: "extid-%s@%05d.example" % ("u" * 210, i)  # noqa: E731
        for first in range(0, LONG, 1000):
            update(made, [long_user(i) for i in range(first, first + 1000)])
        credentials = grpc.ssl_channel_credentials(server.ca, *reversed(
            server.certificate("sims")))
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        with grpc.secure_channel(peers, credentials, options=options) as channel:
            call = cl_grpc.ConsumerListsStub(channel).ListConsumers(
                cl.ListConsumersRequest(asset_id=made), timeout=120)
            users = list(next(call).allowed_users)
            update(made, deny=[long_user(LONG - 1)])
            with self.assertRaises(grpc.RpcError) as error:
                for page in call:
                    users += page.allowed_users
        self.assertEqual(error.exception.code(), grpc.StatusCode.ABORTED)
        self.assertLess(len(users), 2 * LONG)

    def test_reader_that_goes_away_leaves_nothing_behind(self):
        stub = self.stub()
        for _ in range(20):
            call = stub.ListConsumers(cl.ListConsumersRequest(asset_id=self.long), timeout=60)
            next(call)
            call.cancel()
        self.assertEqual(len(self.stream(self.long, stub)), LONG + 1)


class Secrets(Case):
    def test_users_asked_about_are_not_in_the_log(self):
        self.ask(asset, [number(77), listed])
        self.assert_fails(INVALID, lambda: self.ask(asset, ["extid-" + hashlib.md5(
            b"x").hexdigest() + "@UPPER"]))
        logged = "".join(line for line in server.read_log().splitlines() if line[:1] == "{")
        for user in (number(77), listed, "@UPPER"):
            self.assertNotIn(user, logged)


if __name__ == "__main__":
    unittest.main(verbosity=2)
