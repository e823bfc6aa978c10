/* SPDX-License-Identifier: Apache-2.0 */
/** Documents as text, with one thing at a time taken or changed. */
#ifndef DACM_TEST_GLTF_TEXT_H
#define DACM_TEST_GLTF_TEXT_H

#include "gltf.h"
#include "test.h"

/** A document that must be good. media__gltf_done() it. */
static inline media__gltf read_json(const char *text)
{
    media__gltf gltf;
    rpc_status status;
    if (media__gltf_read(rpc_bytes_str(text), &gltf, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return gltf;
}

/** good with the first `from` replaced by `to`, read. */
static inline rpc_code text_read(
    const char *good, const char *from, const char *to, rpc_status *ret)
{
    const char *at = strstr(good, from);
    if (!at)
        fail_msg("'%s' is not in it", from);
    const size_t size = strlen(good) + strlen(to) + 1;
    char *text = malloc(size);
    snprintf(text, size, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    media__gltf gltf;
    const rpc_code code = media__gltf_read(rpc_bytes_str(text), &gltf, ret);
    if (code == RPC_OK)
        media__gltf_done(&gltf);
    free(text);
    return code;
}

static inline void assert_text_read(const char *good, const char *from, const char *to)
{
    rpc_status status = {0};
    if (text_read(good, from, to, &status) != RPC_OK)
        fail_msg("'%s' -> '%s': %s", from, to, status.message);
}

/** What is replaced, by what, and what the message must say. */
typedef const char *text_case[3];

static inline void assert_text_refused(const char *good, const text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rpc_status status = {0};
        const rpc_code code = text_read(good, cases[i][0], cases[i][1], &status);
        if (code != RPC_INVALID_ARGUMENT || !strstr(status.message, cases[i][2]))
            fail_msg("%s -> %s: %s: '%s', not '%s'", cases[i][0], cases[i][1], rpc_code_name(code),
                status.message, cases[i][2]);
    }
}

#endif
