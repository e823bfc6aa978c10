/* SPDX-License-Identifier: Apache-2.0 */
/** What the fuzz targets share. */
#ifndef DACM_FUZZ_H
#define DACM_FUZZ_H

#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** A property of the product: what breaks it is a finding. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/** A refusal: its code is in the status, and its sentence is one line of UTF-8. */
static inline void fuzz_refused(rpc_code code, const rpc_status *status)
{
    size_t size = strnlen(status->message, sizeof status->message);
    MUST(code != RPC_OK && status->code == code);
    MUST(size > 0 && size < sizeof status->message);
    MUST(rpc_utf8_valid(rpc_bytes_of(status->message, size)));
    for (size_t i = 0; i < size; i++)
        MUST((uint8_t)status->message[i] >= ' ' && status->message[i] != 0x7f);
}

/** Base64url without padding, NUL-terminated; returns the characters written. */
static inline size_t fuzz_base64url(rpc_bytes bytes, char *ret, size_t room)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t at = 0;
    MUST(room > (bytes.size + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size; i += 3) {
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        size_t left = bytes.size - i;
        word |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        word |= left > 2 ? bytes.data[i + 2] : 0;
        for (size_t j = 0; j < (left > 2 ? 4 : left + 1); j++)
            ret[at++] = digits[word >> (18 - 6 * j) & 63];
    }
    ret[at] = '\0';
    return at;
}

#endif
