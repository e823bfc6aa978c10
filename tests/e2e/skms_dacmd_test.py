# SPDX-License-Identifier: Apache-2.0
"""dacmd whose manifest keys come from the SKM-S: how it gets them, turns them, goes on while the
SKM-S is away, and what it believes of one that lies."""
import json
import threading
import unittest

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import harness
import keyserver
import provisioned
from configured import Issuer, wait_until
from harness import code_of, da
from keyserver import admin, keys
from provisioned import FakeSkms

CONTENT = b"an avatar " * 10000
AWAY = "the SKM-S is away"
UNSIGNED = "the manifest cannot be signed just now; try again in a minute"


def turns_at_once(_, config):
    config["keys"] = {"published_before_s": 1}


class Downloads(threading.Thread):
    """Downloads an asset again and again, each time verified; what failed, and by which keys."""

    def __init__(self, dacm, asset, gpsi):
        super().__init__()
        self.dacm, self.asset, self.gpsi = dacm, asset, gpsi
        self.stop, self.moved = threading.Event(), threading.Condition()
        self.done, self.kids, self.failures = 0, set(), []
        self.start()

    def run(self):
        stub = self.dacm.stub()
        while not self.stop.is_set():
            try:
                kid = self.dacm.manifest_kid(self.asset, self.gpsi, stub=stub)
            except Exception as failure:  # whatever it is, the test says it
                self.failures.append(failure)
                return
            with self.moved:
                self.done += 1
                self.kids.add(kid)
                self.moved.notify_all()

    def some_more(self):
        with self.moved:
            before = self.done
            self.moved.wait_for(lambda: self.done >= before + 5 or self.failures, 60)

    def end(self):
        self.stop.set()
        self.join()
        return self.failures


class Case(unittest.TestCase):
    def setUp(self):
        self.skms = keyserver.Skms(turns_at_once)
        self.addCleanup(self.skms.close)

    def dacm(self, policy=None, **options):
        dacm = provisioned.Dacm(self.skms, policy or {}, **options)
        self.addCleanup(dacm.stop)
        return dacm

    def stored(self, dacm):
        return dacm.upload(CONTENT, dacm.users[0]).asset_id

    def kid(self, dacm, asset):
        return dacm.manifest_kid(asset, dacm.users[0])

    def warning(self, dacm):
        return "".join(warning["text"] for warning in dacm.health()["warnings"]
                       if warning["name"] == "skms")

    def unavailable(self, call, *arguments):
        with self.assertRaises(grpc.RpcError) as error:
            call(*arguments)
        self.assertEqual(code_of(error), grpc.StatusCode.UNAVAILABLE, error.exception.details())
        self.assertEqual(error.exception.details(), UNSIGNED)  # of the SKM-S users hear nothing


