/* SPDX-License-Identifier: Apache-2.0 */
/** A state on a store of its own, with a clock that tests turn, two users and two clients. */
#ifndef SIM_TEST_KNOWN_H
#define SIM_TEST_KNOWN_H

#include "state.h"
#include "test.h"

#define START_MS  1700000000000
#define ALICE     "msisdn-4915550001"
#define BOB       "extid-bob@example.com"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
#define REDIRECT  "http://127.0.0.1/callback"

typedef struct known {
    char directory[256];
    store *db;
    sim_state *state;
    rpc_clock clock;
    host_metrics *metrics;
    _Atomic int64_t wall_ms;
    int64_t tick_ms; /* the clock goes on by that with each look at it */
    unsigned jtis;
    /* For the next opening; 0: cheap. */
    size_t password_memory_bytes, revocations_max;
    unsigned password_passes, hashes_waiting_max, hashes_per_user, grants_max;
} known;

/** With alice and bob (passwords "alice's password", "bob's password"; each mapped to one GPSI)
 *  and the clients "app" (public) and "server" (client_secret_basic). */
void known_open(known *k);
/** Without anybody; the directory is a new one where it is empty. */
void known_open_empty(known *k);
void known_close(known *k);
/** Closes and opens again, as a server that was started anew. */
void known_reopen(known *k);
void known_pass(known *k, int64_t seconds);

#define OK(call) known_ok((call), &status, __FILE__, __LINE__)
void known_ok(rpc_code code, const rpc_status *status, const char *file, int line);
#define REFUSED(call, expected)                                                                    \
    do {                                                                                           \
        status = (rpc_status){0};                                                                  \
        assert_string_equal(rpc_code_name(call), rpc_code_name(expected));                         \
        assert_true(status.message[0] != '\0');                                                    \
    } while (0)

/** What the user allows "app"; strings are static. */
sim_grant known_grant(known *k, const char *username);
/** Begins one and reads its code. */
void known_code(known *k, const char *username, char ret[SIM_CODE_MAX]);
/** Exchanges; *ret_jti (32 bytes of room) names the token. */
rpc_code known_exchange(
    known *k, const char *code, char ret_refresh[SIM_CODE_MAX], char *ret_jti, rpc_status *reterr);
rpc_code known_refresh(known *k, const char *refresh, char ret_refresh[SIM_CODE_MAX], char *ret_jti,
    rpc_status *reterr);
/** Word and blank, into a list of at most 127 characters. */
void known_append(char list[128], const char *word);
/** A line that /metrics must have; since the opening. */
void known_counts(known *k, const char *line);
/** Of a token with that jti, subject and time of issue. */
bool known_revoked(known *k, const char *jti, const char *sub, int64_t issued_at);
/** Entries of the log after a number. */
size_t known_logged(known *k, uint64_t after);
/** The client's record as a disabling leaves it that a crash interrupts before the revocations. */
void known_client_crashes(known *k, const char *client_id);
void known_sweep(known *k);
/** Records in the groups that begin so. */
size_t known_records(known *k, const char *prefix);

#endif
