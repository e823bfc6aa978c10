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

dacm_code client__fail(dacm_error *error, dacm_code code, const char *format, ...)
{
    if (!error)
        return code;
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    error->request_id[0] = 0;
    error->retry_ms = 0;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    rpc_text_printable(error->message);
    return code;
}

void client__copy_text(char *ret, size_t room, const char *text)
{
    snprintf(ret, room, "%s", text);
    rpc_text_printable(ret);
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
