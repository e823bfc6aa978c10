/* SPDX-License-Identifier: Apache-2.0 */
/** skmsd's table of settings: parser, --help-config and manual are made of it. A file with every
 *  setting is skmsd.example.yaml. */
#ifndef SKM_SETTINGS_H
#define SKM_SETTINGS_H

#include "host.h"

extern const host_setting skm_settings[];
extern const size_t skm_settings_count;

/** What no single line can say: INVALID_ARGUMENT names the setting that can never work, or those
 *  that contradict each other. No file but the configuration is looked at. */
RPC_MUST_USE rpc_code skm_settings_check(const host_values *values, rpc_status *reterr);

#endif