class Provisioned(Case):
    # -- keys come

    def test_first_key_signs_and_is_published(self):
        dacm = self.dacm()
        self.assertEqual(self.kid(dacm, self.stored(dacm)), dacm.active())
        published = json.loads(dacm.https("/.well-known/jwks.json"))["keys"]
        self.assertEqual({key["kid"] for key in published}, set(dacm.listed()))
        self.assertNotIn("d", set().union(*published))
        self.assertEqual(self.warning(dacm), "")
        self.assertEqual(dacm.health()["status"], "ok")
        self.assertEqual(dacm.metric("skmc_connected"), 1)
        self.assertGreater(dacm.metric("skmc_signs_for_seconds"), 0)

    def test_private_halves_are_on_disk_sealed_only(self):
        dacm = self.dacm()
        self.stored(dacm)
        folder = dacm.folder / "kept"
        self.assertEqual({path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()},
                         dict.fromkeys(("kept.json", "trust.json", "lock", "sealing.key"), 0))
        client = keyserver.Client(self.skms, "opener.example")
        client.private.raw = harness.unb64url((folder / "sealing.key").read_text())
        client.public.raw = provisioned.x25519(client.private.raw)
        sealed = json.loads((folder / "kept.json").read_text())["sealed"]
        self.assertEqual({key["kid"] for key in sealed}, set(dacm.listed()))
        for key in sealed:
            seed = client.opened(harness.unb64url(key["jwk"]))["d"]
            for path in dacm.dir.rglob("*"):
                if path.is_file():
                    content = path.read_bytes()
                    self.assertNotIn(seed.encode(), content, path)
                    self.assertNotIn(harness.unb64url(seed), content, path)

    def test_without_enrolment_it_says_so_and_takes_a_token_that_comes_later(self):
        dacm = self.dacm(enrol=False)
        self.unavailable(self.stored, dacm)
        with self.assertRaises(Exception):
            dacm.health()  # 503
        self.assertIn("ask the operator of the SKM-S for a token", dacm.read_log())
        provisioned.put_token(self.skms, dacm.folder, dacm.NAME, dacm.audience)
        wait_until("dacmd's enrolment", lambda: "skms: enrolled" in dacm.read_log())
        wait_until("a key", lambda: dacm.metric("skmc_signs_for_seconds") > 0)
        self.assertEqual(self.kid(dacm, self.stored(dacm)), dacm.active())

    def test_token_of_another_service_and_one_that_was_used_are_refused(self):
        self.skms.add("https://other.example/")

        def others(dacm, _):
            provisioned.put_token(self.skms, dacm.folder, dacm.NAME, "https://other.example/")

        dacm = self.dacm(enrol=False, configure=others)
        self.assertIn("the token is of VAL service 'https://other.example/'", dacm.read_log())
        used = (dacm.folder / "token").read_text()
        self.unavailable(self.stored, dacm)
        provisioned.put_token(self.skms, dacm.folder, dacm.NAME, dacm.audience)
        wait_until("dacmd's enrolment", lambda: "skms: enrolled" in dacm.read_log())
        self.assertNotEqual(used, (dacm.folder / "token").read_text())

    def test_settings_that_cannot_work_are_named(self):
        dacm = self.dacm()
        good = dacm.config["skms"]
        for change, message in (
                ({"target": ""}, "'skms.target'"), ({"directory": ""}, "'skms.directory'"),
                ({"target": "tcp://127.0.0.1:1"}, "tls+tcp://"),
                ({"directory": "/nonexistent"}, "make it, of mode 0700"),
                ({"certificate": "/nonexistent"}, "skms")):
            dacm.config["skms"] = good | change
            dacm.write_config()
            done = dacm.spawn(["--check-config"], stderr=-1)
            told = done.communicate()[1].decode()
            self.assertEqual((done.returncode, message in told), (1, True), told)
        dacm.config["skms"] = good
        dacm.write_config()

    # -- keys turn

    def test_rotation_while_downloads_run_fails_none(self):
        dacm = self.dacm()
        asset = self.stored(dacm)
        first = self.kid(dacm, asset)
        running = [Downloads(dacm, asset, dacm.users[0]) for _ in range(3)]
        signed = [first]
        for _ in range(3):
            new = dacm.rotate()
            self.assertNotIn(new, signed)
            wait_until("the new key", lambda: self.kid(dacm, self.stored(dacm)) == new)  # noqa: B023
            signed.append(new)
            for thread in running:
                thread.some_more()
        self.assertEqual([thread.end() for thread in running], [[]] * 3)
        self.assertEqual(self.kid(dacm, asset), first)  # lazily: it is verify-only and lives on
        self.assertEqual(set().union(*(thread.kids for thread in running)), {first})

    def test_old_manifest_is_signed_again_in_time(self):
        def short(_, config):
            config["signing"]["manifest_life_s"] = 60  # a quarter is left after 45 s; so from then

        dacm = self.dacm(configure=short)
        asset = self.stored(dacm)
        first = self.kid(dacm, asset)
        new = dacm.rotate()
        wait_until("a manifest under the new key", lambda: self.kid(dacm, asset) == new, 90)
        self.assertNotEqual(first, new)
        self.assertNotIn("too_many_pings", self.skms.log())  # most of a minute without news

    def test_revoked_key_signs_and_serves_nothing_more_also_after_a_restart(self):
        dacm = self.dacm()
        asset = self.stored(dacm)
        running = Downloads(dacm, asset, dacm.users[0])
        first = self.kid(dacm, asset)
        running.some_more()
        running.end()
        dacm.revoke(first)
        new = dacm.active()
        wait_until("a manifest under the next key",
                   lambda: provisioned.kid_of(dacm.start_of(asset)) == new)
        for _ in range(5):
            self.assertEqual(self.kid(dacm, asset), new)
        states = {key["kid"]: key.get("dacm_state") for key in
                  json.loads(dacm.https("/.well-known/jwks.json"))["keys"]}
        self.assertEqual(states[first], "compromised")
        wait_until("its removal", lambda: first not in {
            key["kid"] for key in dacm.kept()["sealed"]})
        self.skms.kill()
        dacm.kill()
        dacm.run()
        self.assertEqual(provisioned.kid_of(dacm.start_of(asset)), new)

    # -- the SKM-S is away

    def test_serves_on_and_signs_while_the_skms_is_away_and_comes_back(self):
        dacm = self.dacm()
        asset = self.stored(dacm)
        first = self.kid(dacm, asset)
        self.skms.kill()
        wait_until("the warning", lambda: AWAY in self.warning(dacm))
        self.assertEqual(provisioned.kid_of(dacm.start_of(self.stored(dacm))), first)
        dacm.terminate()
        dacm.run()  # not even a restart needs it
        self.assertIn(AWAY, self.warning(dacm))
        self.assertEqual(dacm.metric("skmc_connected"), 0)
        self.assertEqual(provisioned.kid_of(dacm.start_of(asset)), first)
        self.assertEqual(provisioned.kid_of(dacm.start_of(self.stored(dacm))), first)
        self.skms.start()
        wait_until("the end of the warning", lambda: self.warning(dacm) == "")
        new = dacm.rotate()
        wait_until("the new key", lambda: self.kid(dacm, self.stored(dacm)) == new)

    def test_next_key_takes_over_while_the_skms_is_away(self):
        dacm = self.dacm({"active_s": 8})
        first = dacm.active()
        second = min(dacm.listed(keys.KEY_STATE_PRE_PUBLISHED).values(),
                     key=lambda key: key.signs_from)
        asset = self.stored(dacm)
        self.assertEqual(provisioned.kid_of(dacm.start_of(asset)), first)
        self.skms.kill()
        wait_until("the next key", lambda: provisioned.kid_of(
            dacm.start_of(self.stored(dacm))) == second.kid, 120)
        wait_until("the end of the last key", lambda: dacm.metric("skmc_signs_for_seconds") == 0, 120)
        self.unavailable(self.stored, dacm)
        self.assertIn(provisioned.kid_of(dacm.start_of(asset)), (first, second.kid))  # kept
        self.skms.start()
        wait_until("a key again", lambda: dacm.metric("skmc_signs_for_seconds") > 0, 60)
        self.stored(dacm)

    def test_replaced_root_is_followed(self):
        dacm = self.dacm()
        self.stored(dacm)
        self.skms.admin().RotateRoot(admin.RotateRootRequest())
        new = dacm.rotate()
        wait_until("the new key", lambda: self.kid(dacm, self.stored(dacm)) == new)
        self.skms.kill()
        dacm.terminate()
        self.skms.start()
        dacm.run()
        self.assertEqual(self.warning(dacm), "")
        self.assertEqual(dacm.metric("skmc_key_sets_refused_total"), 0)

    # -- who gives no keys

    def test_revoked_enrolment_is_told_and_a_new_token_mends_it(self):
        dacm = self.dacm()
        asset = self.stored(dacm)
        self.skms.admin().RevokeEnrolment(admin.RevokeEnrolmentRequest(
            val_service=dacm.audience, certificate_san=dacm.NAME))
        new = dacm.rotate()  # the key after the next one does not come
        wait_until("the warning", lambda: "gives us no keys" in self.warning(dacm))
        self.assertIn("was our enrolment revoked?", dacm.read_log())
        self.assertEqual(self.kid(dacm, self.stored(dacm)), new)  # it was here already
        self.kid(dacm, asset)
        provisioned.put_token(self.skms, dacm.folder, dacm.NAME, dacm.audience)
        wait_until("the end of the warning", lambda: self.warning(dacm) == "")
        wait_until("all keys", lambda: {key["kid"] for key in dacm.kept()["sealed"]} == {
            kid for kid, key in dacm.listed().items()
            if key.state in (keys.KEY_STATE_ACTIVE, keys.KEY_STATE_PRE_PUBLISHED)})

    def test_root_of_another_fingerprint_is_not_pinned(self):
        def wrong(_, config):
            config["skms"]["root_fingerprint"] = "SHA256:" + "A" * 43

        dacm = self.dacm(configure=wrong)
        self.assertIn("which is not that of 'skms.root_fingerprint'", dacm.read_log())
        self.unavailable(self.stored, dacm)
        self.assertFalse((dacm.folder / "kept" / "trust.json").exists())

    def test_certificates_are_read_again(self):
        dacm = self.dacm()
        self.skms.certificate(dacm.NAME, "--dns", dacm.NAME)
        self.assertTrue(dacm.reload())
        wait_until("the stream", lambda: dacm.metric("skmc_connected") == 1)
        new = dacm.rotate()
        wait_until("the new key", lambda: self.kid(dacm, self.stored(dacm)) == new)

    # -- keys that stay at the SKM-S

    def test_delegated_keys_turn_and_no_signature_fails(self):
        """Each upload is signed anew, in whatever moment of a turn it comes."""
        dacm = self.dacm({"delegated": True, "active_s": 3})
        seen = set()
        while len(seen) < 4:
            seen.add(provisioned.kid_of(dacm.start_of(self.stored(dacm))))
        self.assertEqual(dacm.metric("skmc_key_sets_refused_total"), 0)

    def test_delegated_keys_sign_there(self):
        dacm = self.dacm({"delegated": True})
        asset = self.stored(dacm)
        self.assertEqual(self.kid(dacm, asset), dacm.active())
        self.assertEqual(dacm.kept()["sealed"], [])
        self.assertGreater(dacm.metric("skmc_signatures_total"), 0)
        threads = [Downloads(dacm, self.stored(dacm), dacm.users[0]) for _ in range(4)]
        for thread in threads:
            thread.some_more()
        dacm.revoke(dacm.active())
        new = dacm.active()
        wait_until("the next key", lambda: provisioned.kid_of(dacm.start_of(asset)) == new)
        for thread in threads:
            thread.end()  # a revocation may meet a download that is being verified
        self.assertEqual(self.kid(dacm, asset), new)
        self.skms.kill()
        self.assertEqual(provisioned.kid_of(dacm.start_of(asset)), new)
        self.unavailable(self.stored, dacm)
        self.assertIn("the SKM-S does not sign: UNAVAILABLE: ", dacm.read_log())
        self.assertGreater(dacm.metric("skmc_signatures_failed_total"), 0)
        self.skms.start()
        wait_until("the SKM-S", lambda: dacm.metric("skmc_connected") == 1)
        self.stored(dacm)

    def test_delegated_keys_sign_for_a_certificate_of_several_services(self):
        dacm = self.dacm({"delegated": True})
        self.skms.add("https://another.example", delegated=True)
        client = keyserver.Client(self.skms, dacm.NAME)
        client.enrol(self.skms.token(dacm.NAME, "https://another.example"))
        self.assertEqual(self.kid(dacm, self.stored(dacm)), dacm.active())

    def test_revoked_enrolment_of_delegated_keys_is_told_and_a_new_token_mends_it(self):
        dacm = self.dacm({"delegated": True})
        self.stored(dacm)
        self.skms.admin().RevokeEnrolment(admin.RevokeEnrolmentRequest(
            val_service=dacm.audience, certificate_san=dacm.NAME))
        self.unavailable(self.stored, dacm)
        self.assertIn("a manifest is not signed", dacm.read_log())
        wait_until("the warning", lambda: "gives us no keys" in self.warning(dacm))
        provisioned.put_token(self.skms, dacm.folder, dacm.NAME, dacm.audience)
        wait_until("the end of the warning", lambda: self.warning(dacm) == "")
        self.assertEqual(self.kid(dacm, self.stored(dacm)), dacm.active())

    def test_keys_that_are_not_delegated_any_more_are_fetched_by_the_call_that_finds_it(self):
        dacm = self.dacm()
        dacm.terminate()
        kept = dacm.folder / "kept" / "kept.json"
        kept.write_text(json.dumps(dacm.kept() | {"delegated": True, "sealed": []}))
        dacm.run()
        self.assertEqual(self.kid(dacm, self.stored(dacm)), dacm.active())
        self.assertEqual({key["kid"] for key in dacm.kept()["sealed"]}, set(dacm.listed()))
        self.assertFalse(dacm.kept()["delegated"])
        self.assertEqual(dacm.metric("skmc_signatures_failed_total"), 1)


