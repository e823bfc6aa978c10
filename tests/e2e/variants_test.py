# SPDX-License-Identifier: Apache-2.0
"""Adapted copies over the wire: what is signed about them, that each is made once, kept within its
budget and served to nobody else's recipe, and what is refused."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import zlib

import grpc

import harness
from configured import Server, request_id_of, wait_until
from harness import bearer, code_of, da, da_grpc, unb64url

SKEW_SECONDS = 30  # for which a token is taken after its end
MAKER = harness.SOURCE / "tests" / "data" / "make-avatar"


def drawn(kind="humanoid", seed=1):
    with tempfile.NamedTemporaryFile(suffix=".glb") as file:
        subprocess.run(["/usr/bin/python3", MAKER, "--kind", kind, "--seed", str(seed), "-o",
                        file.name], check=True)
        return file.read()


def gltf_of(glb):
    assert glb[:4] == b"glTF", glb[:16]
    return json.loads(glb[20:20 + int.from_bytes(glb[12:16], "little")])


def programs_of(server):
    """The processes dacm-media that dacmd has started, by their number."""
    threads = pathlib.Path(f"/proc/{server.daemon.pid}/task")
    children = [pathlib.Path("/proc", pid) for thread in threads.iterdir()
                for pid in (thread / "children").read_text().split()]
    return [int(child.name) for child in children
            if (child / "comm").read_text().strip() == "dacm-media"]


def gray_png(side):
    def chunk(kind, data):
        return (len(data).to_bytes(4, "big") + kind + data +
                zlib.crc32(kind + data).to_bytes(4, "big"))
    size = side.to_bytes(4, "big")
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + size + bytes((8, 0, 0, 0, 0))) +
            chunk(b"IDAT", zlib.compress(bytes(side * (side + 1)))) + chunk(b"IEND", b""))


LOW = da.Recipe(preset=da.PRESET_LOW)


class Case(unittest.TestCase):
    media = {}

    @classmethod
    def setUpClass(cls):
        def configure(_, config):
            config["media"] = {"workers": 1, **cls.media}
            return config

        cls.server = Server(configure)
        cls.owner, cls.other = cls.server.users[:2]
        cls.source = drawn()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.read_log()

    def metric(self, name):
        found = re.search("^" + re.escape(name) + r" (\S+)$", self.server.https("/metrics"), re.M)
        self.assertIsNotNone(found, name)
        return float(found.group(1))

    def made(self):
        return self.metric('dacm_adaptations_total{result="made"}')

    def failed(self):
        return self.metric('dacm_adaptations_total{result="failed"}')

    def stored(self, content=None, **options):
        return self.server.upload(content or self.source, self.owner, **options).asset_id

    def logged(self, message):
        lines = [line for line in self.server.read_log().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["message"] == message]

    def get(self, asset, recipe=LOW, **fields):
        return self.server.download(asset, self.owner, recipe=recipe, **fields)

    def refused(self, code, *words, asset=None, recipe=LOW, user=None, **fields):
        user = user or self.owner
        with self.assertRaises(grpc.RpcError) as error:
            self.server.download(asset, user, recipe=recipe, **fields)
        self.assertEqual(code_of(error), code, error.exception.details())
        for word in words:
            self.assertIn(word, error.exception.details())
        return error.exception

    def variants(self, asset, **fields):
        token = self.server.token(self.owner, asset, ["get"], [self.owner])
        return self.server.stub().ListVariants(
            da.ListVariantsRequest(asset_id=asset, gpsi=self.owner, **fields),
            metadata=bearer(token), timeout=60)


class Variants(Case):
    def test_what_is_signed_about_a_variant(self):
        asset = self.stored()
        content, claims, _ = self.get(asset)
        self.assertEqual(claims["recipe"], '{"lod":2,"texture_size_limit":256}')
        self.assertEqual(unb64url(claims["source_sha256"]), hashlib.sha256(self.source).digest())
        self.assertEqual(claims["version"], 1)
        self.assertEqual(claims["media_type"], "model/gltf-binary")
        figures = claims["figures"]
        source = gltf_of(self.source)
        self.assertLess(figures["triangles"], sum(
            source["accessors"][p["indices"]]["count"] // 3
            for mesh in source["meshes"] for p in mesh["primitives"]))
        self.assertLessEqual(figures["texture_size"], 256)
        adapted = gltf_of(content)
        self.assertEqual(len(adapted["skins"]), len(source["skins"]))
        self.assertEqual(adapted["extensions"].keys(), source["extensions"].keys())
        self.assertEqual(claims["licence"]["vrm"], "1.0")
        meta = source["extensions"]["VRMC_vrm"]["meta"]
        self.assertEqual(claims["licence"]["licenseUrl"], meta["licenseUrl"])
        original, claims, _ = self.server.download(asset, self.owner)
        self.assertEqual(original, self.source)
        self.assertFalse({"recipe", "source_sha256", "figures"} & claims.keys())

    def test_recipe_that_asks_for_nothing_gives_the_original(self):
        asset = self.stored()
        for recipe in da.Recipe(), da.Recipe(lod=0), da.Recipe(texture_quality=80):
            content, claims, _ = self.get(asset, recipe)
            self.assertEqual(content, self.source)
            self.assertNotIn("recipe", claims)

    def test_variant_is_kept_also_over_a_restart(self):
        asset = self.stored()
        first = self.get(asset)
        made = self.made()
        self.assertEqual(self.get(asset)[0], first[0])
        self.assertEqual(self.made(), made)
        self.assertEqual(self.server.terminate(), 0)
        self.server.run()
        content, claims, _ = self.get(asset)
        self.assertEqual(content, first[0])
        self.assertEqual(self.made(), 0)
        self.assertEqual(claims["sha256"], first[1]["sha256"])

    def test_same_source_and_recipe_give_the_same_bytes(self):
        first, second = self.get(self.stored()), self.get(self.stored())
        self.assertEqual(first[0], second[0])

    def test_a_hundred_clients_cause_one_adaptation(self):
        asset = self.stored()
        before = self.made()
        with concurrent.futures.ThreadPoolExecutor(100) as pool, self.server.channel() as channel:
            stub = self.server.stub(channel)
            told = list(pool.map(lambda _: self.get(asset, stub=stub)[0], range(100)))
        self.assertEqual(len(set(told)), 1)
        self.assertEqual(self.made(), before + 1)

    def test_range_and_not_modified(self):
        asset = self.stored()
        content, claims, _ = self.get(asset)
        _, _, start = self.get(asset, if_none_match=unb64url(claims["sha256"]))
        self.assertTrue(start.not_modified)
        _, _, start = self.get(asset, if_none_match=hashlib.sha256(self.source).digest())
        self.assertFalse(start.not_modified)
        part, _, _ = self.get(asset, range=da.ByteRange(offset=0, length=1))
        self.assertEqual(part, content[:len(part)])
        have = da.Have(manifest_sha256=hashlib.sha256(start.manifest.encode()).digest())
        wait_until("the manifest, which is kept behind its first answer",
                   lambda: self.get(asset, have=have)[2].send_bytes == 0)

    def test_list_of_variants(self):
        asset = self.stored()
        self.assertEqual(list(self.variants(asset).variants), [])
        claims = [self.get(asset, recipe)[1] for recipe in (LOW, da.Recipe(base_avatar=True))]
        told = self.variants(asset)
        self.assertEqual(told.version, 1)
        self.assertEqual({variant.recipe for variant in told.variants},
                         {claim["recipe"] for claim in claims})
        for variant in told.variants:
            claim = next(c for c in claims if c["recipe"] == variant.recipe)
            self.assertEqual(variant.figures.bytes, claim["size"])
            self.assertEqual(variant.figures.triangles, claim["figures"]["triangles"])
            self.assertEqual(variant.media_type, claim["media_type"])
            self.assertGreater(variant.created_at, 0)
        with self.assertRaises(grpc.RpcError) as error:
            self.variants(asset, version=2)
        self.assertEqual(code_of(error), grpc.StatusCode.NOT_FOUND)
        token = self.server.token(self.other, asset, ["get"], [self.other])
        with self.assertRaises(grpc.RpcError) as error:
            self.server.stub().ListVariants(
                da.ListVariantsRequest(asset_id=asset, gpsi=self.other), metadata=bearer(token))
        self.assertEqual(code_of(error), grpc.StatusCode.PERMISSION_DENIED)

    def test_list_of_very_many_variants_says_that_there_are_more(self):
        asset = self.stored(drawn("prop"))
        names = [f"EXT_{i:0120}" for i in range(15)]
        recipes = [da.Recipe(accepts=da.Accepts(extensions=[*names, f"EXT_{i}"],
                                                media_types=["image/png"])) for i in range(1001)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool, self.server.channel() as channel:
            stub = self.server.stub(channel)
            token = self.server.token(self.owner, asset, ["get"], [self.owner])
            for _ in pool.map(lambda recipe: self.get(asset, recipe, stub=stub, token=token),
                              recipes[:1000]):
                pass
            told = self.variants(asset)
            self.assertEqual((len(told.variants), told.more), (1000, False))
            self.get(asset, recipes[1000], stub=stub)
        told = self.variants(asset)
        self.assertEqual((len({one.recipe for one in told.variants}), told.more), (1000, True))
        shown = self.server.cli("variants", asset, "--as", self.owner, check=True).stdout
        self.assertIn("and more: these are the first 1000", shown)

    def test_variants_go_with_their_asset(self):
        asset = self.stored()
        self.get(asset)
        before = self.metric("dacm_variants")
        token = self.server.token(self.owner, asset, ["delete"], [self.owner])
        self.server.stub().DeleteProfile(
            da.DeleteProfileRequest(asset_id=asset, gpsi=self.owner), metadata=bearer(token))
        self.assertEqual(self.metric("dacm_variants"), before - 1)

    def test_variant_is_of_the_recipe_version_and_asset_that_were_asked_for(self):
        """Random recipes, every answer checked against what was asked."""
        seed = random.randrange(1 << 32)
        choose = random.Random(seed)
        sources = {}
        for number in range(2):
            content = drawn(seed=10 + number)
            asset = self.stored(content)
            sources[asset, 1] = content
            sources[asset, 2] = drawn(seed=20 + number)
            self.server.upload(sources[asset, 2], self.owner, asset=asset)
        seen = {}
        for _ in range(60):
            asset, version = choose.choice(sorted(sources))
            size, lod = choose.choice((16, 32, 64)), choose.choice((0, 1, 2))
            base = choose.random() < 0.5
            recipe = da.Recipe(lod=lod, texture_size_limit=size, base_avatar=base)
            content, claims, _ = self.get(asset, recipe, version=version)
            with self.subTest(seed=seed, asset=asset, version=version, recipe=str(recipe)):
                asked = {"texture_size_limit": size} | ({"lod": lod} if lod else {}) | (
                    {"base": True} if base else {})
                self.assertEqual(json.loads(claims["recipe"]), asked)
                self.assertEqual((claims["asset_id"], claims["version"]), (asset, version))
                self.assertEqual(unb64url(claims["source_sha256"]),
                                 hashlib.sha256(sources[asset, version]).digest())
                self.assertLessEqual(claims["figures"]["texture_size"], size)
                self.assertEqual("animations" in gltf_of(content), not base)
                key = asset, version, claims["recipe"]
                self.assertEqual(seen.setdefault(key, content), content)


class Other(da_grpc.DigitalAssetsServicer):
    """Stands between client and dacmd, with its certificate, and asks for another recipe."""

    def __init__(self, server):
        self.upstream, self.recipe = server.stub(), None
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        da_grpc.add_DigitalAssetsServicer_to_server(self, self.server)
        chain, key = ((server.dir / "pki" / f"dacmd.{kind}").read_bytes() for kind in ("crt", "key"))
        port = self.server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        self.target = f"tls+tcp://localhost:{port}"
        self.server.start()

    def ListVariants(self, request, context):  # noqa: N802
        return da.ListVariantsResponse(version=1, variants=[self.listed])

    def Download(self, request, context):  # noqa: N802
        request.ClearField("recipe")
        if self.recipe:
            request.recipe.CopyFrom(self.recipe)
        metadata = [pair for pair in context.invocation_metadata()
                    if pair[0] in ("authorization", "dacm-token")]
        yield from self.upstream.Download(request, metadata=metadata, timeout=120)


class Command(Case):
    """dacm get, which is libdacm."""

    def dacm_get(self, asset, *arguments, code=0, **options):
        done = self.server.cli("--json", "get", asset, "-o", self.file, "--as", self.owner,
                               *arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout or done.stderr)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dacm-variants-")
        self.addCleanup(folder.cleanup)
        self.file = folder.name + "/avatar.glb"
        self.asset = self.stored()

    def content(self):
        with open(self.file, "rb") as file:
            return file.read()

    def test_get_with_a_preset(self):
        told = self.dacm_get(self.asset, "--preset", "low")
        self.assertEqual(told["recipe"], {"lod": 2, "texture_size_limit": 256})
        self.assertEqual(self.content(), self.get(self.asset)[0])
        self.assertEqual(told["source_sha256"], hashlib.sha256(self.source).hexdigest())
        self.assertLessEqual(told["figures"]["texture_size"], 256)
        verified = self.server.cli("--json", "verify", self.file)
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertEqual(json.loads(verified.stdout)["recipe"], told["recipe"])
        self.assertNotIn("recipe", self.dacm_get(self.asset))
        self.assertEqual(self.content(), self.source)

    def test_people_are_told_what_the_variant_has_and_what_its_author_permits(self):
        figures = self.dacm_get(self.asset, "--preset", "low")["figures"]
        got = self.server.cli("get", self.asset, "-o", self.file, "--as", self.owner, "--preset",
                              "low", "--mesh-compression", "meshopt")
        self.assertEqual(got.returncode, 0, got.stderr)
        verified = self.server.cli("verify", self.file)
        for told in got.stdout, verified.stdout:
            self.assertIn("version 1 adapted", told)
            self.assertRegex(told, rf"(?m)^  {figures['triangles']} triangles, .* joints$")
            self.assertRegex(told, "(?m)^  needs EXT_meshopt_compression$")
            self.assertRegex(told, '(?m)^  modification +"allowModification')
        original = self.server.cli("get", self.asset, "-o", self.file, "--as", self.owner)
        self.assertNotIn("adapted", original.stdout)
        self.assertNotIn("triangles", original.stdout)

    def test_variants_lists_what_is_kept_and_what_it_cost(self):
        who = ("--as", self.owner)
        none = self.server.cli("variants", self.asset, *who, check=True)
        self.assertIn("version 1: no adapted copy is kept; dacm get --preset low", none.stdout)
        self.assertEqual(self.server.cli("--json", "variants", self.asset, *who).stdout, "")
        got = self.dacm_get(self.asset, "--preset", "low")
        other = self.dacm_get(self.asset, "--max-triangles", "100", "--texture-size", "16")
        listed = self.server.cli("--json", "variants", self.asset, *who, check=True)
        found = {json.dumps(one["recipe"]): one for one in map(json.loads, listed.stdout.splitlines())}
        self.assertEqual(len(found), 2)
        for told in got, other:
            one = found[json.dumps(told["recipe"])]
            for name in "version", "media_type", "size", "figures":
                self.assertEqual(one[name], told[name])
            self.assertGreater(one["created_at"], 0)
        shown = self.server.cli("variants", self.asset, "--version", "1", *who, check=True)
        self.assertRegex(shown.stdout, rf"(?m)^ .* {got['figures']['triangles']} .* px +\d+ ms .*"
                                       r'\{"lod":2,"texture_size_limit":256\}$')
        for code, words, *arguments in ((4, "no such version", self.asset, "--version", "2"),
                                        (3, "request", "0" * 32), (2, "which asset")):
            refused = self.server.cli("variants", *arguments, *who)
            self.assertEqual(refused.returncode, code, refused.stderr)
            self.assertIn(words, refused.stderr)

    def test_list_of_a_server_that_lies(self):
        other = Other(self.server)
        self.addCleanup(lambda: other.server.stop(None).wait())
        sound = da.Variant(recipe="{}", media_type="model/gltf-binary", figures=da.Figures(bytes=7))
        arguments = ("variants", self.asset, "--as", self.owner, "--server", other.target)
        for code, changes in ((0, {}), (0, {"recipe": "no JSON"}), (0, {"recipe": "\u009b2J"}),
                              (1, {"recipe": "\x1b[2J"}), (1, {"media_type": "a\x1b[2J"}),
                              (1, {"figures": da.Figures(extensions_required=["\u009b2J"])})):
            other.listed = da.Variant()
            other.listed.CopyFrom(sound)
            other.listed.MergeFrom(da.Variant(**changes))
            for form in (), ("--json",):
                with self.subTest(changes=changes, form=form):
                    told = self.server.cli(*form, *arguments)
                    self.assertEqual(told.returncode, code, told)
                    self.assertNotIn("\x1b", told.stdout + told.stderr)
                    self.assertNotIn("\u009b", told.stdout + told.stderr)
        other.listed.CopyFrom(da.Variant(recipe="no JSON", figures=sound.figures))
        told = json.loads(self.server.cli("--json", *arguments).stdout)
        self.assertEqual((told["recipe"], told["size"]), (None, 7))
        other.listed.ClearField("figures")
        self.assertIn("malformed", self.server.cli(*arguments).stderr)

    def test_recipe_that_is_wrong_reaches_no_server(self):
        told = self.dacm_get(self.asset, "--texture-size", "9", code=2)
        self.assertIn("texture", json.dumps(told))

    def test_manifest_of_another_recipe_is_refused(self):
        other = Other(self.server)
        self.addCleanup(lambda: other.server.stop(None).wait())
        for asked, answered in (("low", None), ("low", da.Recipe(preset=da.PRESET_MEDIUM)),
                                (None, LOW)):
            other.recipe = answered
            with self.subTest(asked=asked, answered=str(answered)):
                arguments = ["--preset", asked] if asked else []
                told = self.dacm_get(
                    self.asset, "--server", other.target, *arguments, code=5)
                self.assertIn("recipe", told["error"]["message"])


class Missing(Case):
    """The program dacm-media goes while dacmd runs, and comes back."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="dacm-media-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.program = pathlib.Path(cls.folder.name, "dacm-media")
        shutil.copy(harness.BIN / "dacm-media", cls.program)
        cls.media = {"program": str(cls.program)}
        super().setUpClass()

    def warned(self):
        return "media.program" in json.dumps(self.server.health()["warnings"])

    def test_it_is_told_in_health_metrics_and_log(self):
        asset = self.stored()
        self.assertFalse(self.warned())
        self.assertEqual(self.metric("dacm_adaptations_possible"), 1)
        gone = self.program.rename(self.program.with_suffix(".gone"))
        for pid in programs_of(self.server):
            os.kill(pid, signal.SIGKILL)
        wait_until("the warning", self.warned)
        self.assertEqual(self.metric("dacm_adaptations_possible"), 0)
        self.refused(grpc.StatusCode.UNAVAILABLE, "cannot be started", asset=asset)
        done = self.server.spawn(["--check-config"], stdout=-1, stderr=-1, text=True)
        said = done.communicate(timeout=60)
        self.assertEqual(done.returncode, 1, said)
        self.assertIn("'media.program': cannot run", said[1])
        self.server.reload()  # keys are read again all the same
        gone.rename(self.program)
        wait_until("no warning", lambda: not self.warned())
        self.assertEqual(self.metric("dacm_adaptations_possible"), 1)
        self.get(asset)
        told = [line["what"] for line in self.logged("media workers")]
        self.assertIn("cannot run", told[-2])
        self.assertRegex(told[-1], "the worker program runs, up to 1 workers|has no landlock")


