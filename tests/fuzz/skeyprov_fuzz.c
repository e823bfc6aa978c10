/* SPDX-License-Identifier: Apache-2.0 */
/* skm_token_provisions() against a second reading of the rule, which cuts the list into words and
 * compares each. The input is a service, a zero byte, and SKeyProv. */
#include "fuzz.h"
#include "tokens.h"

static bool word_is(const char *from, const char *to, const char *service)
{
    return (size_t)(to - from) == strlen(service) && memcmp(from, service, strlen(service)) == 0;
}

/* Any empty word, or a character that is not printable ASCII, makes it no list. */
static bool names(const char *list, const char *service)
{
    bool found = false;
    for (const char *from = list;; from++) {
        const char *to = from;
        while (*to > ' ' && *to <= '~')
            to++;
        if (to == from || (*to != ' ' && *to != '\0'))
            return false;
        found = found || word_is(from, to, service);
        if (*to == '\0')
            return found;
        from = to;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    if (!zero)
        return 0;
    const char *service = (const char *)data;
    const size_t rest = size - (size_t)(zero + 1 - data);
    char *list = malloc(rest + 1);
    MUST(list);
    memcpy(list, zero + 1, rest);
    list[rest] = '\0';
    trust_token token = {.skeyprov = list};
    MUST(skm_token_provisions(&token, service) == names(list, service));
    token.skeyprov = NULL;
    MUST(!skm_token_provisions(&token, service));
    free(list);
    return 0;
}
