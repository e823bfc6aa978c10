/* SPDX-License-Identifier: Apache-2.0 */
/** Memory for private keys: locked, so that it reaches no swap, left out of core dumps, wiped when
 * it is freed. libsodium's allocator gives it, but says nothing where the limit (RLIMIT_MEMLOCK)
 * does not permit the locking; here that is an error, unless the operator allows it. */
#ifndef SKM_LOCKED_H
#define SKM_LOCKED_H

#include "base.h"

/** For the start: raises the soft limit to the hard one, and tries as much as skmsd needs at least.
 *  FAILED_PRECONDITION: it cannot be locked; the message says what to do. */
RPC_MUST_USE rpc_code skm_locked_check(rpc_status *reterr);
/** sodium_free() it. NULL: no memory, or it cannot be locked; allowed: it need not be. */
void *skm_locked_malloc(size_t size, bool allowed);
/** Is what sodium_malloc() gave, readable, locked? */
bool skm_locked(const void *memory, size_t size);

#endif
