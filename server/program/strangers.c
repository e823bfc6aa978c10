/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

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