# As on a kernel without landlock: landlock_create_ruleset() answers ENOSYS in what this becomes.
WITHOUT_LANDLOCK = """#!/usr/bin/python3
import ctypes, os, struct
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050026), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("program", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(rules), ctypes.addressof(program))), 0, 0) == 0
os.execv("PROGRAM", ["dacm-media"])
"""


class WithoutLandlock(Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="dacm-media-")
        cls.addClassCleanup(folder.cleanup)
        wrapper = pathlib.Path(folder.name, "dacm-media")
        wrapper.write_text(WITHOUT_LANDLOCK.replace("PROGRAM", str(harness.BIN / "dacm-media")))
        wrapper.chmod(0o755)
        cls.media = {"program": str(wrapper)}
        super().setUpClass()

    def test_the_operator_is_warned_and_avatars_are_adapted(self):
        self.assertIn("no landlock", json.dumps(self.server.health()["warnings"]))
        self.assertIn("no landlock", self.logged("media workers")[-1]["what"])
        self.assertLess(len(self.get(self.stored())[0]), len(self.source))


class Waiting(Case):
    """While a variant is being made: by a worker that is held up until the test lets it go."""
    media = {"deadline_ms": 120000}

    def setUp(self):
        self.asset = self.stored(allow=[self.other])
        wait_until("the end of other jobs", lambda: self.metric(
            "dacm_adaptations_running") == 0 and programs_of(self.server))
        self.program, = programs_of(self.server)
        self.signal(signal.SIGSTOP)
        self.addCleanup(self.signal, signal.SIGCONT)

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # held up for long it is started again
            os.kill(self.program, number)

    def asked(self, user=None, token=None, recipe=LOW, asset=None):
        """The call of a download."""
        user, asset = user or self.other, asset or self.asset
        token = token or self.server.token(user, asset, ["get"], [user])
        channel = self.server.channel()
        self.addCleanup(channel.close)
        return self.server.stub(channel).Download(
            da.DownloadRequest(asset_id=asset, gpsi=user, recipe=recipe),
            metadata=bearer(token), timeout=120)

    def await_worker(self):
        wait_until("a worker's job", lambda: self.metric("dacm_adaptations_running") == 1)

    def ends_with_nothing(self, call, code, *words):
        """Though the worker is held up still."""
        told = []
        with self.assertRaises(grpc.RpcError) as error:
            told.extend(call)
        self.assertEqual(code_of(error), code, error.exception.details())
        self.assertEqual(told, [])
        for word in words:
            self.assertIn(word, error.exception.details())

    def changed(self, method, action, **fields):
        token = self.server.token(self.owner, self.asset, [action], [self.owner])
        return getattr(self.server.stub(), method)(
            getattr(da, method + "Request")(asset_id=self.asset, gpsi=self.owner, **fields),
            metadata=bearer(token), timeout=60)

    def test_user_who_is_taken_off_the_list(self):
        call, stays = self.asked(), self.asked(self.owner)
        self.await_worker()
        self.changed("UpdateProfile", "update", deny=[self.other])
        self.ends_with_nothing(call, grpc.StatusCode.PERMISSION_DENIED)
        self.signal(signal.SIGCONT)
        self.assertEqual(self.server.check_download(stays)[0], self.get(self.asset)[0])

    def test_asset_that_is_deleted(self):
        before = self.metric("dacm_variants")
        call = self.asked()
        self.await_worker()
        self.changed("DeleteProfile", "delete")
        self.ends_with_nothing(call, grpc.StatusCode.PERMISSION_DENIED)
        self.signal(signal.SIGCONT)
        wait_until("the worker's end", lambda: self.metric("dacm_adaptations_running") == 0)
        self.assertEqual(self.metric("dacm_variants"), before)

    def test_who_follows_a_hog_does_not_wait_for_his_queue(self):
        asset = self.stored(gray_png(4096), media_type="image/png", allow=[self.other])
        hogs = [self.asked(recipe=da.Recipe(texture_size_limit=64 + i), asset=asset)
                for i in range(10)]
        wait_until("a queue", lambda: self.metric("dacm_adaptations_queued") == 9)
        hogs.append(self.asked(asset=asset))
        wait_until("the hog's last", lambda: self.metric("dacm_adaptations_queued") == 10)
        joined = self.metric("dacm_adaptations_joined_total")
        follows = self.asked(self.owner, asset=asset)
        wait_until("a follower", lambda: self.metric("dacm_adaptations_joined_total") > joined)
        self.signal(signal.SIGCONT)
        self.server.check_download(follows)
        self.assertGreater(self.metric("dacm_adaptations_queued"), 0)
        for call in hogs:
            self.server.check_download(call)

    if harness.FULL:  # takes more than a minute
        def test_command_that_waits_longer_than_a_minute(self):
            def get():
                return self.server.cli("get", self.asset, "-o", self.server.dir / "late.glb", "--as",
                                       self.owner, "--preset", "low")
            left = self.metric('dacm_adaptations_total{result="left"}')
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                call = pool.submit(get)
                self.await_worker()
                with self.assertRaises(concurrent.futures.TimeoutError):
                    call.result(70)  # more than any other stream may be silent
                self.signal(signal.SIGCONT)
                done = call.result()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.metric('dacm_adaptations_total{result="left"}'), left)

    def test_token_that_expires(self):
        now = int(time.time())
        call = self.asked(token=self.server.token(
            self.other, self.asset, ["get"], [self.other], iat=now - 60, exp=now - SKEW_SECONDS + 5))
        self.await_worker()
        self.ends_with_nothing(call, grpc.StatusCode.UNAUTHENTICATED, "expired while")


