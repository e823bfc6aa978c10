/* SPDX-License-Identifier: Apache-2.0 */
/* trust_gpsi_valid(), trust_gpsi_parse() and trust_asset_id_valid() against a second reading of
 * the same rules, written as sets of characters and cuts instead of states. */
#include "fuzz.h"
#include "trust.h"

#define DIGITS "0123456789"
#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Of `size` bytes, all in the set? */
static bool all_of(const uint8_t *text, size_t size, const char *set)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0' || !strchr(set, text[i]))
            return false;
    return true;
}

/* [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])? */
static bool label(const uint8_t *text, size_t size)
{
    return size >= 1 && size <= 63 && all_of(text, size, LOWER DIGITS "-") && text[0] != '-' &&
           text[size - 1] != '-';
}

/* label(\.label)* */
static bool domain(const uint8_t *text, size_t size)
{
    const uint8_t *dot = size ? memchr(text, '.', size) : NULL;
    if (!dot)
        return label(text, size);
    size_t head = (size_t)(dot - text);
    return label(text, head) && domain(dot + 1, size - head - 1);
}

/* [\x21-\x7e]+ without @, one @, a domain */
static bool external_id(const uint8_t *text, size_t size)
{
    size_t local = 0;
    while (local < size && text[local] > ' ' && text[local] < 0x7f && text[local] != '@')
        local++;
    return local >= 1 && local < size && text[local] == '@' &&
           domain(text + local + 1, size - local - 1);
}

static bool has_prefix(const uint8_t *text, size_t size, const char *prefix)
{
    return size >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static bool gpsi(const uint8_t *text, size_t size)
{
    if (size > 255)
        return false;
    bool msisdn = has_prefix(text, size, "msisdn-") && size >= 7 + 5 && size <= 7 + 15 &&
                  all_of(text + 7, size - 7, DIGITS);
    return msisdn || (has_prefix(text, size, "extid-") && external_id(text + 6, size - 6));
}

static bool asset_id(const uint8_t *text, size_t size)
{
    return size >= 1 && size <= 128 && all_of(text, size, UPPER LOWER DIGITS "._~-");
}

static void check_parsed(rpc_bytes text, const trust_gpsi *parsed)
{
    rpc_bytes read = rpc_bytes_of(parsed->text, parsed->size);
    MUST(parsed->text[parsed->size] == '\0');
    MUST(trust_gpsi_valid(read));
    if (gpsi(text.data, text.size)) {
        MUST(rpc_bytes_equal(read, text));
        return;
    }
    MUST(external_id(text.data, text.size));
    MUST(read.size == text.size + 6 && memcmp(read.data, "extid-", 6) == 0);
    MUST(memcmp(read.data + 6, text.data, text.size) == 0);
}

static void check_parse(rpc_bytes text)
{
    trust_gpsi parsed, untouched;
    rpc_status status = {0};
    memset(&parsed, 0x5a, sizeof parsed);
    untouched = parsed;
    bool named = has_prefix(text.data, text.size, "msisdn-") ||
                 has_prefix(text.data, text.size, "extid-");
    bool expected = gpsi(text.data, text.size) ||
                    (!named && text.size <= 255 - 6 && external_id(text.data, text.size));
    rpc_code code = trust_gpsi_parse(text, &parsed, &status);
    MUST((code == RPC_OK) == expected);
    if (code == RPC_OK) {
        check_parsed(text, &parsed);
        return;
    }
    MUST(code == RPC_INVALID_ARGUMENT);
    fuzz_refused(code, &status);
    MUST(memcmp(&parsed, &untouched, sizeof parsed) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rpc_bytes text = rpc_bytes_of(data, size);
    MUST(trust_gpsi_valid(text) == gpsi(data, size));
    MUST(trust_asset_id_valid(text) == asset_id(data, size));
    check_parse(text);
    return 0;
}
