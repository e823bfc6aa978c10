# SPDX-License-Identifier: Apache-2.0
"""grpc.health.v1 and grpc.reflection v1 and v1alpha, asked by gRPC's own client with stubs made
from Debian's grpc-proto.

Environment (set by CMake): SERVER, the program of server.c; STUBS, the folder of the stubs."""
import os
import queue
import subprocess
import threading
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# The stubs live in a package of the same name.
grpc.__path__.append(os.path.join(os.environ["STUBS"], "grpc"))

from grpc.health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc.reflection.v1 import reflection_pb2, reflection_pb2_grpc  # noqa: E402
from grpc.reflection.v1alpha import reflection_pb2 as alpha_pb2  # noqa: E402
from grpc.reflection.v1alpha import reflection_pb2_grpc as alpha_pb2_grpc  # noqa: E402

TIMEOUT = 60  # a bound on waiting, not an expectation
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
BUILT_IN = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"]


class Server:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["SERVER"]], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        ports = [self.process.stdout.readline().strip() for _ in range(2)]
        self.users, self.admins = (grpc.insecure_channel(f"127.0.0.1:{port}") for port in ports)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def begin_stop(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()

    def stop(self):
        if not self.process.stdin.closed:
            self.begin_stop()
        code = self.process.wait(TIMEOUT)
        self.process.stdout.close()
        self.users.close()
        self.admins.close()
        return code


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(lambda: self.assertEqual(self.server.stop(), 0))

    def assertFails(self, code, function):
        with self.assertRaises(grpc.RpcError) as caught:
            function()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception.details()


class Health(ServerTest):
    def check(self, service, channel=None):
        stub = health_pb2_grpc.HealthStub(channel or self.server.users)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status

    def watch(self, service, channel=None):
        stub = health_pb2_grpc.HealthStub(channel or self.server.users)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        self.addCleanup(call.cancel)
        return call

    def test_server_and_services_are_not_serving_until_set(self):
        for name in ["", "reflected.Shown"] + BUILT_IN:
            self.assertEqual(self.check(name), NOT_SERVING, name)

    def test_what_was_set_is_told_for_that_name_alone(self):
        self.server.tell("serving reflected.Shown")
        self.assertEqual(self.check("reflected.Shown"), SERVING)
        self.assertEqual(self.check(""), NOT_SERVING)
        self.server.tell("serving ")
        self.server.tell("not-serving reflected.Shown")
        self.assertEqual(self.check("reflected.Shown"), NOT_SERVING)
        self.assertEqual(self.check(""), SERVING)

    def test_an_unknown_service_is_not_found(self):
        details = self.assertFails(grpc.StatusCode.NOT_FOUND, lambda: self.check("no.Such"))
        self.assertIn("no such service here", details)

    def test_a_name_that_is_no_service_may_be_set(self):
        self.server.tell("serving store")
        self.assertEqual(self.check("store"), SERVING)

    def test_a_service_of_another_listener_is_not_found_even_when_set(self):
        self.server.tell("serving reflected.Hidden")
        self.assertEqual(self.check("reflected.Hidden", self.server.admins), SERVING)
        self.assertFails(grpc.StatusCode.NOT_FOUND, lambda: self.check("reflected.Hidden"))

    def test_a_watch_tells_the_status_and_each_change(self):
        watch = self.watch("reflected.Shown")
        self.assertEqual(next(watch).status, NOT_SERVING)
        for _ in range(20):
            self.server.tell("serving reflected.Shown")
            self.assertEqual(next(watch).status, SERVING)
            self.server.tell("not-serving reflected.Shown")
            self.assertEqual(next(watch).status, NOT_SERVING)

    def test_a_watch_is_silent_about_others_and_about_what_it_told(self):
        watch = self.watch("reflected.Shown")
        self.assertEqual(next(watch).status, NOT_SERVING)
        self.server.tell("serving ")
        self.server.tell("not-serving reflected.Shown")
        self.server.tell("serving reflected.Shown")
        self.assertEqual(next(watch).status, SERVING)

    def test_a_watch_of_an_unknown_service_goes_on_until_it_is_known(self):
        watch = self.watch("later")
        self.assertEqual(next(watch).status, SERVICE_UNKNOWN)
        self.server.tell("serving later")
        self.assertEqual(next(watch).status, SERVING)

    def test_many_watches_on_two_listeners_see_the_change(self):
        watches = [self.watch("", channel) for channel in
                   (self.server.users, self.server.admins) for _ in range(40)]
        for watch in watches:
            self.assertEqual(next(watch).status, NOT_SERVING)
        for gone in watches[::2]:
            gone.cancel()
        self.server.tell("serving ")
        for watch in watches[1::2]:
            self.assertEqual(next(watch).status, SERVING)

    def test_a_watch_without_a_request_is_refused(self):
        call = self.server.users.stream_stream("/grpc.health.v1.Health/Watch")
        self.assertFails(grpc.StatusCode.INVALID_ARGUMENT,
                         lambda: list(call(iter([]), timeout=TIMEOUT)))

    def test_a_watch_with_two_requests_is_refused(self):
        call = self.server.users.stream_stream("/grpc.health.v1.Health/Watch")
        self.assertFails(grpc.StatusCode.INVALID_ARGUMENT,
                         lambda: list(call(iter([b"", b""]), timeout=TIMEOUT)))

    def test_a_watch_of_a_name_that_is_not_text_is_refused(self):
        call = self.server.users.unary_stream("/grpc.health.v1.Health/Watch")
        details = self.assertFails(grpc.StatusCode.INVALID_ARGUMENT,
                                   lambda: list(call(b"\n\x01\xff", timeout=TIMEOUT)))
        self.assertIn("grpc.health.v1.HealthCheckRequest.service", details)

    def test_a_server_that_stops_ends_its_watches_and_waits_for_none(self):
        self.server.tell("serving ")
        watch = self.watch("")
        self.assertEqual(next(watch).status, SERVING)
        self.server.begin_stop()
        self.assertEqual(next(watch).status, NOT_SERVING)
        details = self.assertFails(grpc.StatusCode.UNAVAILABLE, lambda: next(watch))
        self.assertEqual(details, "health: the server is shutting down")


class Reflection(ServerTest):
    VERSIONS = [(reflection_pb2, reflection_pb2_grpc), (alpha_pb2, alpha_pb2_grpc)]

    def ask_all(self, requests, version=0, channel=None):
        messages, stubs = self.VERSIONS[version]
        stub = stubs.ServerReflectionStub(channel or self.server.users)
        requests = [messages.ServerReflectionRequest(**request) for request in requests]
        answers = list(stub.ServerReflectionInfo(iter(requests), timeout=TIMEOUT))
        self.assertEqual([a.original_request for a in answers], requests)
        return answers

    def ask(self, version=0, channel=None, **request):
        return self.ask_all([request], version, channel)[0]

    def files(self, **request):
        answer = self.ask(**request)
        self.assertEqual(answer.WhichOneof("message_response"), "file_descriptor_response")
        protos = answer.file_descriptor_response.file_descriptor_proto
        return [descriptor_pb2.FileDescriptorProto.FromString(proto) for proto in protos]

    def assertError(self, code, text, **request):
        answer = self.ask(**request)
        self.assertEqual(answer.WhichOneof("message_response"), "error_response")
        self.assertEqual(answer.error_response.error_code, code.value[0])
        self.assertEqual(answer.error_response.error_message, text)

    def services(self, version, channel):
        answer = self.ask(version, channel, list_services="*")
        return sorted(s.name for s in answer.list_services_response.service)

    def test_services_of_the_listener_are_listed_in_both_versions(self):
        for version in range(2):
            self.assertEqual(self.services(version, self.server.users),
                             BUILT_IN + ["reflected.Shown"])
            self.assertEqual(self.services(version, self.server.admins),
                             BUILT_IN + ["reflected.Hidden", "reflected.Shown"])

    def test_a_file_comes_with_what_it_depends_on_itself_first(self):
        names = [f.name for f in self.files(file_by_filename="reflected.proto")]
        self.assertEqual(names[0], "reflected.proto")
        self.assertEqual(sorted(names), ["common.proto", "extended.proto", "reflected.proto"])
        names = [f.name for f in self.files(file_by_filename="common.proto")]
        self.assertEqual(names, ["common.proto"])

    def test_every_kind_of_symbol_is_found(self):
        for symbol, file in [
                ("reflected.Shown", "reflected.proto"),
                ("reflected.Shown.Unary", "reflected.proto"),
                ("reflected.Pair", "reflected.proto"),
                ("reflected.Pair.outer", "reflected.proto"),
                ("reflected.Outer.Inner", "common.proto"),
                ("reflected.Outer.Inner.Kind", "common.proto"),
                ("reflected.Outer.choice", "common.proto"),
                ("reflected.Colour", "common.proto"),
                ("reflected.GREEN", "common.proto"),
                ("reflected.Outer.Inner.NONE", "common.proto"),
                ("reflected.note", "extended.proto"),
                ("reflected.Scope.level", "extended.proto"),
                ("grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto")]:
            self.assertEqual(self.files(file_containing_symbol=symbol)[0].name, file, symbol)

    def test_extensions_are_found_by_number_and_all_numbers_by_type(self):
        request = {"containing_type": "reflected.Base", "extension_number": 120}
        files = self.files(file_containing_extension=request)
        self.assertEqual([f.name for f in files], ["extended.proto"])
        answer = self.ask(all_extension_numbers_of_type="reflected.Base")
        numbers = answer.all_extension_numbers_response
        self.assertEqual(numbers.base_type_name, "reflected.Base")
        self.assertEqual(sorted(numbers.extension_number), [120, 150])
        answer = self.ask(all_extension_numbers_of_type="reflected.Pair")
        self.assertEqual(list(answer.all_extension_numbers_response.extension_number), [])

    def test_what_is_not_there_is_an_error_in_the_stream(self):
        code = grpc.StatusCode.NOT_FOUND
        self.assertError(code, "reflection: no such file here", file_by_filename="no.proto")
        for symbol in ["no.Such", "reflected", "reflected.", ".reflected.Pair", ""]:
            self.assertError(
                code, "reflection: no such symbol here", file_containing_symbol=symbol)
        self.assertError(code, "reflection: no such extension here", file_containing_extension={
            "containing_type": "reflected.Base", "extension_number": 121})
        self.assertError(code, "reflection: no such message type here",
                         all_extension_numbers_of_type="no.Such")

    def test_a_request_for_nothing_is_an_error_in_the_stream(self):
        self.assertError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "reflection: the request asks nothing known; set one of message_request", host="h")

    def test_the_host_comes_back(self):
        self.assertEqual(self.ask(host="h.example", list_services="").valid_host, "h.example")

    def test_many_requests_in_a_stream_are_answered_in_order(self):
        requests = [{"file_containing_symbol": f"reflected.{name}"}
                    for name in ["Pair", "Outer", "Base", "None"] * 250]
        answers = self.ask_all(requests)  # compares the order
        self.assertEqual(len(answers), 1000)

    def test_a_client_that_reads_late_gets_every_answer(self):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.server.users)
        request = reflection_pb2.ServerReflectionRequest(
            file_by_filename="grpc/reflection/v1/reflection.proto")
        sent = threading.Event()

        def requests():
            for _ in range(2000):
                yield request
            sent.set()

        answers = stub.ServerReflectionInfo(requests(), timeout=TIMEOUT)
        first = next(answers)
        rest = queue.Queue()
        reader = threading.Thread(target=lambda: [rest.put(a) for a in answers])
        reader.start()
        reader.join(TIMEOUT)
        self.assertTrue(sent.is_set())
        self.assertEqual(rest.qsize(), 1999)
        self.assertTrue(all(a == first for a in rest.queue))

    def test_a_request_that_is_no_message_ends_the_stream(self):
        call = self.server.users.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        details = self.assertFails(grpc.StatusCode.INVALID_ARGUMENT,
                                   lambda: list(call(iter([b"\x1a\x02\xc0\xaf"]))))
        self.assertIn("ServerReflectionRequest.file_by_filename", details)

    def test_a_call_can_be_made_with_what_reflection_told_alone(self):
        pool = descriptor_pool.DescriptorPool()
        for proto in reversed(self.files(file_containing_symbol="reflected.Shown")):
            pool.Add(proto)
        method = pool.FindServiceByName("reflected.Shown").methods_by_name["Unary"]
        factory = message_factory.MessageFactory(pool)
        request = factory.GetPrototype(method.input_type)()
        reply = factory.GetPrototype(method.output_type)
        call = self.server.users.unary_unary(
            "/reflected.Shown/Unary", type(request).SerializeToString, reply.FromString)
        self.assertEqual(call(request, timeout=TIMEOUT), reply())


if __name__ == "__main__":
    unittest.main()