class Refused(Case):
    def test_who_may_not_get_the_asset_causes_no_adaptation(self):
        asset = self.stored()
        self.refused(grpc.StatusCode.PERMISSION_DENIED, asset=asset, user=self.other)
        self.assertEqual(list(self.variants(asset).variants), [])

    def test_recipe_with_a_field_of_tomorrow(self):
        asset = self.stored()
        recipe = da.Recipe.FromString(LOW.SerializeToString() + bytes((0xf8, 0x07, 0x01)))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "does not know", asset=asset, recipe=recipe)

    def test_recipes_that_are_wrong_name_the_field(self):
        asset = self.stored()
        for field, recipe in (("lod", da.Recipe(lod=3)),
                              ("max_triangles", da.Recipe(max_triangles=0)),
                              ("texture_size_limit", da.Recipe(texture_size_limit=15)),
                              ("texture_quality", da.Recipe(texture_quality=101)),
                              ("preset", da.Recipe(preset=9)),
                              ("accept", da.Recipe(accepts=da.Accepts(extensions=["a b"])))):
            with self.subTest(field):
                self.refused(grpc.StatusCode.INVALID_ARGUMENT, field, asset=asset, recipe=recipe)

    def test_broken_avatars_say_what_is_wrong_and_cost_once(self):
        for kind in "truncated", "json-deep", "accessor-huge", "node-cycle", "text":
            with self.subTest(kind):
                asset = self.stored(drawn(kind))
                failed = self.failed()
                error = self.refused(grpc.StatusCode.UNIMPLEMENTED if kind == "text" else
                                     grpc.StatusCode.FAILED_PRECONDITION, asset=asset)
                self.assertGreater(len(error.details()), 20)
                self.refused(error.code(), asset=asset)
                self.assertEqual(self.failed(), failed + 1)
                self.assertEqual(self.server.download(asset, self.owner)[0], drawn(kind))

    def test_the_operator_is_told_why(self):
        asset = self.stored(drawn("truncated"))
        told = self.server.explain(request_id_of(self.refused(
            grpc.StatusCode.FAILED_PRECONDITION, asset=asset)))
        self.assertEqual(told["reason"], "after the decision")
        self.assertIn("the asset was not adapted (recipe: the asset cannot be adapted, ask for the "
                      "original: gltf: GLB", told["detail"])
        line, = [line for line in self.logged("an asset is not adapted") if line["asset"] == asset]
        self.assertIn("gltf: GLB", line["why"])
        self.assertEqual(json.loads(line["recipe"])["lod"], 2)

    def test_what_the_client_cannot_decode_is_refused(self):
        asset = self.stored()
        recipe = da.Recipe(mesh_compression=da.MESH_COMPRESSION_MESHOPT,
                           accepts=da.Accepts(extensions=["KHR_mesh_quantization"]))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "mesh_compression", asset=asset,
                     recipe=recipe)
        recipe = da.Recipe(quantization=da.QUANTIZATION_STANDARD, accepts=da.Accepts())
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "quantization", asset=asset,
                     recipe=recipe)
        self.assertEqual(list(self.variants(asset).variants), [])

    def test_budget_of_bytes_that_is_out_of_reach(self):
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "max_bytes", asset=self.stored(),
                     recipe=da.Recipe(max_bytes=10))


