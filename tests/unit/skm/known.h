/* SPDX-License-Identifier: Apache-2.0 */
/** A state of skmsd on a store of its own, with a clock that tests turn. */
#ifndef SKM_TEST_KNOWN_H
#define SKM_TEST_KNOWN_H

#include "state.h"
#include "test.h"

#define START_S 1800000000
#define DAY     86400
#define ISSUER  "https://skms.example"
#define DACM    "https://dacm.example/"
#define SECRET  "correct horse battery staple"
#define SAN     "dacm.example"

typedef struct known {
    char directory[256];
    store *db;
    skm_state *state;
    rpc_clock clock;
    _Atomic int64_t wall_ms, step_ms; /* step_ms passes with each look at it */
    const char *secret;               /* NULL: SECRET */
    size_t services_max;              /* 0: 8 */
} known;

/** On a new folder, without services. */
void known_open(known *k);
void known_close(known *k);
/** As a server that was started anew. */
void known_reopen(known *k);
/** Opens store and state on them; what the state said, whose store is open in either case. */
rpc_code known_try(known *k, rpc_status *reterr);
void known_pass(known *k, int64_t seconds);
int64_t known_now(known *k);
/** Tends; when it wants to be called again, seconds. */
int64_t known_tend(known *k);

#define OK(call) known_ok((call), &status, __FILE__, __LINE__)
void known_ok(rpc_code code, const rpc_status *status, const char *file, int line);
#define REFUSED(call, expected)                                                                    \
    do {                                                                                           \
        status = (rpc_status){0};                                                                  \
        assert_string_equal(rpc_code_name(call), rpc_code_name(expected));                         \
        assert_true(status.message[0] != '\0');                                                    \
    } while (0)

/** With both purposes: a key signs 10 days, is known a day before, verifies 2 days longer. */
void known_add(known *k, const char *service, bool delegated);
/** Enrols SAN for that service with a key pair that the test has. */
void known_enrol(known *k, const char *service, const char *san, const uint8_t sealing_key[32]);
/** The caller whose certificate has that one DNS name; until the next call. */
skm_caller known_caller(const char *san);

/** skm_sign() of a tokens' key ("" = the one that signs), with what has to be announced before. */
rpc_code known_sign(known *k, const skm_caller *caller, const char *kid,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr);
/** The same for a caller of several services ("" = as known_sign()). */
rpc_code known_sign_of(known *k, const skm_caller *caller, const char *service, const char *kid,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr);

/** Of one set: kids by state, as many as there are. */
typedef struct known_keys {
    size_t count;
    char kid[64][TRUST_KID_MAX + 1];
    skm_key_state state[64];
    skm_key_life life[64];
} known_keys;
known_keys known_list(known *k, const char *service, skm_purpose purpose);
/** Index of the only one in that state; fails when there is none or another. */
size_t known_one(const known_keys *keys, skm_key_state wanted);

/** The published set, verified under the root of now as verifiers do; its version. */
uint64_t known_version(known *k, const char *service, skm_purpose purpose);
/** The ring of it; unref it. */
trust_keyring *known_ring(known *k, const char *service, skm_purpose purpose);

#endif
