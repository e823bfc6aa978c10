# SPDX-License-Identifier: Apache-2.0
"""grpcio as client of grpc.testing.TestService: one interop case, by name.

    grpcio_client.py HOST:PORT CA TEST_CASE SOAK_ITERATIONS

grpcio shows a client no compressed flag of an answer: cases.py lists what follows from that.
"""
import queue
import sys

import grpc
import testing_stubs  # noqa: F401, makes the next line work
from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
TIMEOUT = 60


def must(ok, what):
    if not ok:
        sys.exit(f"grpcio_client: {what}")


def must_fail(code, function, message=None):
    try:
        function()
    except grpc.RpcError as error:
        must(error.code() == code, f"{error.code()} instead of {code}: {error.details()}")
        must(message is None or error.details() == message, f"the message is {error.details()!r}")
        return
    must(False, f"no {code}")


def payload(size):
    return messages_pb2.Payload(body=bytes(size))


def large_request(**more):
    return messages_pb2.SimpleRequest(
        response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST), **more)


def check_payload(response, size):
    must(response.payload.body == bytes(size),
         f"the payload is not {size} zeros but has {len(response.payload.body)}")


def output_request(*sizes, **more):
    return messages_pb2.StreamingOutputCallRequest(
        response_parameters=[messages_pb2.ResponseParameters(size=size) for size in sizes], **more)


class Pipe:
    """Requests that are sent one by one."""

    def __init__(self):
        self._queue = queue.Queue()

    def send(self, request):
        self._queue.put(request)

    def close(self):
        self._queue.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request


