/* SPDX-License-Identifier: Apache-2.0 */
/** An attack on a server, while another caller is served; afterwards nothing is left of it. */
#ifndef DACM_TEST_H2_ATTACK_H
#define DACM_TEST_H2_ATTACK_H

#include "peer.h"

typedef struct h2_attack {
    /** One attacker's part, on a thread of its own; several run at once. */
    void (*run)(fixture *f, unsigned attacker);
    unsigned attackers;
    /** The limit that must have been counted at least this often; 0: no limit. */
    rpc_limit_kind limit;
    unsigned limit_count;
    unsigned protocol_errors; /* at least so many connections ended for them */
    void (*prepare)(fixture *f);
    bool tls;
} h2_attack;

/** Runs it: calls of another caller all succeed meanwhile, and when the attackers have gone, the
 *  server has no connection, no running call, no memory in its account, and the process has the
 *  descriptors of before. Without sanitizers: RssAnon has grown by less than 16 MiB. */
void h2_under_attack(const h2_attack *attack);
/** The same for a fixture that is started; the caller stops it. */
void h2_run_attack(fixture *f, const h2_attack *attack);
/** Until the server has no connection, no running call and no memory in its account. */
void h2_wait_gone(fixture *f);
/** Kilobytes. */
size_t h2_rss_anon_kb(void);
/** A connection whose preface is in its output. */
h2_peer *h2_attacker(fixture *f);
/** Bytes of a gRPC message: prefix, then size bytes at data. */
void h2_put_message(h2_peer *peer, uint32_t stream, uint8_t flags, const void *data, size_t size);

#endif
