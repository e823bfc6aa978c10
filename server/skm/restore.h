/* SPDX-License-Identifier: Apache-2.0 */
/** A store that was restored from a copy. The copy carries a mark (a file beside it), and the first
 *  start on it does what keeps verifiers and revocations right, then takes the mark away: it may be
 *  killed at any time. Why so: docs/decisions/0021. */
#ifndef SKM_RESTORE_H
#define SKM_RESTORE_H

#include "skm_internal.h"

/** Marks the store in a folder as a copy that was made at that time (wall clock; 0: nobody knows).
 *  UNAVAILABLE: the file cannot be written. */
RPC_MUST_USE rpc_code skm_copy_mark(const char *directory, int64_t made_ms, rpc_status *reterr);

/** For the start, before anybody is served. A store without a mark is left as it is. Otherwise:
 *  keys and enrolments that the audit trail knows to be revoked since are revoked again, tokens of
 *  enrolments are void, versions of key sets become higher than any that were published. What could
 *  not be made good is logged as an error, and what to do about it.
 *  DATA_LOSS: the mark cannot be read; those of the state. */
RPC_MUST_USE rpc_code skm_restore(
    skm_service *service, const host_values *values, rpc_status *reterr);

#endif
