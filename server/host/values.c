/* SPDX-License-Identifier: Apache-2.0 */
/* The values of settings: defaults, conversion, access, comparison, help. */
#include "settings_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <string.h>

#define ARENA_BYTES (16u << 20)
#define NEAR_MAX    3 /* letters that may differ in a suggestion */

host_values *host__values_new(rpc_arena *arena, const host_setting *table, size_t count)
{
    host_values *values = rpc_arena_alloc(arena, sizeof *values + count * sizeof(host_value));
    if (!values)
        return NULL;
    memset(values, 0, sizeof *values + count * sizeof(host_value));
    values->count = count;
    for (size_t i = 0; i < count; i++)
        values->items[i].setting = &table[i];
    return values;
}

host_settings *host__settings_new(const host_setting *table, size_t count)
{
    host_settings *settings = calloc(1, sizeof *settings);
    if (!settings)
        return NULL;
    settings->arena = rpc_arena_new(ARENA_BYTES);
    settings->values = settings->arena ? host__values_new(settings->arena, table, count) : NULL;
    if (settings->values) {
        settings->values->line = 1;
        return settings;
    }
    host_settings_free(settings);
    return NULL;
}

void host_settings_free(host_settings *settings)
{
    if (!settings)
        return;
    rpc_arena_free(settings->arena);
    free(settings);
}

const host_values *host_settings_values(const host_settings *settings)
{
    return settings->values;
}

host_value *host__value_find(host_values *values, const char *name)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i].setting->name, name) == 0)
            return &values->items[i];
    return NULL;
}

bool host__is_section(const host_values *values, const char *path)
{
    size_t size = strlen(path);
    for (size_t i = 0; i < values->count; i++) {
        const char *name = values->items[i].setting->name;
        if (strncmp(name, path, size) == 0 && name[size] == '.')
            return true;
    }
    return false;
}

/* Levenshtein distance, or more than NEAR_MAX. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size >= LONGEST || b_size >= LONGEST)
        return LONGEST;
    size_t row[LONGEST];
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[b_size];
}

const char *host__nearest(const host_values *values, const char *path)
{
    const char *nearest = NULL;
    size_t least = NEAR_MAX + 1;
    for (size_t i = 0; i < values->count; i++) {
        /* A section is suggested by its part of the name. */
        size_t away = distance(path, values->items[i].setting->name);
        if (away < least) {
            least = away;
            nearest = values->items[i].setting->name;
        }
    }
    return nearest;
}

static bool int_from_text(host_value *value, const char *text, char *why, size_t why_size)
{
    const host_setting *setting = value->setting;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool plain = *text && strspn(text, "-0123456789") == strlen(text) && !*end && errno == 0;
    if (plain && number >= setting->min && number <= setting->max) {
        value->number = number;
        return true;
    }
    snprintf(why, why_size, "'%.32s' is not a number of %lld to %lld%s%s", text,
        (long long)setting->min, (long long)setting->max, setting->unit ? " " : "",
        setting->unit ? setting->unit : "");
    return false;
}

static bool enum_from_text(host_value *value, const char *text, char *why, size_t why_size)
{
    const char *const *choices = value->setting->choices;
    for (size_t i = 0; choices[i]; i++)
        if (strcmp(choices[i], text) == 0) {
            value->number = (int64_t)i;
            return true;
        }
    int size = snprintf(why, why_size, "'%.32s' is none of", text);
    for (size_t i = 0; choices[i] && size > 0 && (size_t)size < why_size; i++)
        size += snprintf(why + size, why_size - (size_t)size, "%s %s", i ? "," : "", choices[i]);
    return false;
}

bool host__value_from_text(host_value *value, const char *text, char *ret_why, size_t why_size)
{
    switch (value->setting->kind) {
    case HOST_BOOL:
        value->number = strcmp(text, "true") == 0;
        if (value->number || strcmp(text, "false") == 0)
            return true;
        snprintf(ret_why, why_size, "'%.32s' is neither true nor false", text);
        return false;
    case HOST_INT:
        return int_from_text(value, text, ret_why, why_size);
    case HOST_ENUM:
        return enum_from_text(value, text, ret_why, why_size);
    default:
        snprintf(ret_why, why_size, "is no plain value");
        return false;
    }
}

void host__value_fallback(host_value *value)
{
    char why[320];
    if (value->setting->kind == HOST_STRING)
        value->text = value->setting->fallback;
    else if (!host__value_from_text(value, value->setting->fallback, why, sizeof why)) {
        fprintf(stderr, "host: default of '%s': %s\n", value->setting->name, why);
        abort(); /* a table that contradicts itself */
    }
}

