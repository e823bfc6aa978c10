/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *dacm_code_name(dacm_code code)
{
    switch (code) {
    case DACM_BAD_SIGNATURE:
        return "BAD_SIGNATURE";
    case DACM_NO_KEY:
        return "NO_KEY";
    case DACM_LOCAL_FILE:
        return "LOCAL_FILE";
    default:
        return rpc_code_name((rpc_code)code);
    }
}

/** Foreign text may end up on a terminal: no control characters, and no half character at the
 *  end. */
static void make_printable(char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
    while (size > 0 && !rpc_utf8_valid(rpc_bytes_of(text, size)))
        text[--size] = 0;
}

dacm_code client__fail(dacm_error *error, dacm_code code, const char *format, ...)
{
    if (!error)
        return code;
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    error->request_id[0] = 0;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    make_printable(error->message);
    return code;
}

dacm_code client__fail_status(dacm_error *error, const rpc_status *status)
{
    return client__fail(error, (dacm_code)status->code, "%s",
        status->message[0] ? status->message : rpc_code_name(status->code));
}

dacm_code client__fail_file(dacm_error *error, const char *what, const char *path)
{
    char reason[128];
    const char *text = strerror_r(errno, reason, sizeof reason);
    return client__fail(error, DACM_LOCAL_FILE, "%s '%.300s': %s", what, path, text);
}
