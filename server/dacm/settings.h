/* SPDX-License-Identifier: Apache-2.0 */
/** dacmd's table of settings: parser, --help-config and manual are made of it. A file with every
 *  setting is dacmd.example.yaml. */
#ifndef DACM_SETTINGS_H
#define DACM_SETTINGS_H

#include "config.h"
#include "host.h"

extern const host_setting dacm_settings[];
extern const size_t dacm_settings_count;

/** Modes of issuers[].mode, algorithms and policies by index (host_enum). */
enum { DACM_MODE_TOKEN_PROFILE, DACM_MODE_PROFILE, DACM_MODE_TOKEN, DACM_MODE_LITERAL };
enum { DACM_KEYS_OF_FILE, DACM_KEYS_OF_SKMS };
enum { DACM_REVOCATIONS_NONE, DACM_REVOCATIONS_REPORT };

/** What no single line can say: INVALID_ARGUMENT names the setting that can never work, or those
 *  that contradict each other. No file but the configuration is looked at.
 *  allow_literal is --allow-literal. */
RPC_MUST_USE rpc_code dacm_settings_check(
    const host_values *values, bool allow_literal, rpc_status *reterr);

#endif
