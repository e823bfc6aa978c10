/* SPDX-License-Identifier: Apache-2.0 */
#include "oidc_internal.h"

static const char *const kinds[SIM_KINDS] = {
    "authorization_code", "refresh_token", "client_credentials", "other"};

const char *sim_grant_kind_name(sim_grant_kind kind)
{
    return kinds[kind];
}

sim_grant_kind sim_grant_kind_of(const char *name)
{
    sim_grant_kind kind = SIM_KIND_CODE;
    while (kind < SIM_KIND_OTHER && strcmp(kinds[kind], name) != 0)
        kind++;
    return kind;
}

static bool make(host_metrics *metrics, const char *name, const char *help, const char *labels,
    host_counter **ret)
{
    *ret = host_metrics_counter(metrics, name, help, labels);
    return *ret != NULL;
}

static bool make_tokens(sim_counters *counters, host_metrics *metrics)
{
    static const char *const outcomes[SIM_TOKEN_OUTCOMES] = {"issued", "refused", "unavailable"};
    char labels[96];
    bool made = true;
    for (size_t kind = 0; kind < SIM_KINDS; kind++)
        for (size_t i = 0; i < SIM_TOKEN_OUTCOMES; i++) {
            snprintf(
                labels, sizeof labels, "grant=\"%s\",outcome=\"%s\"", kinds[kind], outcomes[i]);
            made = made && make(metrics, "sim_token_requests_total",
                               "Requests of the token endpoint, by grant and outcome.", labels,
                               &counters->tokens[kind][i]);
        }
    return made;
}

bool sim_counters_make(sim_counters *counters, host_metrics *metrics)
{
    static const char *const outcomes[SIM_LOGIN_OUTCOMES] = {"success", "refused"};
    static const char *const limits[SIM_LIMITS] = {
        "logins_per_user", "logins_per_address", "client_failures", "assertions"};
    char labels[96];
    bool made = make_tokens(counters, metrics);
    for (size_t i = 0; made && i < SIM_LOGIN_OUTCOMES; i++) {
        snprintf(labels, sizeof labels, "outcome=\"%s\"", outcomes[i]);
        made = make(metrics, "sim_logins_total", "Passwords that were checked, by outcome.", labels,
            &counters->logins[i]);
    }
    for (size_t i = 0; made && i < SIM_LIMITS; i++) {
        snprintf(labels, sizeof labels, "limit=\"%s\"", limits[i]);
        made = make(metrics, "sim_limit_reached_total",
            "Requests refused because a limit of logins or clients was reached.", labels,
            &counters->limits[i]);
    }
    return made;
}