class Lying(Case):
    """At the SKM-S's address there is somebody else, with a certificate that is trusted."""

    def fake(self, dacm, **answers):
        if self.skms.process.poll() is None:
            self.skms.kill()
        fake = FakeSkms(self.skms, dacm.audience, **answers)
        self.addCleanup(fake.stop)
        return fake

    def refused(self, dacm, told, before, asset):
        """The lie is told and counted, and nothing else changes."""
        wait_until("the refusal", lambda: dacm.metric("skmc_key_sets_refused_total") > before)
        self.assertIn(told, dacm.read_log())
        self.assertIn("refused", self.warning(dacm))
        self.assertEqual(provisioned.kid_of(dacm.start_of(asset)), self.signer)
        self.assertEqual(provisioned.kid_of(dacm.start_of(self.stored(dacm))), self.signer)

    def truth(self, dacm, purpose=keys.PURPOSE_MANIFESTS):
        return self.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=dacm.audience, purpose=purpose))

    def turned(self):
        """A dacmd that has seen two versions, the first of them, and an asset."""
        dacm = self.dacm()
        old = self.truth(dacm)
        self.signer = dacm.rotate()
        wait_until("the new key", lambda: self.kid(dacm, self.stored(dacm)) == self.signer)
        return dacm, old, self.stored(dacm)

    def test_older_set_is_refused_also_after_a_restart(self):
        dacm, old, asset = self.turned()
        self.fake(dacm, key_set=old)
        self.refused(dacm, "is an old one", 0, asset)
        dacm.terminate()
        dacm.run()
        self.refused(dacm, "is an old one", 0, asset)

    def test_set_of_another_purpose_is_refused(self):
        dacm, _, asset = self.turned()
        tokens = self.truth(dacm, keys.PURPOSE_TOKENS)
        self.fake(dacm, key_set=tokens)
        self.refused(dacm, "skms: a key set is refused", 0, asset)

    def test_set_of_another_root_is_refused(self):
        dacm, _, asset = self.turned()
        other = keyserver.Skms()
        self.addCleanup(other.close)
        other.add(dacm.audience)
        foreign = other.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=dacm.audience, purpose=keys.PURPOSE_MANIFESTS))
        self.fake(dacm, key_set=foreign)
        self.refused(dacm, "skms: a key set is refused", 0, asset)

    def test_garbage_is_refused(self):
        dacm, _, asset = self.turned()
        for before, jws in enumerate(("", "a.b.c", "x" * 70000)):
            fake = self.fake(dacm, key_set=keys.KeySet(version=99, jws=jws))
            self.refused(dacm, "skms: a key set is refused", before, asset)
            fake.stop()

    def test_private_half_of_another_key_is_not_used(self):
        dacm = self.dacm(enrol=False)
        truth = self.truth(dacm)
        root = self.skms.admin().GetRoot(admin.GetRootRequest()).jwk
        fake = self.fake(dacm, key_set=truth, root=root)
        (dacm.folder / "token").write_text("whatever")
        (dacm.folder / "token").chmod(0o600)
        wait_until("the refusal", lambda: "is not that of the key" in dacm.read_log())
        self.assertGreater(fake.released, 0)
        self.unavailable(self.stored, dacm)


