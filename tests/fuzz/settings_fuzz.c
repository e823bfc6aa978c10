/* SPDX-License-Identifier: Apache-2.0 */
/* host_settings_parse() with the tables of all three servers: values that are taken fit the table,
 * and what is refused is refused in one readable line. */
#include "fuzz.h"

#include "../../server/dacm/settings.h"
#include "../../server/sim/settings.h"
#include "../../server/skm/settings.h"

typedef struct server {
    const host_setting *table;
    size_t count;
    rpc_code (*check)(const host_values *values, rpc_status *reterr);
} server;

static rpc_code check_dacm(const host_values *values, rpc_status *reterr)
{
    return dacm_settings_check(values, false, reterr);
}

static void check_values(const host_values *values, const host_setting *table, size_t count);

static void check_text(const char *text, const host_setting *setting)
{
    MUST(text);
    size_t size = strlen(text);
    MUST(rpc_utf8_valid(rpc_bytes_of(text, size)));
    MUST(size >= (size_t)setting->min && size <= (size_t)setting->max);
}

static void check_list(const host_values *values, const host_setting *setting)
{
    size_t count = host_list_count(values, setting->name);
    MUST(count <= HOST_LIST_ENTRIES_MAX && (count > 0 || !setting->required_list));
    for (size_t i = 0; i < count; i++) {
        if (setting->kind == HOST_STRING_LIST)
            check_text(host_string_list(values, setting->name)[i], setting);
        else
            check_values(
                host_map_list(values, setting->name, i), setting->fields, setting->field_count);
    }
}

static void check_value(const host_values *values, const host_setting *setting)
{
    int64_t number = 0;
    unsigned choices = 0;
    switch (setting->kind) {
    case HOST_BOOL:
        (void)host_bool(values, setting->name);
        break;
    case HOST_INT:
        number = host_int(values, setting->name);
        MUST(number >= setting->min && number <= setting->max);
        break;
    case HOST_STRING:
        check_text(host_string(values, setting->name), setting);
        break;
    case HOST_ENUM:
        while (setting->choices[choices])
            choices++;
        MUST(host_enum(values, setting->name) < choices);
        break;
    case HOST_STRING_LIST:
    case HOST_MAP_LIST:
        check_list(values, setting);
        break;
    }
    bool list = setting->kind == HOST_STRING_LIST || setting->kind == HOST_MAP_LIST;
    MUST(list || setting->fallback || host_line(values, setting->name) > 0);
}

static void check_values(const host_values *values, const host_setting *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_value(values, &table[i]);
}

static void differs(void *ctx, const host_setting *setting)
{
    (void)setting;
    *(bool *)ctx = true;
}

/* Read again, it is the same; and what contradicts itself is named. */
static void check_settings(const server *of, const host_settings *settings, rpc_bytes yaml)
{
    host_settings *again = NULL;
    rpc_status status = {0};
    bool different = false;
    MUST(host_settings_parse("f.yaml", yaml, of->table, of->count, &again, &status) == RPC_OK);
    host_settings_diff(settings, again, differs, &different);
    MUST(!different);
    host_settings_free(again);
    rpc_code code = of->check(host_settings_values(settings), &status);
    if (code != RPC_OK)
        fuzz_refused(code, &status);
    MUST(code == RPC_OK || code == RPC_INVALID_ARGUMENT);
}

static void parse(const server *of, rpc_bytes yaml)
{
    host_settings *settings = NULL;
    rpc_status status = {0};
    rpc_code code = host_settings_parse("f.yaml", yaml, of->table, of->count, &settings, &status);
    if (code == RPC_OK) {
        check_values(host_settings_values(settings), of->table, of->count);
        check_settings(of, settings, yaml);
        host_settings_free(settings);
        return;
    }
    MUST(!settings && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
    fuzz_refused(code, &status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const server servers[] = {{dacm_settings, dacm_settings_count, check_dacm},
        {sim_settings, sim_settings_count, sim_settings_check},
        {skm_settings, skm_settings_count, skm_settings_check}};
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
        parse(&servers[i], rpc_bytes_of(data, size));
    return 0;
}
