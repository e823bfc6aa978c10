/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: YAML events against a table. The table decides everything: what may nest, what a
 * value may be, what is missing. */
#include "settings_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#define ARENA_BYTES    (16u << 20)
#define PATH_MAX_BYTES 256

typedef struct yaml_reader {
    yaml_parser_t yaml;
    const char *file;
    host_settings *settings;
    rpc_status *status;
} yaml_reader;

/* Names, numbers and choices are ASCII; what else a file holds must not reach a terminal, nor
 * be cut within a character. */
static rpc_code refuse(
    yaml_reader *reader, const yaml_mark_t *at, const char *path, const char *why)
{
    char text[384];
    snprintf(text, sizeof text, "'%.100s': %s", path, why);
    for (char *c = text; *c; c++)
        if ((uint8_t)*c < ' ' || (uint8_t)*c > '~')
            *c = '?';
    return rpc_status_set(
        reader->status, RPC_INVALID_ARGUMENT, "%s:%zu: %s", reader->file, at->line + 1, text);
}

static rpc_code no_memory(yaml_reader *reader)
{
    return rpc_status_set(reader->status, RPC_RESOURCE_EXHAUSTED,
        "%s: no memory for its values, or more than %u bytes of them", reader->file, ARENA_BYTES);
}

static void event_donep(yaml_event_t *event)
{
    yaml_event_delete(event);
}

/* Anchors and tags are refused here, so nothing later can meet one. */
static rpc_code next_event(yaml_reader *reader, yaml_event_t *event)
{
    if (!yaml_parser_parse(&reader->yaml, event))
        return rpc_status_set(reader->status, RPC_INVALID_ARGUMENT, "%s:%zu: not YAML: %s",
            reader->file, reader->yaml.problem_mark.line + 1,
            reader->yaml.problem ? reader->yaml.problem : "unreadable");
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (anchor || tag || event->type == YAML_ALIAS_EVENT)
        return rpc_status_set(reader->status, RPC_INVALID_ARGUMENT,
            "%s:%zu: anchors, aliases and tags are not taken; write the value out", reader->file,
            event->start_mark.line + 1);
    return RPC_OK;
}

/* ---- values ------------------------------------------------------------------------------ */

static rpc_code set_text(yaml_reader *reader, const yaml_event_t *event, const char *path,
    const host_setting *setting, const char **ret)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (!rpc_utf8_valid(rpc_bytes_of(text, size)))
        return refuse(reader, &event->start_mark, path, "holds NUL or bytes that are not UTF-8");
    char why[128];
    if (size < (size_t)setting->min || size > (size_t)setting->max) {
        snprintf(why, sizeof why, "has %zu bytes; %lld to %lld are taken", size,
            (long long)setting->min, (long long)setting->max);
        return refuse(reader, &event->start_mark, path, why);
    }
    *ret = rpc_arena_strndup(reader->settings->arena, text, size);
    return *ret ? RPC_OK : no_memory(reader);
}

static rpc_code set_scalar(
    yaml_reader *reader, const yaml_event_t *event, const char *path, host_value *value)
{
    if (value->setting->kind == HOST_STRING)
        return set_text(reader, event, path, value->setting, &value->text);
    char why[320];
    const char *text = (const char *)event->data.scalar.value;
    bool whole = strlen(text) == event->data.scalar.length;
    if (whole && host__value_from_text(value, text, why, sizeof why))
        return RPC_OK;
    return refuse(reader, &event->start_mark, path, whole ? why : "holds NUL, which no value may");
}

static rpc_code read_map(yaml_reader *reader, host_values *values, const char *prefix);

