/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of pinned roots share: the rules (pins.c), the file (pins_file.c). */
#ifndef DACM_TRUST_PINS_INTERNAL_H
#define DACM_TRUST_PINS_INTERNAL_H

#include "pins.h"

/** FOLDER/trust.json: {"format": 1, "issuers": [{issuer, root, sequence, pinned_at, services,
 *  address (where there is one), followed: [{sequence, before, statement}], sets: [{service,
 *  purpose, version, issued_at, expires_at, keys}]}]}; its form is judged when it is opened. */
typedef struct trust__pins {
    int lock; /* -1: opened for reading */
    char *folder, *path;
    struct json_t *json;
} trust__pins;

/** Fills status (NULL is allowed) with a text that may be printed, and returns code. */
trust_pins_code trust__pins_fail(rpc_status *status, trust_pins_code code, const char *format, ...)
    RPC_PRINTF(3, 4);
trust_pins_code trust__pins_no_memory(rpc_status *reterr);

/** For a change the folder is made (mode 0700) and its lock held until trust__pins_close(). */
trust_pins_code trust__pins_open(
    const char *folder, bool change, trust__pins *ret, rpc_status *reterr);
/** Whole or not at all, also when the power fails. */
trust_pins_code trust__pins_save(const trust__pins *pins, rpc_status *reterr);
void trust__pins_close(trust__pins *pins);

#endif