class Scarce(Case):
    def test_want_of_descriptors_is_not_remembered_against_the_asset(self):
        asset = self.stored()
        server = self.server.daemon.pid
        with self.server.channel() as channel:
            stub = self.server.stub(channel)
            self.server.download(asset, self.owner, stub=stub)
            before = resource.prlimit(server, resource.RLIMIT_NOFILE)
            resource.prlimit(server, resource.RLIMIT_NOFILE, (0, before[1]))
            try:
                error = self.refused(
                    grpc.StatusCode.UNAVAILABLE, "try again", asset=asset, stub=stub)
            finally:
                resource.prlimit(server, resource.RLIMIT_NOFILE, before)
            self.assertIn(("grpc-retry-pushback-ms", "1000"), error.trailing_metadata())
            self.assertEqual(self.get(asset, stub=stub)[1]["recipe"],
                             '{"lod":2,"texture_size_limit":256}')


class Overloaded(Case):
    """One job runs and one waits, as long as the program of the workers is stopped."""
    media = {"queue": 1}

    def setUp(self):
        self.asset = self.stored()
        workers = pathlib.Path(f"/proc/{self.server.daemon.pid}/task").glob("*/children")
        self.program, = (int(pid) for file in workers for pid in file.read_text().split())
        self.pool = concurrent.futures.ThreadPoolExecutor(2)
        os.kill(self.program, signal.SIGSTOP)
        self.addCleanup(os.kill, self.program, signal.SIGCONT)
        self.waiting = []
        for number, (running, queued) in enumerate(((1, 0), (1, 1))):
            self.waiting.append(self.pool.submit(self.get, self.asset, self.recipe(number)))
            wait_until("an adaptation under way", lambda: (
                self.metric("dacm_adaptations_running"),
                self.metric("dacm_adaptations_queued")) == (running, queued))

    def tearDown(self):
        os.kill(self.program, signal.SIGCONT)
        for number, download in enumerate(self.waiting):
            self.assertEqual(download.result()[1]["recipe"],
                             '{"texture_size_limit":%d}' % (16 + number))
        self.assertEqual(self.get(self.asset)[1]["recipe"], '{"lod":2,"texture_size_limit":256}')
        self.pool.shutdown()

    def recipe(self, number):
        return da.Recipe(texture_size_limit=16 + number)

    def test_client_of_grpc_is_told_when_to_try_again(self):
        error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "at most 1 adaptations wait",
                             asset=self.asset)
        retry_ms = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
        self.assertGreaterEqual(int(retry_ms), 100)
        self.assertIn(f"try again in {retry_ms} ms", error.details())

    def test_dacm_get_tells_when_to_try_again(self):
        arguments = ("get", self.asset, "--as", self.owner, "--preset", "low", "-o",
                     self.server.dir / "never.glb")
        done = self.server.cli("--json", *arguments)
        told = json.loads(done.stdout)["error"]
        self.assertEqual(told["code"], "RESOURCE_EXHAUSTED")
        self.assertGreaterEqual(told["retry_ms"], 100)
        self.assertIn(f"try again in {told['retry_ms']} ms", told["message"])
        self.assertNotEqual(done.returncode, 0)
        done = self.server.cli(*arguments)
        self.assertRegex(done.stderr, r"try again in \d+ ms \(RESOURCE_EXHAUSTED\)")
        self.assertFalse((self.server.dir / "never.glb").exists())


