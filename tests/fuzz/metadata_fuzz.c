/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata: names, values, "-bin" values as base64 (several joined with commas), grpc-timeout,
 * lists of encodings. Each line of the input is NAME:VALUE. */
#include "fuzz.h"
#include "session.h"

#define ARENA_BYTES 65536

static rpc_bytes cut(rpc_bytes *rest, uint8_t at)
{
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, at, rest->size) : NULL;
    rpc_bytes part = rpc_bytes_of(rest->data, end ? (size_t)(end - rest->data) : rest->size);
    size_t used = part.size + (end != NULL);
    if (used > 0)
        *rest = rpc_bytes_of(rest->data + used, rest->size - used);
    return part;
}

/* What was decoded, encoded again, is what came, but for padding and bits that are thrown away. */
static void check_base64(rpc_bytes text)
{
    uint8_t *data = malloc(3 * text.size / 4 + 1);
    size_t size = 0;
    MUST(data);
    if (rpc__base64_decode(text, data, &size)) {
        char *again = malloc(rpc__base64_size(size) + 1);
        MUST(again && size <= 3 * text.size / 4);
        rpc__base64_encode(rpc_bytes_of(data, size), again);
        size_t whole = size / 3 * 4;
        MUST(whole == 0 || memcmp(again, text.data, whole) == 0);
        MUST(rpc__base64_size(size) <= text.size);
        for (size_t i = rpc__base64_size(size); i < text.size; i++)
            MUST(text.data[i] == '=');
        free(again);
    }
    free(data);
}

/* As it comes from the network: each part that can be decoded is a value. */
static void check_received(rpc_bytes name, rpc_bytes value)
{
    rpc_call *call = calloc(1, sizeof *call);
    rpc__headers headers = {0};
    const size_t most = (value.size + 1) * (name.size + 128); /* if all were commas */
    MUST(call);
    call->arena = rpc_arena_new(ARENA_BYTES);
    MUST(call->arena);
    bool added = rpc__headers_add(call, &headers, name, value, NULL);
    for (const rpc__header *header = headers.first; header; header = header->next) {
        rpc_bytes part = cut(&value, ',');
        uint8_t *data = malloc(part.size + 1);
        size_t size = 0;
        MUST(data);
        while (!rpc__base64_decode(part, data, &size)) {
            free(data);
            MUST(value.size > 0 || part.size > 0);
            part = cut(&value, ',');
            data = malloc(part.size + 1);
            MUST(data);
        }
        MUST(rpc_bytes_equal(rpc_bytes_of(data, size), header->value));
        MUST(rpc_bytes_equal(rpc_bytes_str(header->name),
            rpc_bytes_of(name.data, strnlen((const char *)name.data, name.size))));
        free(data);
    }
    MUST(added || most > ARENA_BYTES);
    rpc_arena_free(call->arena);
    free(call);
}

/* What may be sent arrives as it was. */
static void check_sent(rpc_bytes name, rpc_bytes value)
{
    MUST(name.size <= UINT32_MAX);
    char *text = malloc(name.size + 1); /* strndup() may look for the end of what has none */
    rpc__out_header *list = NULL;
    MUST(text);
    if (name.size > 0)
        memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    rpc_bytes key = rpc_bytes_str(text);
    bool binary = rpc__metadata_name_binary(key);
    bool good = rpc__metadata_name_valid(key) && (binary || rpc__metadata_value_valid(value));
    MUST(rpc__out_header_add(&list, text, value, false) == (good ? RPC_OK : RPC_INVALID_ARGUMENT));
    if (good) {
        nghttp2_nv nv;
        MUST(rpc__out_headers_fill(list, &nv) == 1);
        MUST(nghttp2_check_header_name(nv.name, nv.namelen));
        MUST(nghttp2_check_header_value(nv.value, nv.valuelen));
        uint8_t *back = malloc(nv.valuelen + 1);
        size_t size = nv.valuelen;
        MUST(back);
        if (binary)
            MUST(rpc__base64_decode(rpc_bytes_of(nv.value, nv.valuelen), back, &size));
        else if (size > 0)
            memcpy(back, nv.value, size);
        MUST(rpc_bytes_equal(rpc_bytes_of(back, size), value));
        free(back);
    }
    rpc__out_headers_free(&list);
    free(text);
}

static void check_timeout(rpc_bytes text)
{
    int64_t us = -1, again = -1;
    char formatted[RPC__TIMEOUT_TEXT_BYTES];
    if (!rpc__timeout_parse(text, &us))
        return;
    MUST(us >= 0 && us <= INT64_C(99999999) * 3600000000);
    rpc__timeout_format(us, formatted);
    MUST(rpc__timeout_parse(rpc_bytes_str(formatted), &again));
    MUST(again >= us && again - us <= us / 100); /* rounded up to a unit of which there are many */
}

static void check_encodings(rpc_bytes text)
{
    unsigned accept = rpc__accept_parse(text);
    MUST(accept & RPC_ACCEPT(RPC_ENCODING_IDENTITY) && !(accept & ~RPC__ACCEPT_ALL));
    MUST(rpc__accept_parse(rpc_bytes_str(rpc__accept_text(accept))) == accept);
    rpc_encoding one = rpc__encoding_parse(text);
    MUST(one == RPC_ENCODING_DEFAULT || accept & RPC_ACCEPT(one));
    (void)rpc__content_type_valid(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rpc_bytes rest = rpc_bytes_of(data, size);
    while (rest.size > 0) {
        rpc_bytes value = cut(&rest, '\n'), name = cut(&value, ':');
        check_base64(value);
        check_timeout(value);
        check_encodings(value);
        if (rpc__metadata_name_binary(name))
            check_received(name, value);
        if (name.size > 0)
            check_sent(name, value);
    }
    return 0;
}
