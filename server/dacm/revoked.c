/* SPDX-License-Identifier: Apache-2.0 */
#include "revoked.h"

#define LIFETIME_S 900 /* the longest that any token lives */

int64_t dacm_revocation_end(int64_t now, int64_t issued_until)
{
    const int64_t from = issued_until > now ? issued_until : now;
    return from + LIFETIME_S + 2 * TRUST_SKEW_S;
}

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c packs what it does not change */
}

static host_key key_of(const trust_revocation *revocation, dacm_revoked_by by)
{
    if (by == DACM_BY_SIMS)
        return revocation->jti ? dacm_key_reported_token(revocation->jti)
                               : dacm_key_reported_subject(revocation->subject);
    return revocation->jti ? dacm_key_revoked_token(revocation->jti)
                           : dacm_key_revoked_subject(revocation->subject);
}

void dacm_put_revocation(
    dacm_changes *changes, const trust_revocation *revocation, dacm_revoked_by by, int64_t now)
{
    Dacm__Records__Revocation record = DACM__RECORDS__REVOCATION__INIT;
    record.issuer = unconst(revocation->issuer);
    if (revocation->jti)
        record.jti = unconst(revocation->jti);
    else
        record.subject = unconst(revocation->subject);
    record.issued_until = revocation->issued_until;
    record.expires_at = revocation->expires_at;
    record.created_at = now;
    record.source = unconst(by == DACM_BY_SIMS ? "sims" : "operator");
    dacm_changes_put(changes, key_of(revocation, by), &record.base);
}