/* ---- access ------------------------------------------------------------------------------ */

static const host_value *get(const host_values *values, const char *name)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i].setting->name, name) == 0)
            return &values->items[i];
    fprintf(stderr, "host: no setting '%s' in this table\n", name);
    abort();
}

static const host_value *get_kind(const host_values *values, const char *name, host_kind kind)
{
    const host_value *value = get(values, name);
    if (value->setting->kind != kind) {
        fprintf(stderr, "host: setting '%s' is of another kind\n", name);
        abort();
    }
    return value;
}

bool host_bool(const host_values *values, const char *name)
{
    return get_kind(values, name, HOST_BOOL)->number != 0;
}

int64_t host_int(const host_values *values, const char *name)
{
    return get_kind(values, name, HOST_INT)->number;
}

const char *host_string(const host_values *values, const char *name)
{
    return get_kind(values, name, HOST_STRING)->text;
}

unsigned host_enum(const host_values *values, const char *name)
{
    return (unsigned)get_kind(values, name, HOST_ENUM)->number;
}

size_t host_list_count(const host_values *values, const char *name)
{
    return get(values, name)->count;
}

const char *const *host_string_list(const host_values *values, const char *name)
{
    return (const char *const *)get_kind(values, name, HOST_STRING_LIST)->entries;
}

const host_values *host_map_list(const host_values *values, const char *name, size_t index)
{
    return get_kind(values, name, HOST_MAP_LIST)->entries[index];
}

unsigned host_line(const host_values *values, const char *name)
{
    return get(values, name)->line;
}

/* ---- comparison and help ------------------------------------------------------------------- */

static bool same_values(const host_values *a, const host_values *b);

static bool same_value(const host_value *a, const host_value *b)
{
    if (a->number != b->number || a->count != b->count)
        return false;
    if (a->setting->kind == HOST_STRING)
        return strcmp(a->text, b->text) == 0;
    for (size_t i = 0; i < a->count; i++) {
        bool same = a->setting->kind == HOST_MAP_LIST ? same_values(a->entries[i], b->entries[i])
                                                      : strcmp(a->entries[i], b->entries[i]) == 0;
        if (!same)
            return false;
    }
    return true;
}

static bool same_values(const host_values *a, const host_values *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (!same_value(&a->items[i], &b->items[i]))
            return false;
    return true;
}

void host_settings_diff(const host_settings *old_settings, const host_settings *new_settings,
    void (*fn)(void *ctx, const host_setting *setting), void *ctx)
{
    const host_values *before = old_settings->values, *after = new_settings->values;
    for (size_t i = 0; i < before->count; i++)
        if (!same_value(&before->items[i], &after->items[i]))
            fn(ctx, before->items[i].setting);
}

static void help_range(const host_setting *setting, FILE *out)
{
    if (setting->kind == HOST_INT)
        fprintf(out, "%lld to %lld%s%s", (long long)setting->min, (long long)setting->max,
            setting->unit ? " " : "", setting->unit ? setting->unit : "");
    else if (setting->kind == HOST_BOOL)
        fprintf(out, "true, false");
    else if (setting->kind == HOST_ENUM)
        for (size_t i = 0; setting->choices[i]; i++)
            fprintf(out, "%s%s", i ? ", " : "", setting->choices[i]);
    else
        fprintf(out, "%s",
            setting->kind == HOST_STRING        ? "text"
            : setting->kind == HOST_STRING_LIST ? "list"
                                                : "list of maps");
}

/* item stands before a name, indent before what is said of it. */
static void help_table(
    const host_setting *table, size_t count, const char *item, const char *indent, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        const host_setting *setting = &table[i];
        fprintf(out, "%s%s  (", item, setting->name);
        help_range(setting, out);
        bool list = setting->kind == HOST_STRING_LIST || setting->kind == HOST_MAP_LIST;
        if (list ? setting->required_list : !setting->fallback)
            fprintf(out, "; required");
        else if (!list)
            fprintf(out, "; default %s", *setting->fallback ? setting->fallback : "none");
        fprintf(out, "%s)\n%s    %s\n", setting->reloadable ? "; reloadable" : "", indent,
            setting->description);
        if (setting->kind == HOST_MAP_LIST)
            help_table(setting->fields, setting->field_count, "    - ", "      ", out);
    }
}

void host_settings_help(const host_setting *table, size_t count, FILE *out)
{
    help_table(table, count, "", "", out);
}