class Budget(Case):
    media = {"variants_bytes_max": 1}

    def test_what_was_given_up_is_made_again(self):
        asset = self.stored()
        first = self.get(asset)[0]
        made = self.made()
        self.get(asset, da.Recipe(lod=1))
        self.assertEqual(self.metric("dacm_variants"), 1)
        self.assertEqual(self.get(asset)[0], first)
        self.assertEqual(self.made(), made + 2)
        self.assertEqual(self.metric("dacm_variants_given_up_total"), 2)


class NoBudget(Case):
    media = {"variants_bytes_max": 0}

    def test_everybody_gets_what_he_waited_for(self):
        """Though each variant takes the place of the one before."""
        asset = self.stored()
        recipes = [da.Recipe(texture_size_limit=16 + i) for i in range(12)]
        with concurrent.futures.ThreadPoolExecutor(36) as pool, self.server.channel() as channel:
            stub = self.server.stub(channel)
            told = list(pool.map(lambda recipe: self.get(asset, recipe, stub=stub), recipes * 12))
        for (_, claims, _), recipe in zip(told, recipes * 12):
            self.assertEqual(json.loads(claims["recipe"]),
                             {"texture_size_limit": recipe.texture_size_limit})
        self.assertGreater(self.metric("dacm_variants_given_up_total"), 0)