class TokenKeys(Case):
    """A SIM-S whose token keys are at the SKM-S, where dacmd watches their set."""

    SIMS = "https://sims.example"

    def setUp(self):
        super().setUp()
        self.skms.add(self.SIMS)
        self.sims = self.skms.client("sims.example", self.SIMS)

    def dacm(self, policy=None, **options):
        def watch(_, config):
            config["issuers"].append({"issuer": self.SIMS, "jwks_skms": True})
        return super().dacm(policy, configure=watch, **options)

    def issuers(self):
        """The SIM-S with each of its keys, by their windows."""
        return [Issuer(self.SIMS, kid=jwk["kid"], key=Ed25519PrivateKey.from_private_bytes(
            harness.unb64url(jwk["d"]))) for jwk in self.sims.keys(keys.PURPOSE_TOKENS)[1]]

    def code(self, dacm, issuer, asset):
        owner = dacm.users[0]
        token = issuer.token(dacm, owner, asset, [owner])
        try:
            dacm.download(asset, owner, token=token)
            return None
        except grpc.RpcError as error:
            return error.code()

    def revoked(self, issuer):
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=issuer.kid, reason="a test"))

    def test_revoked_token_key_is_refused_and_its_streams_end(self):
        dacm = self.dacm()
        first, second = self.issuers()
        owner = dacm.users[0]
        asset = dacm.upload(CONTENT * 200, owner).asset_id
        self.assertIsNone(self.code(dacm, first, asset))
        self.assertIsNone(self.code(dacm, second, asset))  # published before its turn
        running = dacm.stub().Download(
            da.DownloadRequest(asset_id=asset, gpsi=owner), timeout=120,
            metadata=harness.bearer(first.token(dacm, owner, asset, [owner])))
        next(running)
        self.revoked(first)
        with self.assertRaises(grpc.RpcError) as error:
            wait_until("the end of the download", lambda: next(running) is None)
        self.assertEqual(code_of(error), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.code(dacm, first, asset), grpc.StatusCode.UNAUTHENTICATED)
        self.assertIsNone(self.code(dacm, second, asset))

    def test_root_of_a_file_and_manifest_keys_of_another(self):
        """No enrolment: dacmd only verifies."""
        def own(dacm, config):
            config["signing"] = {"source": "file", "key_file": f"{dacm.dir}/pki/manifest.jwks"}
            config["issuers"].append({"issuer": self.SIMS, "jwks_skms": True})
            root = dacm.folder / "root.jwk"
            root.write_text(self.skms.admin().GetRoot(admin.GetRootRequest()).jwk)
            config["skms"] |= {"root_file": str(root), "enrolment_file": ""}

        dacm = provisioned.Dacm(self.skms, configure=own, enrol=False)
        self.addCleanup(dacm.stop)
        asset = dacm.upload(CONTENT, dacm.users[0]).asset_id
        dacm.manifest_claims = lambda jws: keyserver.jws_parts(jws)[1]
        first, second = self.issuers()
        self.assertIsNone(self.code(dacm, first, asset))
        self.revoked(first)
        wait_until("the refusal", lambda: self.code(dacm, first, asset) ==
                   grpc.StatusCode.UNAUTHENTICATED)
        self.skms.kill()
        self.assertIsNone(self.code(dacm, second, asset))
        dacm.terminate()
        dacm.run()
        self.assertEqual(self.code(dacm, first, asset), grpc.StatusCode.UNAUTHENTICATED)
        self.assertIsNone(self.code(dacm, second, asset))
        dacm.config["issuers"].append({"issuer": "https://new.example", "jwks_skms": True})
        dacm.write_config()
        self.assertFalse(dacm.reload())
        self.assertIn("restart to watch", dacm.read_log())

    def test_manifest_key_signs_no_token(self):
        """Although its set is at the same SKM-S."""
        dacm = self.dacm()
        asset = self.stored(dacm)
        opened = keyserver.Client(self.skms, "thief.example")
        opened.private.raw = harness.unb64url((dacm.folder / "kept/sealing.key").read_text())
        opened.public.raw = provisioned.x25519(opened.private.raw)
        key = opened.opened(harness.unb64url(dacm.kept()["sealed"][0]["jwk"]))
        forger = Issuer(self.SIMS, kid=key["kid"], key=Ed25519PrivateKey.from_private_bytes(
            harness.unb64url(key["d"])))
        self.assertEqual(self.code(dacm, forger, asset), grpc.StatusCode.UNAUTHENTICATED)


if __name__ == "__main__":
    unittest.main()
