# SPDX-License-Identifier: Apache-2.0
"""simsd with many users, put in as an operator does who comes from another provider: by the
operator's service, each with a GPSI and a password hash."""
import collections
import ctypes
import ctypes.util
import time

import providers
import suite
from servers import Child

IN_FLIGHT = 64
LOGINS = 100
PASSWORD = "correct horse battery"
KIB, PASSES = 7168, 5  # what Keycloak takes for Argon2id


def hash_of(password):
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
    text, data = ctypes.create_string_buffer(128), password.encode()
    assert sodium.crypto_pwhash_str(text, data, ctypes.c_ulonglong(len(data)),
                                    ctypes.c_ulonglong(PASSES), ctypes.c_size_t(KIB << 10)) == 0
    return text.value.decode()


def put_in(sims, sim, count):
    """Users a second."""
    operator, waiting, hashed = sims.admin(), collections.deque(), hash_of(PASSWORD)
    begun = time.monotonic()
    for i in range(count):
        waiting.append(operator.CreateUser.future(sim.CreateUserRequest(
            username=f"user{i:06d}", name=f"User {i}", gpsis=[f"msisdn-4917{i:08d}"],
            password_hash=hashed), timeout=600))
        if len(waiting) == IN_FLIGHT:
            waiting.popleft().result()
    for call in waiting:
        call.result()
    return count / (time.monotonic() - begun)


def measure(servers, quick):
    """(MB of a simsd with that many users of whom some have just logged in, how it got there)."""
    count = 10_000 if quick else 100_000
    module = suite.load(servers.build)
    sims = servers.sims(providers.as_by_default)
    child = Child(sims.daemon.pid)
    told = {"users": count, "mb_empty": round(child.anonymous_kb() / 1024, 1)}
    told["users_put_in_per_s"] = round(put_in(sims, module.sim, count))
    told["mb_put_in"] = round(child.anonymous_kb() / 1024, 1)
    app = sims.add_client("app")
    for i in range(0, count, count // LOGINS):
        module.Browser(sims).tokens(app, f"user{i:06d}")
    return child.anonymous_kb() / 1024, told
