/* SPDX-License-Identifier: Apache-2.0 */
/* The status as it comes: the first byte is the room for the message, then lines of grpc-status,
 * :status as it may come, grpc-message, and the rest is grpc-status-details-bin. */
#include "fuzz.h"
#include "session.h"

#define ARENA_BYTES 65536

static rpc_bytes line(rpc_bytes *rest)
{
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, '\n', rest->size) : NULL;
    rpc_bytes part = rpc_bytes_of(rest->data, end ? (size_t)(end - rest->data) : rest->size);
    size_t used = part.size + (end != NULL);
    if (used > 0)
        *rest = rpc_bytes_of(rest->data + used, rest->size - used);
    return part;
}

static void check_code(rpc_bytes text)
{
    rpc_code code = rpc__code_parse(text);
    MUST(code <= RPC_UNAUTHENTICATED);
    MUST(code == RPC_UNKNOWN || rpc_bytes_equal(text, rpc_bytes_str(rpc__code_text(code))));
}

static void check_http(rpc_bytes text)
{
    int status = 0;
    for (size_t i = 0; i < text.size && i < 3; i++)
        status = status * 10 + (text.data[i] - '0');
    rpc_code code = rpc__code_of_http(status);
    MUST(code > RPC_OK && code <= RPC_UNAUTHENTICATED);
    code = rpc__code_of_reset((uint32_t)status);
    MUST(code > RPC_OK && code <= RPC_UNAUTHENTICATED);
}

/* UTF-8 within the room; and what is encoded is decoded to the same. */
static void check_message(rpc_bytes text, size_t room)
{
    MUST(room > 0 && text.size <= UINT32_MAX);
    char *message = malloc(room), *encoded = malloc(3 * text.size + 1);
    char *again = malloc(text.size + 1);
    MUST(message && encoded && again);
    rpc__percent_decode(text, message, room);
    size_t size = strnlen(message, room);
    MUST(size < room && size <= text.size);
    MUST(rpc_utf8_valid(rpc_bytes_of(message, size)));
    size_t length = rpc__percent_encode(text, encoded);
    MUST(length <= 3 * text.size && encoded[length] == '\0');
    for (size_t i = 0; i < length; i++)
        MUST(encoded[i] >= ' ' && encoded[i] <= '~');
    rpc__percent_decode(rpc_bytes_of(encoded, length), again, text.size + 1);
    if (rpc_utf8_valid(text))
        MUST(text.size == 0 || memcmp(again, text.data, text.size) == 0);
    free(message);
    free(encoded);
    free(again);
}

static void check_details(rpc_bytes text)
{
    static const char name[] = "grpc-status-details-bin";
    rpc_call *call = calloc(1, sizeof *call);
    MUST(call);
    call->arena = rpc_arena_new(ARENA_BYTES);
    MUST(call->arena);
    rpc_bytes details = {0};
    MUST(rpc__headers_add(call, &call->trailers, rpc_bytes_str(name), text, NULL) ||
         text.size > ARENA_BYTES / 256);
    if (rpc_call_status_details(call, &details)) {
        volatile uint8_t sum = 0;
        MUST(details.size <= 3 * text.size / 4);
        for (size_t i = 0; i < details.size; i++)
            sum = (uint8_t)(sum ^ details.data[i]);
    }
    rpc_arena_free(call->arena);
    free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    rpc_bytes rest = rpc_bytes_of(data + 1, size - 1);
    check_code(line(&rest));
    check_http(line(&rest));
    check_message(line(&rest), data[0] + 1u);
    check_details(rest);
    return 0;
}