static rpc_code read_list(yaml_reader *reader, const char *path, host_value *value)
{
    const void *entries[HOST_LIST_ENTRIES_MAX];
    for (;;) {
        RPC_CLEANUP(event_donep) yaml_event_t event = {0};
        rpc_code code = next_event(reader, &event);
        if (code != RPC_OK)
            return code;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (value->count == HOST_LIST_ENTRIES_MAX)
            return refuse(reader, &event.start_mark, path, "has more than 1,024 entries");
        bool maps = value->setting->kind == HOST_MAP_LIST;
        if (event.type != (maps ? YAML_MAPPING_START_EVENT : YAML_SCALAR_EVENT))
            return refuse(reader, &event.start_mark, path,
                maps ? "each entry is a map (- name: value)" : "each entry is a plain value");
        if (maps) {
            host_values *entry = host__values_new(
                reader->settings->arena, value->setting->fields, value->setting->field_count);
            if (!entry)
                return no_memory(reader);
            entry->line = (unsigned)event.start_mark.line + 1;
            entries[value->count] = entry;
            code = read_map(reader, entry, "");
        } else {
            const char *text = NULL;
            code = set_text(reader, &event, path, value->setting, &text);
            entries[value->count] = text;
        }
        if (code != RPC_OK)
            return code;
        value->count++;
    }
    value->entries = rpc_arena_alloc(reader->settings->arena, value->count * sizeof(void *) + 1);
    if (!value->entries)
        return no_memory(reader);
    memcpy(value->entries, entries, value->count * sizeof(void *));
    return RPC_OK;
}

static rpc_code unknown(
    yaml_reader *reader, const yaml_mark_t *at, const host_values *values, const char *path)
{
    char why[200] = "no such setting; --help-config lists them";
    const char *near = host__nearest(values, path);
    if (near)
        snprintf(why, sizeof why, "no such setting; did you mean '%s'?", near);
    return refuse(reader, at, path, why);
}

static rpc_code read_value(
    yaml_reader *reader, host_value *value, const char *path, const yaml_event_t *event)
{
    if (value->line) {
        char why[64];
        snprintf(why, sizeof why, "set twice; first in line %u", value->line);
        return refuse(reader, &event->start_mark, path, why);
    }
    value->line = (unsigned)event->start_mark.line + 1;
    bool list = value->setting->kind == HOST_STRING_LIST || value->setting->kind == HOST_MAP_LIST;
    if (list && event->type == YAML_SEQUENCE_START_EVENT)
        return read_list(reader, path, value);
    if (list)
        return refuse(reader, &event->start_mark, path, "expected a list (- entry)");
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(reader, &event->start_mark, path, "expected one plain value");
    return set_scalar(reader, event, path, value);
}

/* A key and what stands behind it: a setting, or a map whose settings begin with the key. Depth
 * is bounded by the table: a map is entered only when a setting's name begins with its path. */
static rpc_code read_pair(
    yaml_reader *reader, host_values *values, const char *prefix, const yaml_event_t *key)
{
    char path[PATH_MAX_BYTES];
    if (key->type != YAML_SCALAR_EVENT)
        return refuse(reader, &key->start_mark, prefix, "expected the name of a setting");
    if (memchr(key->data.scalar.value, 0, key->data.scalar.length))
        return refuse(reader, &key->start_mark, (const char *)key->data.scalar.value,
            "holds NUL, which no name may");
    int size = snprintf(path, sizeof path, "%s%s%.*s", prefix, *prefix ? "." : "",
        key->data.scalar.length < 100 ? (int)key->data.scalar.length : 100,
        (const char *)key->data.scalar.value);
    if (size < 0 || (size_t)size >= sizeof path)
        return refuse(reader, &key->start_mark, prefix, "has a name that is too long");
    RPC_CLEANUP(event_donep) yaml_event_t event = {0};
    rpc_code code = next_event(reader, &event);
    if (code != RPC_OK)
        return code;
    host_value *value = host__value_find(values, path);
    if (value)
        return read_value(reader, value, path, &event);
    if (event.type == YAML_MAPPING_START_EVENT && host__is_section(values, path))
        return read_map(reader, values, path);
    return unknown(reader, &key->start_mark, values, path);
}

/* The mapping's start has been read. */
static rpc_code read_map(yaml_reader *reader, host_values *values, const char *prefix)
{
    for (;;) {
        RPC_CLEANUP(event_donep) yaml_event_t event = {0};
        rpc_code code = next_event(reader, &event);
        if (code == RPC_OK && event.type == YAML_MAPPING_END_EVENT)
            return RPC_OK;
        if (code == RPC_OK)
            code = read_pair(reader, values, prefix, &event);
        if (code != RPC_OK)
            return code;
    }
}