class Small(Case):
    media = {"source_bytes_max": 1000}

    def test_asset_that_is_too_large_is_not_adapted(self):
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "media.source_bytes_max",
                     asset=self.stored())


MENDED = ("the store had other bytes of a chunk than were once stored; those of an upload replace "
          "them")


class Rotten(Case):
    """A bit of the source flips on disk: a variant made of it would be signed, as if it were whole."""

    def tool(self, *arguments):
        done = subprocess.run([harness.BIN / "dacmd", "--config", self.server.config_file,
                               *arguments], text=True, capture_output=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def store_check(self):
        return self.tool("--store-check")

    def rot_where(self, piece, at=0, wherever=False):
        """Flips a bit at that byte of what begins with piece, in the one place that it stands in."""
        found = 0
        for path in pathlib.Path(self.server.config["store"]["directory"]).rglob("*.mdb"):
            content, start = path.read_bytes(), -1
            while (start := content.find(piece, start + 1)) >= 0:
                found += 1
                with path.open("r+b") as file:
                    file.seek(start + at)
                    file.write(bytes([content[start + at] ^ 1]))
        self.assertTrue(found == 1 or (wherever and found), found)

    def rot(self):
        pieces = (self.source[at:at + 64] for at in range(len(self.source) // 2, len(self.source)))
        self.rot_where(max(pieces, key=lambda piece: len(set(piece))))  # not zeros

    def stopped(self, rot):
        self.server.terminate()
        rot()
        self.server.run()

    def test_nothing_is_made_and_signed_of_it_until_it_is_stored_again(self):
        asset = self.stored()
        self.stopped(self.rot)
        error = self.refused(grpc.StatusCode.INTERNAL, "operator's log", "--store-check",
                             asset=asset)
        self.assertNotIn("version", error.details())
        line, = self.logged("an asset could not be read to be adapted")
        self.assertEqual((line["level"], line["asset"]), ("error", asset))
        self.assertIn("are not those that were stored", line["why"])
        self.assertEqual(self.metric("dacm_variants"), 0)
        code, said = self.store_check()
        self.assertNotEqual(code, 0)
        self.assertIn("do not have its digest", said)
        code, said = self.tool("--store-backup", str(self.server.dir / "rotten"))
        self.assertNotEqual(code, 0)
        self.assertIn("keep the backup of before", said)
        with self.assertRaisesRegex(AssertionError, "chunk"):  # nor does a client take the original
            self.server.download(asset, self.owner)
        self.assertEqual(self.logged(MENDED), [])
        self.server.upload(self.source, self.owner, asset=asset, if_match=1)
        line, = self.logged(MENDED)
        self.assertEqual((line["level"], line["asset"]), ("warning", asset))
        self.assertEqual(self.server.download(asset, self.owner)[0], self.source)
        self.assertEqual(self.server.download(asset, self.owner, version=1)[0], self.source)
        self.assertEqual(self.get(asset)[1]["recipe"], '{"lod":2,"texture_size_limit":256}')
        self.assertEqual(self.store_check()[0], 0)

    def test_variant_whose_list_or_record_rotted_is_made_again(self):
        asset = self.stored(drawn(seed=7))
        before, claims, _ = self.get(asset)
        lists = "load of a variant, which is made again"
        told = lambda: [line for line in self.logged("store failed") if line["doing"] == lists]  # noqa: E731
        for response in self.server.stub().Download(
                da.DownloadRequest(asset_id=asset, gpsi=self.owner, recipe=LOW), timeout=60,
                metadata=bearer(self.server.token(self.owner, asset, ["get"], [self.owner]))):
            if response.WhichOneof("part") == "chunk_list":
                list_page = response.chunk_list.entries
        for times, piece, at in ((1, list_page, 5), (2, b"*\x20" + unb64url(claims["chunks"]), 1)):
            self.stopped(lambda: self.rot_where(piece, at, wherever=True))
            listed = self.server.stub().ListVariants(
                da.ListVariantsRequest(asset_id=asset, gpsi=self.owner), timeout=60,
                metadata=bearer(self.server.token(self.owner, asset, ["get"], [self.owner])))
            self.assertLessEqual(len(listed.variants), 1)
            content, again, _ = self.get(asset)
            self.assertEqual((content, again["sha256"]), (before, claims["sha256"]))
            self.assertEqual(len(told()), times)
        self.assertEqual(self.server.download(asset, self.owner)[0], drawn(seed=7))

    def test_manifest_that_rotted_is_signed_again(self):
        asset = self.stored(os.urandom(100_000))
        manifest = self.server.download(asset, self.owner)[2].manifest
        self.stopped(lambda: self.rot_where(manifest[-40:].encode(), wherever=True))
        self.server.download(asset, self.owner)  # and its signature is verified

    def test_record_that_rotted_is_not_signed_as_if_it_had_always_said_so(self):
        content = os.urandom(100_000)
        asset = self.stored(content)
        self.server.upload(content + b"!", self.owner, asset=asset, if_match=1)
        self.stopped(lambda: self.rot_where(
            b"\x22\x20" + hashlib.sha256(content).digest(), 5, wherever=True))
        with self.assertRaises(grpc.RpcError) as error:
            self.server.download(asset, self.owner, version=1)
        self.assertEqual(code_of(error), grpc.StatusCode.INTERNAL)
        self.assertIn("not the one that was signed", self.logged("store failed")[-1]["why"])
        code, said = self.store_check()
        self.assertEqual((code, said.count("not the one that was signed")), (1, 1), said)
        self.assertEqual(self.server.download(asset, self.owner)[0], content + b"!")


class Off(Case):
    media = {"adapt": False}

    def test_server_that_adapts_nothing_says_so(self):
        asset = self.stored()
        self.refused(grpc.StatusCode.UNIMPLEMENTED, "does not adapt", asset=asset)
        self.assertEqual(self.server.download(asset, self.owner)[0], self.source)


if __name__ == "__main__":
    unittest.main()
