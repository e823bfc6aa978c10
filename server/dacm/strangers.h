/* SPDX-License-Identifier: Apache-2.0 */
/** Requests without a genuine token are anybody's to send, as fast as the network allows. So many
 *  a second have an audit record of their own; the others are counted, and the next record says
 *  how many there were: a stranger must not be able to fill the audit trail's disk, on which
 *  every answer hangs. Any thread. */
#ifndef DACM_STRANGERS_H
#define DACM_STRANGERS_H

#include "host.h"

#include <pthread.h>

typedef struct dacm_strangers {
    pthread_mutex_t lock;
    unsigned records_per_s_max;
    int64_t second; /* (lock) of records */
    unsigned records;
    uint64_t left_out;          /* (lock) since the last record */
    host_counter *left_out_all; /* may be NULL */
} dacm_strangers;

void dacm_strangers_init(
    dacm_strangers *strangers, unsigned records_per_s_max, host_counter *left_out_all);
void dacm_strangers_done(dacm_strangers *strangers);
/** True: the request at now_s (seconds since 1970) is to be recorded, with *ret_left_out others
 *  that were not. False: it was counted. */
bool dacm_strangers_admit(dacm_strangers *strangers, int64_t now_s, uint64_t *ret_left_out);

#endif