/* One document that is a map, or nothing at all. */
static rpc_code read_document(yaml_reader *reader)
{
    bool seen = false;
    for (;;) {
        RPC_CLEANUP(event_donep) yaml_event_t event = {0};
        rpc_code code = next_event(reader, &event);
        if (code != RPC_OK)
            return code;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            return RPC_OK;
        case YAML_DOCUMENT_START_EVENT:
            if (seen)
                return refuse(reader, &event.start_mark, "---", "a second document; one is taken");
            seen = true;
            break;
        case YAML_MAPPING_START_EVENT:
            code = read_map(reader, reader->settings->values, "");
            if (code != RPC_OK)
                return code;
            break;
        case YAML_SCALAR_EVENT:
            if (event.data.scalar.length == 0)
                break; /* an empty file */
            return refuse(reader, &event.start_mark, (const char *)event.data.scalar.value,
                "expected settings (name: value)");
        case YAML_SEQUENCE_START_EVENT:
            return refuse(reader, &event.start_mark, "-", "expected settings (name: value)");
        default:
            break;
        }
    }
}

static rpc_code complete(yaml_reader *reader, host_values *values)
{
    for (size_t i = 0; i < values->count; i++) {
        host_value *value = &values->items[i];
        const host_setting *setting = value->setting;
        if (value->line) {
            for (size_t e = 0; setting->kind == HOST_MAP_LIST && e < value->count; e++) {
                rpc_code code = complete(reader, value->entries[e]);
                if (code != RPC_OK)
                    return code;
            }
        }
        bool list = setting->kind == HOST_STRING_LIST || setting->kind == HOST_MAP_LIST;
        if (list ? value->count == 0 && setting->required_list : !value->line && !setting->fallback)
            return rpc_status_set(reader->status, RPC_INVALID_ARGUMENT,
                "%s:%u: '%s' is missing: %s", reader->file, values->line, setting->name,
                setting->description);
        if (!list && !value->line)
            host__value_fallback(value);
    }
    return RPC_OK;
}

rpc_code host_settings_parse(const char *name, rpc_bytes yaml, const host_setting *table,
    size_t count, host_settings **ret, rpc_status *reterr)
{
    if (yaml.size > HOST_SETTINGS_BYTES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%s: has %zu bytes; at most %u are taken", name, yaml.size, HOST_SETTINGS_BYTES_MAX);
    yaml_reader reader = {
        .file = name, .status = reterr, .settings = host__settings_new(table, count)};
    if (!reader.settings || !yaml_parser_initialize(&reader.yaml)) {
        host_settings_free(reader.settings);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "%s: no memory to read it", name);
    }
    yaml_parser_set_encoding(&reader.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.yaml, yaml.data, yaml.size);
    rpc_code code = read_document(&reader);
    if (code == RPC_OK)
        code = complete(&reader, reader.settings->values);
    yaml_parser_delete(&reader.yaml);
    if (code != RPC_OK) {
        host_settings_free(reader.settings);
        return code;
    }
    *ret = reader.settings;
    return RPC_OK;
}

rpc_code host_settings_load(const char *path, const host_setting *table, size_t count,
    host_settings **ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return rpc_status_set(reterr,
            errno == ENOENT   ? RPC_NOT_FOUND
            : errno == EACCES ? RPC_PERMISSION_DENIED
                              : RPC_UNKNOWN,
            "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > HOST_SETTINGS_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "%s: is no file of at most %u bytes",
            path, HOST_SETTINGS_BYTES_MAX);
    RPC_AUTOFREE uint8_t *data = malloc((size_t)st.st_size + 1);
    if (!data)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "%s: no memory to read it", path);
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, data + size, (size_t)st.st_size + 1 - size)) > 0)
        size += (size_t)got;
    if (got < 0 || size > (size_t)st.st_size)
        return rpc_status_set(
            reterr, RPC_ABORTED, "%s: changed while it was read; try again", path);
    return host_settings_parse(path, rpc_bytes_of(data, size), table, count, ret, reterr);
}
