# SPDX-License-Identifier: Apache-2.0
"""Ports of the test's own, as tests/support/ports.c has them for programs in C.

The kernel gives any port of its ephemeral range to whoever connects next, also one whose server
is just being started again; so these are outside of it. Another test that looks for some keeps off
by the name of an abstract socket, which is gone with this process however it ends."""
import os
import socket

BLOCK = 8
FIRST, LAST = 10240, 65535
_reserved = []


def _candidates():
    """The first ports of all blocks, beginning somewhere."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    every = range(FIRST, LAST - BLOCK, BLOCK)
    # Where the whole range is ephemeral there is nothing better than that.
    blocks = [first for first in every if first + BLOCK <= low or first > high] or list(every)
    at = int.from_bytes(os.urandom(4), "big") % len(blocks)
    return blocks[at:] + blocks[:at]


def _unused(first):
    for port in range(first, first + BLOCK):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
                probe.listen(1)
            except OSError:
                return False
    return True


def reserve():
    """The first of BLOCK consecutive ports, this process's until it ends."""
    for first in _candidates():
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0dacm-test-ports-{first}")
        except OSError:
            name.close()
            continue
        _reserved.append(name)  # also where they are not ours: nobody else needs to look
        if _unused(first):
            return first
    raise RuntimeError("no free ports")
