/* SPDX-License-Identifier: Apache-2.0 */
/* Where a value ends is found by a scan that looks at each byte once, so that a value is parsed
 * when it is whole and a slow input never makes the work quadratic. */
#include "call.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define VALUE_BYTES_MAX (64u << 20)
#define READ_BYTES      65536u

static dacm_code fail(dacm_error *error, dacm_code code, const char *what, const char *why)
{
    *error = (dacm_error){.code = code};
    snprintf(error->message, sizeof error->message, "%s: %.300s", what, why);
    return code;
}

dacm_code call_input_open(const char *source, call_input *ret, dacm_error *reterr)
{
    call_input input = {.fd = -1};
    if (source && strcmp(source, "-") == 0) {
        input.fd = STDIN_FILENO;
    } else if (source && source[0] == '@') {
        input.fd = open(source + 1, O_RDONLY | O_CLOEXEC);
        input.owned = true;
        if (input.fd < 0)
            return fail(reterr, DACM_LOCAL_FILE, source + 1, strerror(errno));
    } else {
        input.data = strdup(source ? source : "");
        if (!input.data)
            return fail(reterr, DACM_RESOURCE_EXHAUSTED, "the input", "no memory");
        input.size = input.room = strlen(input.data);
    }
    *ret = input;
    return DACM_OK;
}

static void close_input(call_input *input)
{
    if (input->owned && input->fd >= 0)
        close(input->fd);
    input->fd = -1;
}

void call_input_done(call_input *input)
{
    close_input(input);
    free(input->data);
    input->data = NULL;
}

/** Room for one more read behind what was not yet given out. */
static dacm_code make_room(call_input *input, dacm_error *reterr)
{
    if (input->start > 0) {
        memmove(input->data, input->data + input->start, input->size - input->start);
        input->size -= input->start;
        input->at -= input->start;
        input->start = 0;
    }
    if (input->room - input->size >= READ_BYTES)
        return DACM_OK;
    if (input->size > VALUE_BYTES_MAX)
        return fail(reterr, DACM_INVALID_ARGUMENT, "the input", "a JSON value is over 64 MiB");
    const size_t room = 2 * (input->room + READ_BYTES);
    char *more = realloc(input->data, room);
    if (!more)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "the input", "no memory");
    input->data = more;
    input->room = room;
    return DACM_OK;
}

dacm_code call_input_fill(call_input *input, dacm_error *reterr)
{
    const dacm_code code = make_room(input, reterr);
    if (code != DACM_OK)
        return code;
    const ssize_t size = read(input->fd, input->data + input->size, READ_BYTES);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return DACM_OK;
    if (size < 0)
        return fail(reterr, DACM_LOCAL_FILE, "cannot read the input", strerror(errno));
    if (size == 0)
        close_input(input);
    input->size += (size_t)size;
    return DACM_OK;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** Takes one byte of a value. True: the value ends with it. */
static bool scan_inside(call_input *input, char c)
{
    if (input->in_string) {
        const bool closes = c == '"' && !input->escaped;
        input->escaped = c == '\\' && !input->escaped;
        input->in_string = !closes;
        return closes && input->depth == 0;
    }
    if (c == '"')
        input->in_string = true;
    else if (c == '{' || c == '[')
        input->depth++;
    else if ((c == '}' || c == ']') && (input->depth == 0 || --input->depth == 0))
        return true;
    return false;
}

/** True: start … at is a value, or what is left at the end of the input. */
static bool scan(call_input *input)
{
    for (; input->at < input->size; input->at++) {
        const char c = input->data[input->at];
        if (!input->inside && blank(c)) {
            input->start = input->at + 1;
            continue;
        }
        /* A bare word ends before a blank. */
        if (input->inside && input->depth == 0 && !input->in_string && blank(c))
            return true;
        input->inside = true;
        if (scan_inside(input, c)) {
            input->at++;
            return true;
        }
    }
    return input->inside && input->fd < 0;
}

call_next call_input_next(call_input *input, json_t **ret, dacm_error *reterr)
{
    json_error_t why;
    if (!scan(input))
        return input->fd < 0 ? CALL_NEXT_END : CALL_NEXT_MORE;
    json_t *value = json_loadb(input->data + input->start, input->at - input->start,
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    input->start = input->at;
    input->inside = input->in_string = input->escaped = false;
    input->depth = 0;
    if (!value) {
        fail(reterr, DACM_INVALID_ARGUMENT, "the input is not JSON", why.text);
        if (strstr(why.text, "too big integer"))
            fail(reterr, DACM_INVALID_ARGUMENT, "the input has a number beyond 64 bits",
                "write it as a string");
        return CALL_NEXT_BAD;
    }
    *ret = value;
    return CALL_NEXT_VALUE;
}
