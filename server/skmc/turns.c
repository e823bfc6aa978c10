/* SPDX-License-Identifier: Apache-2.0 */
/* Signing where the SKM-S signs: it turns keys, and we hear of it a moment later. */
#include "skmc_internal.h"

#define TURN_MS   5000 /* from a turn at the SKM-S until we hear of it, while it is there */
#define TURNS_MAX 3u   /* a turn may be two sets: of another key, and of one more after it */

static rpc_code sign_by(
    skmc *s, const skmc_keys *keys, trust_alg alg, skmc_sign_fn *fn, void *ctx, rpc_status *reterr)
{
    const int64_t now = skmc__now_s(s);
    const trust_signer *signer = keys ? skmc_keys_signer(keys, alg, now) : NULL;
    return signer ? fn(ctx, signer, now, reterr)
                  : rpc_status_set(reterr, RPC_ABORTED, "no key of the SKM-S signs at this moment");
}

rpc_code skmc_sign(
    skmc *s, const skmc_keys *keys, trust_alg alg, skmc_sign_fn *fn, void *ctx, rpc_status *reterr)
{
    skmc_keys *others = NULL;
    rpc_code code = sign_by(s, keys, alg, fn, ctx, reterr);
    for (unsigned i = 0; i < TURNS_MAX && code == RPC_ABORTED; i++) {
        skmc_keys *next = skmc_keys_after(s, others ? others : keys, TURN_MS);
        if (!next)
            break;
        skmc_keys_unref(others);
        others = next;
        code = sign_by(s, others, alg, fn, ctx, reterr);
    }
    skmc_keys_unref(others);
    return code == RPC_ABORTED
               ? rpc_status_set(reterr, RPC_UNAVAILABLE,
                     "the SKM-S signs with another key, of which nothing is known yet; try again")
               : code;
}