class Cases:
    def __init__(self, new_channel, soak_iterations):
        self.new_channel = new_channel
        self.channel = new_channel()
        self.stub = test_pb2_grpc.TestServiceStub(self.channel)
        self.soak_iterations = soak_iterations

    def empty_unary(self):
        must(self.stub.EmptyCall(empty_pb2.Empty(), timeout=TIMEOUT) == empty_pb2.Empty(),
             "the reply is not empty")

    def large_unary(self, stub=None):
        check_payload((stub or self.stub).UnaryCall(large_request(), timeout=TIMEOUT),
                      LARGE_RESPONSE)

    def client_streaming(self):
        response = self.stub.StreamingInputCall(
            (messages_pb2.StreamingInputCallRequest(payload=payload(size))
             for size in (27182, 8, 1828, 45904)), timeout=TIMEOUT)
        must(response.aggregated_payload_size == 74922, "the sum is wrong")

    def server_streaming(self):
        sizes = (31415, 9, 2653, 58979)
        responses = list(self.stub.StreamingOutputCall(output_request(*sizes), timeout=TIMEOUT))
        must(len(responses) == 4, "not four responses")
        for response, size in zip(responses, sizes):
            check_payload(response, size)

    def ping_pong(self):
        pipe = Pipe()
        responses = self.stub.FullDuplexCall(pipe, timeout=TIMEOUT)
        for size, sent in ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904)):
            pipe.send(output_request(size, payload=payload(sent)))
            check_payload(next(responses), size)
        pipe.close()
        must(not list(responses), "too many responses")

    def half_duplex(self):
        rounds = ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904))
        responses = list(self.stub.HalfDuplexCall((messages_pb2.StreamingOutputCallRequest(
            response_parameters=[messages_pb2.ResponseParameters(size=size, interval_us=1000)],
            payload=payload(sent)) for size, sent in rounds), timeout=TIMEOUT))
        must(len(responses) == 4, "not four responses")
        for response, (size, _) in zip(responses, rounds):
            check_payload(response, size)

    def empty_stream(self):
        must(not list(self.stub.FullDuplexCall(iter(()), timeout=TIMEOUT)), "a response")

    def _connect_first(self):
        """The case is about the server, so there is a connection before it begins."""
        self.empty_unary()

    def cancel_after_begin(self):
        self._connect_first()
        pipe = Pipe()
        call = self.stub.StreamingInputCall.future(pipe, timeout=TIMEOUT)
        call.cancel()
        must(call.cancelled() and call.code() == grpc.StatusCode.CANCELLED, call.code())
        pipe.close()

    def cancel_after_first_response(self):
        pipe = Pipe()
        call = self.stub.FullDuplexCall(pipe, timeout=TIMEOUT)
        pipe.send(output_request(31415, payload=payload(27182)))
        check_payload(next(call), 31415)
        call.cancel()
        must_fail(grpc.StatusCode.CANCELLED, lambda: next(call))
        pipe.close()

    def timeout_on_sleeping_server(self):
        self._connect_first()
        pipe = Pipe()
        call = self.stub.FullDuplexCall(pipe, timeout=0.001)
        pipe.send(output_request(payload=payload(27182)))
        must_fail(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: next(call))
        pipe.close()

    def custom_metadata(self):
        metadata = (("x-grpc-test-echo-initial", "test_initial_metadata_value"),
                    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"))

        def check(call):
            must(metadata[0] in tuple(call.initial_metadata()), "initial metadata")
            must(metadata[1] in tuple(call.trailing_metadata()), "trailing metadata")
        response, call = self.stub.UnaryCall.with_call(
            large_request(), metadata=metadata, timeout=TIMEOUT)
        check_payload(response, LARGE_RESPONSE)
        check(call)
        call = self.stub.FullDuplexCall(
            iter((output_request(LARGE_RESPONSE, payload=payload(LARGE_REQUEST)),)),
            metadata=metadata, timeout=TIMEOUT)
        check_payload(next(call), LARGE_RESPONSE)
        must(not list(call), "too many responses")
        check(call)

    def _unary_echoes(self, message):
        status = messages_pb2.EchoStatus(code=2, message=message)
        must_fail(grpc.StatusCode.UNKNOWN, lambda: self.stub.UnaryCall(
            messages_pb2.SimpleRequest(response_status=status), timeout=TIMEOUT), message)

    def status_code_and_message(self):
        message = "test status message"
        self._unary_echoes(message)
        status = messages_pb2.EchoStatus(code=2, message=message)
        must_fail(grpc.StatusCode.UNKNOWN, lambda: list(self.stub.FullDuplexCall(
            iter((output_request(response_status=status),)), timeout=TIMEOUT)), message)

    def special_status_message(self):
        self._unary_echoes("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")

    def unimplemented_method(self):
        must_fail(grpc.StatusCode.UNIMPLEMENTED, lambda: self.stub.UnimplementedCall(
            empty_pb2.Empty(), timeout=TIMEOUT))

    def unimplemented_service(self):
        stub = test_pb2_grpc.UnimplementedServiceStub(self.channel)
        must_fail(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.UnimplementedCall(
            empty_pb2.Empty(), timeout=TIMEOUT))

    def per_rpc_creds(self):
        request = messages_pb2.SimpleRequest(fill_username=True, fill_oauth_scope=True)
        for user in ("one", "two"):
            credentials = grpc.access_token_call_credentials(f"interop/{user}/scope-{user}")
            response = self.stub.UnaryCall(request, timeout=TIMEOUT, credentials=credentials)
            must(response.username == user, f"the username is {response.username}")
            must(response.oauth_scope == f"scope-{user}", f"the scope is {response.oauth_scope}")
        must_fail(grpc.StatusCode.UNAUTHENTICATED,
                  lambda: self.stub.UnaryCall(request, timeout=TIMEOUT))

    def client_compressed_unary(self):
        yes, no = messages_pb2.BoolValue(value=True), messages_pb2.BoolValue(value=False)
        must_fail(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.stub.UnaryCall(
            large_request(expect_compressed=yes), timeout=TIMEOUT))
        check_payload(self.stub.UnaryCall(
            large_request(expect_compressed=yes), timeout=TIMEOUT,
            compression=grpc.Compression.Gzip), LARGE_RESPONSE)
        check_payload(self.stub.UnaryCall(
            large_request(expect_compressed=no), timeout=TIMEOUT), LARGE_RESPONSE)

    def server_compressed_unary(self):
        for value in (True, False):
            check_payload(self.stub.UnaryCall(large_request(
                response_compressed=messages_pb2.BoolValue(value=value)), timeout=TIMEOUT),
                LARGE_RESPONSE)

    def server_compressed_streaming(self):
        sizes = ((31415, True), (92653, False))
        responses = list(self.stub.StreamingOutputCall(messages_pb2.StreamingOutputCallRequest(
            response_parameters=[messages_pb2.ResponseParameters(
                size=size, compressed=messages_pb2.BoolValue(value=value))
                for size, value in sizes]), timeout=TIMEOUT))
        must(len(responses) == 2, "not two responses")
        for response, (size, _) in zip(responses, sizes):
            check_payload(response, size)

    def rpc_soak(self):
        for _ in range(self.soak_iterations):
            self.large_unary()

    def channel_soak(self):
        for _ in range(self.soak_iterations):
            with self.new_channel() as channel:
                self.large_unary(test_pb2_grpc.TestServiceStub(channel))


def main():
    target, ca, case, soak_iterations = sys.argv[1:]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    cases = Cases(lambda: grpc.secure_channel(
        target, credentials, (("grpc.use_local_subchannel_pool", 1),)), int(soak_iterations))
    getattr(cases, case)()
    cases.channel.close()


main()
