/* SPDX-License-Identifier: Apache-2.0 */
/** The settings that the service itself reads; dacmd.example.yaml explains them. */
#ifndef DACM_CONFIG_H
#define DACM_CONFIG_H

#include "base.h"

#include <sys/types.h>

typedef enum dacm_create_policy {
    DACM_CREATE_ANY,
    DACM_CREATE_NONE,
    DACM_CREATE_LIST
} dacm_create_policy;

/** Borrowed strings; everything lives as long as the service. */
typedef struct dacm_config {
    const char *resource;
    const char *audit_directory;
    dacm_create_policy create;
    const char *const *create_users;
    size_t create_user_count;
    const char *const *admin_sans;
    size_t admin_san_count;
    const uid_t *admin_uids;
    size_t admin_uid_count;
    int64_t manifest_life_s;
    uint64_t object_bytes_max;
    unsigned uploads_per_owner_max;
    int64_t upload_idle_ms;
    size_t upload_window_bytes;
    uint64_t list_memory_bytes;
    uint64_t versions_max;
    int64_t sweep_interval_s, sweep_grace_s;
} dacm_config;

#endif
