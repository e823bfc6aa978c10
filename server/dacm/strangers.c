/* SPDX-License-Identifier: Apache-2.0 */
#include "strangers.h"

void dacm_strangers_init(
    dacm_strangers *strangers, unsigned records_per_s_max, host_counter *left_out_all)
{
    *strangers = (dacm_strangers){
        .records_per_s_max = records_per_s_max, .left_out_all = left_out_all};
    pthread_mutex_init(&strangers->lock, NULL);
}

void dacm_strangers_done(dacm_strangers *strangers)
{
    pthread_mutex_destroy(&strangers->lock);
}

bool dacm_strangers_admit(dacm_strangers *strangers, int64_t now_s, uint64_t *ret_left_out)
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
    if (!admitted && strangers->left_out_all)
        host_counter_add(strangers->left_out_all, 1);
    return admitted;
}
