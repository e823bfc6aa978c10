/* SPDX-License-Identifier: Apache-2.0 */
/** simsd's table of settings: parser, --help-config and manual are made of it. A file with every
 *  setting is simsd.example.yaml. */
#ifndef SIM_SETTINGS_H
#define SIM_SETTINGS_H

#include "host.h"

extern const host_setting sim_settings[];
extern const size_t sim_settings_count;

/** dacms[].disclose by index (host_enum). */
enum { SIM_DISCLOSE_OWN, SIM_DISCLOSE_FULL };

/** keys.source likewise. */
enum { SIM_KEYS_OF_FILE, SIM_KEYS_OF_SKMS };

#define SIM_ISSUER_MAX 255

/** What no single line can say: INVALID_ARGUMENT names the setting that can never work, or those
 *  that contradict each other. No file but the configuration is looked at. */
RPC_MUST_USE rpc_code sim_settings_check(const host_values *values, rpc_status *reterr);
/** The base of the endpoints that ask for a client certificate: listen.mtls.url, or the issuer with
 *  the port of listen.mtls; "" where there is none. False: it does not fit. */
bool sim_settings_mtls_url(const host_values *values, char *ret, size_t room);

#endif
