# SPDX-License-Identifier: Apache-2.0
"""`dacm call` against a gRPC server that is not ours: every kind of field and of call, with both
versions of reflection, a descriptor set, and descriptors that lie. grpcio's own JSON mapping
(google.protobuf.json_format) is the oracle."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

STUBS = os.environ["STUBS"]
sys.path.insert(0, STUBS)

import call_pb2 as pb  # noqa: E402
from google.protobuf import json_format  # noqa: E402

DACM = pathlib.Path(os.environ["DACM_BIN"]) / "dacm"
SERVER = pathlib.Path(__file__).with_name("server.py")


class PeerServer:
    def __init__(self, kind):
        self.process = subprocess.Popen(["/usr/bin/python3", SERVER, kind], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.target = "tcp://127.0.0.1:" + self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def call(self, *arguments, **kwargs):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DACM_")}
        return subprocess.run([DACM, "--json", "call", *arguments, "--server", self.target,
                               "--plain-text"], text=True, capture_output=True, timeout=60,
                              env=environment, **kwargs)


def everything():
    message = pb.All(
        a_double=0.1, a_float=1.5, an_int32=-2**31, an_int64=-2**63, a_uint32=2**32 - 1,
        a_uint64=2**64 - 1, a_sint32=-7, a_sint64=-2**62, a_fixed32=7, a_fixed64=2**63,
        a_sfixed32=-8, a_sfixed64=-9, a_bool=True, a_string="grüß \"dich\"\n", a_bytes=b"\x00\xff",
        a_colour=pb.COLOUR_BLUE, numbers=[1, -1, 2**31 - 1], loose_numbers=[5, 6],
        strings=["a", ""], colours=[pb.COLOUR_RED, pb.COLOUR_NONE], text="chosen", maybe=0,
        doubles=[float("inf"), float("-inf"), 1e300], renamed="x")
    message.an_inner.label = "in"
    message.an_inner.again.an_int32 = 3
    message.inners.add(label="one")
    message.inners.add()
    message.by_name["ten"] = 10
    message.by_number[-4].label = "minus"
    message.by_truth[True] = "yes"
    message.at.FromJsonString("2026-11-24T01:02:03.040Z")
    message.lasts.FromJsonString("-1.500s")
    message.wrapped.value = "w"
    return message


class Call(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PeerServer("v1")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ok(self, *arguments, server=None, **kwargs):
        done = (server or self.server).call(*arguments, **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def refused(self, *arguments, server=None, **kwargs):
        done = (server or self.server).call(*arguments, **kwargs)
        self.assertNotEqual(done.returncode, 0)
        return done.returncode, json.loads(done.stdout)["error"]

    def test_every_kind_of_field_there_and_back(self):
        message = everything()
        lines = self.ok("calltest.Kinds/Echo", json_format.MessageToJson(message))
        self.assertEqual(json_format.ParseDict(lines[0], pb.All()), message)

    def test_names_as_in_the_proto_and_a_file_as_input(self):
        message = everything()
        text = json_format.MessageToJson(message, preserving_proto_field_name=True)
        lines = self.ok("calltest.Kinds/Echo", "-", input=text)
        self.assertEqual(json_format.ParseDict(lines[0], pb.All()), message)

    def test_server_streaming_prints_a_line_each(self):
        lines = self.ok("calltest.Kinds/Count", '{"value": 5}')
        self.assertEqual([int(line.get("value", 0)) for line in lines], [0, 1, 2, 3, 4])

    def test_client_streaming_takes_one_value_after_another(self):
        lines = self.ok("calltest.Kinds/Sum", '{"value": "1"} {"value": 2}\n{"value": 39}')
        self.assertEqual(lines, [{"value": "42"}])

    def test_both_streaming(self):
        lines = self.ok("calltest.Kinds/Chat", "-", input='{"aString": "a"}{"aString": "b"}')
        self.assertEqual([line["aString"] for line in lines], ["a", "b"])

    def test_metadata_and_binary_metadata(self):
        lines = self.ok("calltest.Kinds/Echo", "{}", "-H", "x-echo=seen")
        self.assertEqual(lines[0]["aString"], "seen")

    def test_status_of_the_server_is_the_exit_code_and_its_text_is_printable(self):
        code, error = self.refused("calltest.Kinds/Fail", '{"value": 7}')
        self.assertEqual((code, error["code"], error["request_id"]),
                         (3, "PERMISSION_DENIED", "req-17"))
        self.assertTrue(error["message"].isprintable(), error)

    def test_wrong_input_is_refused_before_anything_is_sent(self):
        for text, word in (('{"bogus": 1}', "bogus"), ('{"anInt32": "x"}', "int32"),
                           ('{"anInt32": 2147483648}', "int32"), ('{"aUint32": -1}', "uint32"),
                           ('{"aBytes": "*"}', "bytes"), ('{"aColour": "PINK"}', "olour"),
                           ('{"text": "a", "count": 1}', "choice"), ('{"strings": "a"}', "strings"),
                           ("[]", ""), ("{", ""), ('{"aString": "\\u0000"', "")):
            with self.subTest(text=text):
                code, error = self.refused("calltest.Kinds/Echo", text)
                self.assertEqual(error["code"], "INVALID_ARGUMENT", error)
                self.assertIn(word, error["message"].lower())

    def test_unknown_service_and_method(self):
        for path in ("calltest.None/Echo", "calltest.Kinds/None", "nonsense"):
            self.refused(path, "{}")

    def test_list_and_describe(self):
        done = self.server.call("--list")
        self.assertIn("calltest.Kinds", done.stdout)
        done = self.server.call("--describe", "calltest.All")
        self.assertIn("a_sfixed64", done.stdout)

    def test_reflection_v1alpha(self):
        with PeerServer("v1alpha") as server:
            self.assertEqual(self.ok("calltest.Kinds/Sum", '{"value": 3}', server=server),
                             [{"value": "3"}])

    def test_without_reflection_a_descriptor_set_does(self):
        with PeerServer("none") as server:
            self.refused("calltest.Kinds/Sum", '{"value": 3}', server=server)
            self.assertEqual(self.ok("calltest.Kinds/Sum", '{"value": 3}', "--proto-set",
                                     STUBS + "/call.pb", server=server), [{"value": "3"}])

    def test_descriptors_that_lie_are_refused(self):
        with PeerServer("lies") as server:
            code, error = self.refused("calltest.Kinds/Echo", "{}", server=server)
            self.assertGreater(code, 0)
            self.assertTrue(error["message"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
