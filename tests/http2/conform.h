/* SPDX-License-Identifier: Apache-2.0 */
/** Cases of conformance to RFC 9113 and RFC 7541: what is sent, what must come of it, and the
 *  clause that says so. One line of a table is one entry of ctest.
 *
 *  SERVER_CASE(name, clause, outcome, steps…)  a client that sends the steps to our server
 *  CLIENT_CASE(name, clause, outcome, call, steps…)  a server that answers our client's first
 *      call (stream 1, Echo/Chat with one message sent and its sending side open, or, in
 *      CLIENT_HALF_CASE, closed) with the steps; call is the status that the call ends with, or
 *      RUNS.
 *
 *  After each case the connection is closed, every call has ended, no descriptor is left, and
 *  (server) another client is served. */
#ifndef DACM_TEST_H2_CONFORM_H
#define DACM_TEST_H2_CONFORM_H

#include "peer.h"

typedef enum h2_outcome_kind {
    H2_IS_IGNORED, /* no reset, no GOAWAY, and the connection goes on */
    H2_IS_GOAWAY,  /* the connection ends with this code */
    H2_IS_RESET,   /* the stream ends with this code, and the connection goes on */
    H2_IS_STATUS,  /* answered with this status of gRPC; the connection goes on or ends well */
    H2_IS_HTTP,    /* the same with a status of HTTP */
    H2_IS_CLOSED,  /* the connection ends, with or without a word */
} h2_outcome_kind;

typedef struct h2_outcome {
    h2_outcome_kind kind;
    uint32_t stream, code;
} h2_outcome;

#define GOAWAY(code)     ((h2_outcome){H2_IS_GOAWAY, 0, NGHTTP2_##code})
#define RESET(id, code)  ((h2_outcome){H2_IS_RESET, id, NGHTTP2_##code})
#define IGNORED          ((h2_outcome){H2_IS_IGNORED, 0, 0})
#define STATUS(id, code) ((h2_outcome){H2_IS_STATUS, id, RPC_##code})
#define HTTP(id, code)   ((h2_outcome){H2_IS_HTTP, id, code})
#define CLOSED           ((h2_outcome){H2_IS_CLOSED, 0, 0})
#define RUNS             (-1)

typedef struct h2_case {
    const char *clause;
    h2_outcome outcome;
    const h2_step *steps;
    size_t step_count;
    bool raw;                    /* server: the steps bring their own preface */
    bool half_closed;            /* client: the call's sending side */
    int call;                    /* client: rpc_code or RUNS */
    void (*prepare)(fixture *f); /* limits, before the start */
} h2_case;

void h2_server_case(const h2_case *c);
void h2_client_case(const h2_case *c);

#define H2_CASE(name, run, about, ...)                                                             \
    TEST(name)                                                                                     \
    {                                                                                              \
        static const h2_step steps[] = {__VA_ARGS__};                                              \
        h2_case c = about;                                                                         \
        c.steps = steps;                                                                           \
        c.step_count = sizeof steps / sizeof steps[0];                                             \
        run(&c);                                                                                   \
    }                                                                                              \
    _Static_assert(1, "a semicolon follows")
#define H2_ABOUT(...) ((h2_case){__VA_ARGS__})

#define SERVER_CASE(name, where, expected, ...)                                                    \
    H2_CASE(name, h2_server_case, H2_ABOUT(.clause = where, .outcome = expected), __VA_ARGS__)
#define SERVER_RAW_CASE(name, where, expected, ...)                                                \
    H2_CASE(name, h2_server_case, H2_ABOUT(.clause = where, .outcome = expected, .raw = true),     \
        __VA_ARGS__)
#define CLIENT_CASE(name, where, expected, status, ...)                                            \
    H2_CASE(name, h2_client_case, H2_ABOUT(.clause = where, .outcome = expected, .call = status),  \
        __VA_ARGS__)
#define CLIENT_HALF_CASE(name, where, expected, status, ...)                                       \
    H2_CASE(name, h2_client_case,                                                                  \
        H2_ABOUT(.clause = where, .outcome = expected, .call = status, .half_closed = true),       \
        __VA_ARGS__)
#define CLIENT_RAW_CASE(name, where, expected, status, ...)                                        \
    H2_CASE(name, h2_client_case,                                                                  \
        H2_ABOUT(.clause = where, .outcome = expected, .call = status, .raw = true), __VA_ARGS__)

#endif
