/* SPDX-License-Identifier: Apache-2.0 */
/* Judging JSON by tables. */
#include "schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the place ------------------------------------------------------------------------------- */

static size_t down(media__place *p, const char *name)
{
    const size_t before = p->size;
    const int more = snprintf(p->text + p->size, sizeof p->text - p->size, "/%s", name);
    p->size += more > 0 ? (size_t)more : 0;
    if (p->size >= sizeof p->text)
        p->size = sizeof p->text - 1;
    return before;
}

static size_t down_at(media__place *p, size_t index)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", index);
    return down(p, text);
}

static void up(media__place *p, size_t before)
{
    p->size = before;
    p->text[before] = '\0';
}

#define BAD(p, ...) media__gltf_bad((p)->reterr, (p)->text, __VA_ARGS__)

rpc_code media__schema_bad(media__place *p, const char *member, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const size_t before = member[0] ? down(p, member) : p->size;
    const rpc_code code = BAD(p, "%s", text);
    up(p, before);
    return code;
}

/* ---- values ---------------------------------------------------------------------------------- */

typedef rpc_code check_fn(media__place *p, const media__property *as, const json_t *value);

static rpc_code check_integer(media__place *p, const media__property *as, const json_t *value)
{
    /* 1.0 is an integer too (5.1 of JSON schema); nobody writes it for sizes */
    if (!json_is_integer(value))
        return BAD(p, "is no integer");
    const json_int_t number = json_integer_value(value);
    return (double)number < as->min || (double)number > as->max
               ? BAD(p, "%lld is not from %.0f to %.0f", (long long)number, as->min, as->max)
               : RPC_OK;
}

static rpc_code check_number(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_number(value))
        return BAD(p, "is no number");
    const double number = json_number_value(value);
    if (as->above && number <= as->min)
        return BAD(p, "%g is not above %g", number, as->min);
    if (number < as->min)
        return BAD(p, "%g is below %g", number, as->min);
    return !isfinite(number) || number > as->max ? BAD(p, "%g is above %g", number, as->max)
                                                 : RPC_OK;
}

static rpc_code check_text(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_string(value))
        return BAD(p, "is no string");
    return json_string_length(value) < as->min_count ? BAD(p, "is empty") : RPC_OK;
}

static rpc_code check_code(media__place *p, const media__property *as, const json_t *value)
{
    for (const int *code = as->codes; json_is_integer(value) && *code; code++)
        if (json_integer_value(value) == *code)
            return RPC_OK;
    return BAD(p, "is none of the numbers that are allowed there");
}

static rpc_code check_word(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_string(value))
        return BAD(p, "is no string");
    for (const char *const *word = as->words; *word; word++)
        if (strcmp(json_string_value(value), *word) == 0)
            return RPC_OK;
    return BAD(p, "'%.40s' is none of the words that are allowed there", json_string_value(value));
}

/* "nodes", or "extensions/NAME/list". */
static const json_t *list_at(const json_t *root, const char *path)
{
    char name[64];
    for (const char *end; root && (end = strchr(path, '/')); path = end + 1) {
        snprintf(name, sizeof name, "%.*s", (int)(end - path), path);
        root = json_object_get(root, name);
    }
    return json_object_get(root, path);
}

static rpc_code check_index(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return BAD(p, "is no index");
    const size_t count = json_array_size(list_at(p->root, as->into));
    return (uint64_t)json_integer_value(value) >= count
               ? BAD(p, "%lld: /%s has %zu", (long long)json_integer_value(value), as->into, count)
               : RPC_OK;
}

static rpc_code check_index_or_none(media__place *p, const media__property *as, const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) == -1 ? RPC_OK
                                                                     : check_index(p, as, value);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static rpc_code check_count(media__place *p, const json_t *value, size_t min, size_t max)
{
    if (!json_is_array(value))
        return BAD(p, "is no array");
    const size_t count = json_array_size(value);
    return count < min || count > max ? BAD(p, "has %zu entries", count) : RPC_OK;
}

