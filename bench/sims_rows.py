# SPDX-License-Identifier: Apache-2.0
"""The rows of simsd."""
import dataclasses
import statistics

import delays
import population
import providers
from row import BoundRow, Row

OURS = "simsd"
BOTH = (f"{providers.CONNECTIONS} connections, TLS 1.3, assertion and access token (JWT) signed with "
        "Ed25519")


@dataclasses.dataclass(frozen=True)
class GrantsRow(Row):
    """Also tells what a grant costs each side's server in CPU, and what the generator takes of the
    machine's: where that is much, it and not the server is measured."""

    def run(self, servers, rounds, quick):
        done = {self.ours: [], self.peer: []}

        def measure(*of):
            done[of[1]].append(self.measure(*of))
            return done[of[1]][-1]["grants_per_s"]
        result = Row.run(dataclasses.replace(self, measure=measure), servers, rounds, quick)
        result["more"] = {side: {
            "server_cpu_us": round(statistics.median(
                one["server_cpu_seconds"] / one["grants"] for one in runs) * 1e6),
            "client_cpu_us": round(statistics.median(
                one["client_cpu_seconds"] / one["grants"] for one in runs) * 1e6),
            "client_share_of_a_core": round(statistics.median(
                one["client_cpu_seconds"] / one["seconds"] for one in runs), 2),
        } for side, runs in done.items()}
        return result


def grants(name, work, what, ours_count, mark):
    def measure(servers, side, quick):
        count = ours_count if side == OURS else ours_count // 5
        return getattr(providers.of(servers, side), work)(count // 4 if quick else count)
    return GrantsRow(name, what, "grants/s", providers.OIDC, mark, True, measure, OURS)


ROWS = [
    grants("client-credentials", "client_credentials", "client credentials with private_key_jwt, "
           f"{BOTH}. Ours: nothing to keep but the record of the trail, in the kernel before the "
           "answer; oidc-provider: nothing is kept but each jti, in memory", 20_000, 10.0),
    grants("refresh", "refreshes", "refreshes with rotation by a public client, one family on each "
           f"connection, {BOTH}, ID token beside it. Ours: LMDB, synced before the answer, and the "
           "record of the trail; oidc-provider: its default adapter, memory", 8000, None),
    grants("code-exchange", "exchanges", "codes from an established session and their exchange by "
           f"a public client, {BOTH}, ID token and refresh token beside it. Ours: LMDB, synced "
           "before each answer, and the record of the trail; oidc-provider: its default adapter, "
           "memory", 4000, None),
    BoundRow("memory-100k-users", "anonymous memory of simsd with 100,000 users (--quick: 10,000), "
             "of whom 100 have just logged in", "MB", "bound", 1.0, False, population.measure, OURS,
             40.0),
    BoundRow("revocation-delay", "the longest of 200 (--quick: 24) times between the answer to who "
             "revokes a token or disables a user at simsd, or takes one off the list at dacmd, and "
             "the end of a running download, of which every other has its window closed", "ms",
             "bound", 1.0, False, delays.measure, OURS, 2000.0),
]
