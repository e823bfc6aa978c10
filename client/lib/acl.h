/* SPDX-License-Identifier: Apache-2.0 */
/** Lists of users as messages. */
#ifndef DACM_CLIENT_ACL_H
#define DACM_CLIENT_ACL_H

#include "client_internal.h"

#include "dacm/v1/digital_asset.pb-c.h"

#define CLIENT_OPERATIONS 4

typedef struct client_acl {
    Dacm__V1__AccessControlEntry *entries;
    Dacm__V1__AccessControlEntry **pointers;
    Dacm__V1__Operation *operations; /* CLIENT_OPERATIONS an entry */
    size_t count;
} client_acl;

/** Borrows the users. INVALID_ARGUMENT names the user that is no GPSI, or the operation. */
dacm_code client__acl_init(
    client_acl *acl, const dacm_acl_entry *entries, size_t count, dacm_error *reterr);
void client__acl_done(client_acl *acl);

#endif
