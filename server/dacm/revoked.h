/* SPDX-License-Identifier: Apache-2.0 */
/** Revocations as they are kept, whoever asked for them: an operator or an issuer's SIM-S. */
#ifndef DACM_REVOKED_H
#define DACM_REVOKED_H

#include "changes.h"
#include "trust.h"

#define DACM_EXPIRES_MAX      253402300799 /* the last second of the year 9999 */
#define DACM_REVOKED_NAME_MAX 255u

/** Until when to remember a revocation of tokens that are issued until issued_until at the latest:
 *  as long as any token may live, by clocks that differ as much as they may. Seconds since 1970. */
int64_t dacm_revocation_end(int64_t now, int64_t issued_until);
typedef enum dacm_revoked_by { DACM_BY_OPERATOR, DACM_BY_SIMS } dacm_revoked_by;
/** Puts its record, for the group of its issuer. Operators and SIM-S have records of their own: the
 *  one takes nothing back of what the other said. */
void dacm_put_revocation(
    dacm_changes *changes, const trust_revocation *revocation, dacm_revoked_by by, int64_t now);

#endif
