/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of `dacm keys` share: cmd_keys.c has the keys and the root, cmd_keys_services.c
 *  VAL services and their SKM-Cs, cmd_keys_watch.c and cmd_keys_upload.c what is
 *  asked of the SKM-S over TLS. */
#ifndef DACM_CLI_KEYS_H
#define DACM_CLI_KEYS_H

#include "operator.h"
#include "skms/v1/admin.pb-c.h"

/** "manifests", "tokens"; what it does not know: "?". */
const char *keys_purpose_name(Skms__V1__Purpose purpose);
/** Of --purpose; anything else is an error of the arguments. */
Skms__V1__Purpose keys_purpose_parse(const char *text, struct argp_state *state);
/** "pre-published" …; what it does not know: "?". */
const char *keys_state_name(Skms__V1__KeyState state);

/** A kid may begin with a dash: argv in which it stands behind "--", and is no option. *argc grows
 *  with it; free() it. NULL without memory. */
char **keys_spare_kid(int *argc, char **argv);

/** A line into a file, beside and renamed; mode 0600 or 0644; exit code. */
int keys_write_file(const cli_context *cli, const char *path, unsigned mode, const char *text);

#endif
