# SPDX-License-Identifier: Apache-2.0
"""What a peer that means no good costs a server in memory, for each connection: written by hand,
so that the client is the same for both sides and does what no library would."""
import socket
import ssl
import time

# dacmd lets 64 strangers of an address in; gRPC C++ any number.
STRANGERS = 60
READERS = 50
HALF_REQUESTS = 200


def frame(kind, flags, stream, payload):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") +
            payload)


def hpack_text(text):
    """A string literal of HPACK without Huffman (RFC 7541, 5.2)."""
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    size, rest = bytearray([127]), len(data) - 127
    while rest > 127:
        size.append(0x80 | rest & 127)
        rest >>= 7
    return bytes(size) + bytes([rest]) + data


def request(method, more=()):
    headers = [(":method", "POST"), (":scheme", "https"),
               (":path", "/dacm.v1.DigitalAssets/" + method), (":authority", "localhost"),
               ("te", "trailers"), ("content-type", "application/grpc"), *more]
    block = b"".join(b"\0" + hpack_text(name) + hpack_text(value) for name, value in headers)
    return frame(1, 4, 1, block)


WIDE = (2**31 - 1).to_bytes(4, "big")
PREFACE = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\4" + WIDE) +
           frame(8, 0, 0, (2**30).to_bytes(4, "big")))


def context():
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    tls.set_alpn_protocols(["h2"])
    return tls


def connect(address, tls):
    return tls.wrap_socket(socket.create_connection(address), server_hostname="localhost")


def half_hello():
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context().wrap_bio(inward, outward, server_hostname="localhost")
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    whole = outward.read()
    return whole[:len(whole) // 2]


def half_handshake(servers, address, _):
    plain = socket.create_connection(address)
    plain.sendall(half_hello())
    return plain


def half_request(servers, address, tls):
    """A message of 100,000 bytes of which half comes."""
    connection = connect(address, tls)
    half = b"\0" + (100_000).to_bytes(4, "big") + bytes(50_000 - 5)
    connection.sendall(PREFACE + request("Authorize") + b"".join(
        frame(0, 0, 1, half[at:at + 10_000]) for at in range(0, len(half), 10_000)))
    return connection


def slow_reader(servers, address, tls):
    """Asks for 64 MiB with every window open, and reads nothing."""
    def field(number, text):
        return bytes([number << 3 | 2, len(text)]) + text.encode()
    connection = connect(address, tls)
    message = field(1, servers.assets[64 << 20]) + field(2, servers.user)
    connection.sendall(PREFACE + request("Download", [("dacm-token", servers.hostile_token)]) +
                       frame(0, 1, 1, b"\0" + len(message).to_bytes(4, "big") + message))
    return connection


def memory_kb(attack, count):
    def measure(servers, side, quick):
        server = servers.servers[side]
        host, port = servers.targets[side].split(":")
        servers.hostile_token = servers.fresh_token().read_text().strip()
        tls = context()
        before = server.anonymous_kb()
        held = [attack(servers, (host, int(port)), tls) for _ in range(count)]
        time.sleep(1.5)  # for what was sent to be read; all that is held is held by then
        after = server.anonymous_kb()
        for connection in held:
            connection.close()
        time.sleep(2)
        return max(after - before, 1) / count
    return measure
