# SPDX-License-Identifier: Apache-2.0
"""What is run: the cases of gRPC's interop-test-descriptions, the pairs of client and server, and
where a peer's API cannot do all that a case asks for.

    cases.py            prints one "PAIR CASE" a line, for CMake
"""

CASES = {
    "empty_unary": "an empty request, an empty reply",
    "large_unary": "271,828 bytes there, 314,159 back",
    "client_streaming": "four requests, their sum back",
    "server_streaming": "one request, four replies",
    "ping_pong": "four requests, each answered before the next",
    "half_duplex": "four requests first, then four replies with a pause before each",
    "empty_stream": "a stream of nothing both ways",
    "cancel_after_begin": "CANCELLED before the first message",
    "cancel_after_first_response": "CANCELLED in the middle of a stream",
    "timeout_on_sleeping_server": "DEADLINE_EXCEEDED after 1 ms",
    "custom_metadata": "text and binary metadata echoed, initial and trailing, unary and stream",
    "status_code_and_message": "a status with its message, unary and stream",
    "special_status_message": "white space and characters beyond ASCII in a message",
    "unimplemented_method": "UNIMPLEMENTED for a method of a known service",
    "unimplemented_service": "UNIMPLEMENTED for an unknown service",
    "per_rpc_creds": "another bearer token with each call of one channel, and none",
    "client_compressed_unary": "requests with and without gzip; the server must tell which",
    "server_compressed_unary": "replies with and without gzip, as asked",
    "client_compressed_streaming": "the same for the messages of a stream of requests",
    "server_compressed_streaming": "the same for the messages of a stream of replies",
    "rpc_soak": "large_unary again and again on one channel",
    "channel_soak": "large_unary again and again, each time on a new channel",
}

# Name of a pair: client and server. Ours is librpc.
PAIRS = {
    "ours-ours": ("ours", "ours"),
    "ours-cpp": ("ours", "cpp"),
    "ours-grpcio": ("ours", "grpcio"),
    "cpp-ours": ("cpp", "ours"),
    "grpcio-ours": ("grpcio", "ours"),
    "js-ours": ("js", "ours"),
}

_NO_PROBE = ("grpcio shows a server no compressed flag: the step in which the server must refuse "
             "an uncompressed message is left out")
_UNSEEN = "{} shows a client no compressed flag: the payloads are checked, the flag is not"

# Passed, but for a part that the peer's API cannot do.
NOTES = {
    ("ours-grpcio", "client_compressed_unary"): _NO_PROBE,
    ("ours-grpcio", "client_compressed_streaming"): _NO_PROBE,
    ("grpcio-ours", "server_compressed_unary"): _UNSEEN.format("grpcio"),
    ("grpcio-ours", "server_compressed_streaming"): _UNSEEN.format("grpcio"),
    ("js-ours", "server_compressed_unary"): _UNSEEN.format("grpc-js"),
    ("js-ours", "server_compressed_streaming"): _UNSEEN.format("grpc-js"),
}

NOT_POSSIBLE = {
    ("grpcio-ours", "client_compressed_streaming"):
        "grpcio's client cannot leave one message of a compressed stream uncompressed",
}

if __name__ == "__main__":
    for pair in PAIRS:
        for case in CASES:
            print(pair, case)
