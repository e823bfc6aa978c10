/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the settings share. */
#ifndef DACM_HOST_SETTINGS_INTERNAL_H
#define DACM_HOST_SETTINGS_INTERNAL_H

#include "host.h"

typedef struct host_value {
    const host_setting *setting;
    unsigned line;    /* 0 = not set */
    int64_t number;   /* HOST_BOOL, HOST_INT, HOST_ENUM */
    const char *text; /* HOST_STRING */
    size_t count;     /* list kinds */
    void **entries;   /* const char * or host_values * */
} host_value;

struct host_values {
    unsigned line; /* of an entry of a map list */
    size_t count;
    host_value items[];
};

struct host_settings {
    rpc_arena *arena;
    host_values *values;
};

host_settings *host__settings_new(const host_setting *table, size_t count);
host_values *host__values_new(rpc_arena *arena, const host_setting *table, size_t count);
host_value *host__value_find(host_values *values, const char *name);
/** True when a setting's name begins with path and a dot. */
bool host__is_section(const host_values *values, const char *path);
/** The setting whose name differs least from path, when few letters do; NULL otherwise. */
const char *host__nearest(const host_values *values, const char *path);
/** HOST_BOOL, HOST_INT and HOST_ENUM; false with a reason. */
bool host__value_from_text(host_value *value, const char *text, char *ret_why, size_t why_size);
void host__value_fallback(host_value *value);

#endif
