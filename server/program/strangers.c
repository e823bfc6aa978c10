/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <assert.h>
#include <string.h>

void program_strangers_init(
    program_strangers *strangers, const host_values *values, host_counter *left_out_all)
{
    *strangers = (program_strangers){
        .records_per_s_max = (unsigned)host_int(values, "audit.unauthenticated_per_s"),
        .left_out_all = left_out_all};
    pthread_mutex_init(&strangers->lock, NULL);
}

void program_strangers_done(program_strangers *strangers)
{
    pthread_mutex_destroy(&strangers->lock);
}

bool program_strangers_admit(program_strangers *strangers, int64_t now_s, uint64_t *ret_left_out)
{
    pthread_mutex_lock(&strangers->lock);
    if (now_s != strangers->second) { /* a clock that goes back begins anew as well */
        strangers->second = now_s;
        strangers->records = 0;
    }
    bool admitted = strangers->records < strangers->records_per_s_max;
    if (admitted) {
        strangers->records++;
        *ret_left_out = strangers->left_out;
        strangers->left_out = 0;
    } else {
        strangers->left_out++;
    }
    pthread_mutex_unlock(&strangers->lock);
    if (!admitted)
        host_counter_add(strangers->left_out_all, 1);
    return admitted;
}

rpc_code program_strangers_audit(program_strangers *strangers, trust_audit *audit, host_log *log,
    const rpc_clock *clock, host_counter *refused, const char *request_id, const char *event,
    const host_field *fields, size_t count, rpc_status *reterr)
{
    host_field all[HOST_FIELDS_MAX];
    uint64_t left_out = 0;
    if (!program_strangers_admit(strangers, rpc_clock_wall_ms(clock) / 1000, &left_out))
        return RPC_OK;
    assert(count < HOST_FIELDS_MAX);
    memcpy(all, fields, count * sizeof *fields);
    all[count] = host_number("left_out", (int64_t)left_out);
    return program_audit(
        audit, log, clock, refused, request_id, event, all, count + (left_out > 0), reterr);
}