static rpc_code check_entries(
    media__place *p, const media__property *as, const json_t *value, check_fn *check)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const size_t before = down_at(p, i);
        code = check(p, as, json_array_get(value, i));
        up(p, before);
    }
    return code;
}

static rpc_code check_numbers(media__place *p, const media__property *as, const json_t *value)
{
    const rpc_code code = check_count(p, value, as->min_count, as->max_count);
    return code == RPC_OK ? check_entries(p, as, value, check_number) : code;
}

static rpc_code check_each(
    media__place *p, const media__property *as, const json_t *value, check_fn *check)
{
    const rpc_code code = check_count(p, value, as->loose ? 0 : 1, MANY);
    return code == RPC_OK ? check_entries(p, as, value, check) : code;
}

static rpc_code found_twice(media__place *p, size_t index)
{
    const size_t before = down_at(p, index);
    const rpc_code code = BAD(p, "is there twice");
    up(p, before);
    return code;
}

typedef struct seat {
    json_int_t value;
    size_t index;
} seat;

static int by_value(const void *a, const void *b)
{
    const seat *one = a, *other = b;
    if (one->value != other->value)
        return one->value < other->value ? -1 : 1;
    return one->index < other->index ? -1 : 1;
}

/* Long lists are refused by nobody: sorted, not each beside each. */
static rpc_code check_indexes_once(media__place *p, const json_t *array)
{
    const size_t count = json_array_size(array);
    seat *seats = malloc((count + 1) * sizeof *seats);
    if (!seats)
        return media__no_memory(p->reterr);
    for (size_t i = 0; i < count; i++)
        seats[i] = (seat){json_integer_value(json_array_get(array, i)), i};
    qsort(seats, count, sizeof *seats, by_value);
    rpc_code code = RPC_OK;
    for (size_t i = 1; code == RPC_OK && i < count; i++)
        if (seats[i].value == seats[i - 1].value)
            code = found_twice(p, seats[i].index);
    free(seats);
    return code;
}

static rpc_code check_indexes(media__place *p, const media__property *as, const json_t *value)
{
    const rpc_code code = check_each(p, as, value, as->loose ? check_index_or_none : check_index);
    return code == RPC_OK && !as->loose ? check_indexes_once(p, value) : code;
}

static rpc_code check_string(media__place *p, const media__property *as, const json_t *value)
{
    (void)as;
    return json_is_string(value) ? RPC_OK : BAD(p, "is no string");
}

#define TEXTS_MAX 4096 /* names of extensions, which others look up one after the other */

static rpc_code check_texts(media__place *p, const media__property *as, const json_t *value)
{
    rpc_code code = check_each(p, as, value, check_string);
    if (code == RPC_OK)
        code = check_count(p, value, 0, TEXTS_MAX);
    if (code != RPC_OK || as->loose)
        return code;
    json_t *seen = json_object();
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (json_object_get(seen, text))
            code = found_twice(p, i);
        else if (json_object_set_new(seen, text, json_true()) != 0)
            code = media__no_memory(p->reterr);
    }
    json_decref(seen);
    return code;
}

/* ---- objects --------------------------------------------------------------------------------- */

static check_fn check_value;

static rpc_code check_members(
    media__place *p, const media__property *as, const json_t *value, check_fn *check)
{
    json_t *mutable = (json_t *)(uintptr_t)value; /* jansson's iterators take no const */
    rpc_code code = RPC_OK;
    for (void *at = json_object_iter(mutable); code == RPC_OK && at;
         at = json_object_iter_next(mutable, at)) {
        const size_t before = down(p, json_object_iter_key(at));
        code = check(p, as, json_object_iter_value(at));
        up(p, before);
    }
    return code;
}

static rpc_code check_attributes(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_object(value) || json_object_size(value) == 0)
        return BAD(p, "is no object of attributes");
    return check_members(p, as, value, check_index);
}

