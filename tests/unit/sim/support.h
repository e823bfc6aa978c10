/* SPDX-License-Identifier: Apache-2.0 */
/** A query as parameters, for tests of the parsers. */
#ifndef SIM_TEST_SUPPORT_H
#define SIM_TEST_SUPPORT_H

#include "http.h"
#include "test.h"

/** Lives until the next call. */
static inline const host_params *params_of(const char *query)
{
    static char room[65536];
    static host_params params;
    assert_true(strlen(query) < sizeof room);
    host_params_parse(rpc_bytes_str(query), room, &params);
    return &params;
}

#endif
