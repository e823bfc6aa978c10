/* SPDX-License-Identifier: Apache-2.0 */
/** Where the browser comes back to after a login (RFC 8252, 7.3): a listener on 127.0.0.1. */
#ifndef DACM_CLI_LOOPBACK_H
#define DACM_CLI_LOOPBACK_H

#include "cli.h"

typedef struct loopback {
    int fd;
    char url[64]; /* http://127.0.0.1:PORT/callback */
} loopback;

/** port 0: any. UNAVAILABLE: it is taken. */
dacm_code loopback_open(loopback *back, unsigned port, dacm_error *reterr);
void loopback_close(loopback *back);

/** What came back: malloc'd, absent members NULL. */
typedef struct loopback_answer {
    char *code, *iss, *error, *error_description;
} loopback_answer;
void loopback_answer_done(loopback_answer *answer);

/** Waits for a request with that state, at most timeout_s. Requests with another state, or none,
 *  are somebody else's: they get a page that says nothing, and nothing is told (TS 33.434 A.4;
 *  RFC 6749 10.12). DEADLINE_EXCEEDED. */
dacm_code loopback_wait(const loopback *back, const char *state, int timeout_s,
    loopback_answer *ret, dacm_error *reterr);

#endif