static rpc_code check_map(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_object(value))
        return BAD(p, "is no object");
    if (!as->loose && json_object_size(value) == 0)
        return BAD(p, "is empty");
    return check_members(p, as->each, value, check_value);
}

static rpc_code check_of(media__place *p, const media__property *as, const json_t *value)
{
    return media__schema_check(p, as->of, value);
}

static const media__extension *extension_at(const char *name, unsigned spot, bool *known)
{
    static const media__extensions *const tables[] = {
        &media__gltf_extensions, &media__vrm_extensions};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            if (strcmp(tables[t]->rows[i].name, name) == 0) {
                *known = true;
                if (tables[t]->rows[i].spots & spot)
                    return &tables[t]->rows[i];
            }
    return NULL;
}

bool media__extension_known(const char *name)
{
    bool known = false;
    extension_at(name, AT_NONE, &known);
    return known;
}

static rpc_code check_extension(
    media__place *p, const char *name, const media__property *as, const json_t *value)
{
    bool known = false;
    const media__extension *row = extension_at(name, as->spot, &known);
    if (!json_is_object(value))
        return BAD(p, "is no object");
    if (!json_object_get(p->used, name))
        return BAD(p, "is used, and /extensionsUsed does not name it");
    if (known && !row)
        return BAD(p, "does not belong here");
    return row && row->of ? media__schema_check(p, row->of, value) : RPC_OK;
}

static rpc_code check_extensions(media__place *p, const media__property *as, const json_t *value)
{
    if (!json_is_object(value))
        return BAD(p, "is no object");
    json_t *mutable = (json_t *)(uintptr_t)value;
    rpc_code code = RPC_OK;
    for (void *at = json_object_iter(mutable); code == RPC_OK && at;
         at = json_object_iter_next(mutable, at)) {
        const size_t before = down(p, json_object_iter_key(at));
        code = check_extension(p, json_object_iter_key(at), as, json_object_iter_value(at));
        up(p, before);
    }
    return code;
}

static rpc_code check_value(media__place *p, const media__property *as, const json_t *value)
{
    switch (as->kind) {
    case INTEGER:
        return check_integer(p, as, value);
    case NUMBER:
        return check_number(p, as, value);
    case BOOLEAN:
        return json_is_boolean(value) ? RPC_OK : BAD(p, "is neither true nor false");
    case TEXT:
        return check_text(p, as, value);
    case CODE:
        return check_code(p, as, value);
    case WORD:
        return check_word(p, as, value);
    case NUMBERS:
        return check_numbers(p, as, value);
    case INDEX:
        return check_index(p, as, value);
    case INDEX_OR_NONE:
        return check_index_or_none(p, as, value);
    case INDEXES:
        return check_indexes(p, as, value);
    case ATTRIBUTES:
        return check_attributes(p, as, value);
    case TARGETS:
        return check_each(p, as, value, check_attributes);
    case OBJECT:
        return media__schema_check(p, as->of, value);
    case OBJECTS:
        return check_each(p, as, value, check_of);
    case TEXTS:
        return check_texts(p, as, value);
    case MAP:
        return check_map(p, as, value);
    case ANYTHING:
        return json_is_object(value) ? RPC_OK : BAD(p, "is no object");
    case EXTENSIONS:
        return check_extensions(p, as, value);
    }
    return RPC_OK;
}

rpc_code media__schema_check(media__place *p, const media__object *of, const json_t *value)
{
    if (!json_is_object(value))
        return BAD(p, "is no object");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < of->count; i++) {
        const media__property *as = &of->properties[i];
        const json_t *member = json_object_get(value, as->name);
        if (!member && !as->required)
            continue;
        const size_t before = down(p, as->name);
        code = member ? check_value(p, as, member) : BAD(p, "is missing");
        up(p, before);
    }
    return code == RPC_OK && of->rule ? of->rule(p, value) : code;
}
