# SPDX-License-Identifier: Apache-2.0
"""grpcio as server of grpc.testing.TestService, from the public proto.

    grpcio_server.py CERTIFICATE KEY

Prints its port and ends when standard input does. grpcio shows a server no compressed flag, so
expect_compressed is not looked at: cases.py lists what follows from that.
"""
import sys
import time
from concurrent import futures

import grpc
import testing_stubs  # noqa: F401, makes the next line work
from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc


def echo_metadata(context):
    for name, value in context.invocation_metadata():
        if name == "x-grpc-test-echo-initial":
            context.send_initial_metadata(((name, value),))
        if name == "x-grpc-test-echo-trailing-bin":
            context.set_trailing_metadata(((name, value),))


def ask_status(request, context):
    if request.HasField("response_status") and request.response_status.code != 0:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[request.response_status.code], request.response_status.message)


def read_account(context):
    """Bearer interop/USER/SCOPE."""
    for name, value in context.invocation_metadata():
        if name == "authorization" and value.startswith("Bearer interop/"):
            return value.split("/")[1:3]
    return context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token of the test")


class TestService(test_pb2_grpc.TestServiceServicer):
    def EmptyCall(self, request, context):
        return empty_pb2.Empty()

    def UnaryCall(self, request, context):
        echo_metadata(context)
        ask_status(request, context)
        response = messages_pb2.SimpleResponse()
        if request.fill_username or request.fill_oauth_scope:
            user, scope = read_account(context)
            response.username = user if request.fill_username else ""
            response.oauth_scope = scope if request.fill_oauth_scope else ""
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        response.payload.body = bytes(request.response_size)
        return response

    def _answers(self, request, context):
        for parameters in request.response_parameters:
            if parameters.interval_us > 0:
                time.sleep(parameters.interval_us / 1e6)
            if not parameters.compressed.value:
                context.disable_next_message_compression()
            yield messages_pb2.StreamingOutputCallResponse(
                payload=messages_pb2.Payload(body=bytes(parameters.size)))

    def StreamingOutputCall(self, request, context):
        if any(parameters.compressed.value for parameters in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self._answers(request, context)

    def StreamingInputCall(self, requests, context):
        return messages_pb2.StreamingInputCallResponse(
            aggregated_payload_size=sum(len(request.payload.body) for request in requests))

    def FullDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in requests:
            ask_status(request, context)
            yield from self._answers(request, context)

    def HalfDuplexCall(self, requests, context):
        for request in list(requests):
            yield from self._answers(request, context)


def main():
    certificate, key = (open(name, "rb").read() for name in sys.argv[1:])
    server = grpc.server(futures.ThreadPoolExecutor(8))
    test_pb2_grpc.add_TestServiceServicer_to_server(TestService(), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(10).wait()


main()
