/* SPDX-License-Identifier: Apache-2.0 */
/* dacm keys services, enrol, unenrol: whose keys an SKM-S has, and who gets them. */
#include "cleanup.h"
#include "keys.h"

#include <inttypes.h>
#include <string.h>

#define PAGE           1000
#define PURPOSES_MAX   8
#define DURATION_S_MAX 316224000 /* ten years */

enum {
    OPTION_PURPOSE = 512,
    OPTION_ACTIVE,
    OPTION_BEFORE,
    OPTION_VERIFY_ONLY,
    OPTION_DELEGATED,
    OPTION_PROVISIONED,
    OPTION_CLIENT,
    OPTION_CLIENT_ISSUER,
    OPTION_OUTPUT = 'o',
};

typedef struct services_arguments {
    operator_calls s;
    unsigned takes; /* arguments: none, SERVICE, SERVICE NAME */
    char *service, *name, *client, *client_issuer;
    Skms__V1__Purpose purposes[PURPOSES_MAX];
    size_t purpose_count;
    Skms__V1__Policy policy;
    const char *output;
} services_arguments;

/* ---- durations ---------------------------------------------------------------------------------
 */

/** "90d", "12h", "30m", "45s" or "45": seconds. */
static int64_t duration(const char *text, const char *option, struct argp_state *state)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end = NULL;
    const unsigned long long count = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10)
                                                                      : 0;
    int64_t seconds = end && !*end ? 1 : 0;
    for (size_t i = 0; end && *end && !end[1] && i < sizeof units / sizeof *units; i++)
        if (units[i].unit == *end)
            seconds = units[i].seconds;
    if (count == 0 || seconds == 0 || count > (unsigned long long)(DURATION_S_MAX / seconds))
        argp_error(state,
            "--%s takes a time such as 90d, 12h, 30m or 45s, up to ten years, not '%s'", option,
            text);
    return (int64_t)count * seconds;
}

static void duration_text(int64_t seconds, char ret[32])
{
    if (seconds % 86400 == 0)
        snprintf(ret, 32, "%" PRId64 "d", seconds / 86400);
    else if (seconds % 3600 == 0)
        snprintf(ret, 32, "%" PRId64 "h", seconds / 3600);
    else if (seconds % 60 == 0)
        snprintf(ret, 32, "%" PRId64 "m", seconds / 60);
    else
        snprintf(ret, 32, "%" PRId64 "s", seconds);
}

/* ---- arguments ---------------------------------------------------------------------------------
 */

static void take_argument(services_arguments *services, char *argument, struct argp_state *state)
{
    if (services->takes > 0 && !services->service)
        services->service = argument;
    else if (services->takes > 1 && !services->name)
        services->name = argument;
    else
        argp_error(state, "what is '%s'?", argument);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    services_arguments *services = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &services->s;
        return 0;
    case OPTION_PURPOSE:
        if (services->purpose_count == PURPOSES_MAX)
            argp_error(state, "--purpose: there are two, manifests and tokens");
        services->purposes[services->purpose_count++] = keys_purpose_parse(argument, state);
        return 0;
    case OPTION_ACTIVE:
        services->policy.active_s = duration(argument, "active", state);
        return 0;
    case OPTION_BEFORE:
        services->policy.published_before_s = duration(argument, "published-before", state);
        return 0;
    case OPTION_VERIFY_ONLY:
        services->policy.verify_only_s = duration(argument, "verify-only", state);
        return 0;
    case OPTION_DELEGATED:
        services->policy.delegated = true;
        return 0;
    case OPTION_PROVISIONED:
        services->policy.provisioned = true;
        return 0;
    case OPTION_CLIENT:
        services->client = argument;
        return 0;
    case OPTION_CLIENT_ISSUER:
        services->client_issuer = argument;
        return 0;
    case OPTION_OUTPUT:
        services->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(services, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (services->takes > 0 && !services->service)
            argp_error(state, "which VAL service?");
        if (services->takes > 1 && !services->name)
            argp_error(state, "which SKM-C? Give the DNS or URI name in its certificate");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&operator_skms.argp, 0, NULL, 10}, {0}};

/* ---- VAL services ------------------------------------------------------------------------------
 */

static json_t *service_json(const Skms__V1__ValService *service)
{
    const Skms__V1__Policy *policy = service->policy;
    json_t *purposes = json_array(), *enrolments = json_array();
    for (size_t i = 0; i < service->n_purposes; i++)
        json_array_append_new(purposes, json_string(keys_purpose_name(service->purposes[i])));
    for (size_t i = 0; i < service->n_enrolments; i++) {
        const Skms__V1__Enrolment *at = service->enrolments[i];
        json_array_append_new(enrolments,
            json_pack("{s:s, s:I, s:I}", "name", at->certificate_san, "enrolled_at",
                (json_int_t)at->enrolled_at, "token_expires_at", (json_int_t)at->token_expires_at));
    }
    json_t *object = json_pack("{s:s, s:o, s:I, s:o}", "service", service->val_service, "purposes",
        purposes, "created_at", (json_int_t)service->created_at, "enrolments", enrolments);
    if (object && policy)
        json_object_set_new(object, "policy",
            json_pack("{s:I, s:I, s:I, s:b, s:b}", "active_s", (json_int_t)policy->active_s,
                "published_before_s", (json_int_t)policy->published_before_s, "verify_only_s",
                (json_int_t)policy->verify_only_s, "delegated", policy->delegated, "provisioned",
                policy->provisioned));
    return object;
}

static void print_policy(const Skms__V1__Policy *policy)
{
    char active[32], before[32], after[32];
    duration_text(policy->active_s, active);
    duration_text(policy->published_before_s, before);
    duration_text(policy->verify_only_s, after);
    printf("  each signs for %s, is published %s before, verifies for %s after%s%s\n", active,
        before, after, policy->delegated ? "; private halves do not leave" : "",
        policy->provisioned ? "; keys are brought by VAL servers" : "");
}

static void print_enrolment(Skms__V1__Enrolment *enrolment)
{
    char at[32];
    rpc_text_printable(enrolment->certificate_san);
    printf("  %s: ", enrolment->certificate_san);
    if (enrolment->enrolled_at) {
        cli_time_text(enrolment->enrolled_at, at);
        printf("enrolled %s", at);
    } else {
        printf("has not enrolled yet");
    }
    if (enrolment->token_expires_at) {
        cli_time_text(enrolment->token_expires_at, at);
        printf(", has a token until %s", at);
    }
    rpc_text_printable(enrolment->client_id);
    rpc_text_printable(enrolment->client_issuer);
    if (enrolment->client_id[0])
        printf(", with tokens of %s from %s", enrolment->client_id, enrolment->client_issuer);
    putchar('\n');
}

static void print_service(const cli_context *cli, Skms__V1__ValService *service)
{
    if (cli->json) {
        cli_print_json(service_json(service));
        return;
    }
    rpc_text_printable(service->val_service);
    printf("%s\n  keys for", service->val_service);
    for (size_t i = 0; i < service->n_purposes; i++)
        printf("%s %s", i > 0 ? " and" : "", keys_purpose_name(service->purposes[i]));
    putchar('\n');
    if (service->policy)
        print_policy(service->policy);
    for (size_t i = 0; i < service->n_enrolments; i++)
        print_enrolment(service->enrolments[i]);
}

int cli_keys_services(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, NULL,
        "Lists VAL services: what their keys are for, how long these live, and which SKM-Cs get "
        "them.",
        children, NULL, NULL};
    services_arguments services = {.s = {.cli = cli, .server = &operator_skms}};
    char after[256] = "";
    int code = cli_parse(&argp, "dacm keys services", argc, argv, &services);
    if (code >= 0)
        return code;
    Skms__V1__ListServicesRequest request = SKMS__V1__LIST_SERVICES_REQUEST__INIT;
    request.after = after;
    request.page_size = PAGE;
    for (bool more = true; more;) {
        Skms__V1__ListServicesResponse *reply = NULL;
        code = operator_call(&services.s, "ListServices", &request.base,
            &skms__v1__list_services_response__descriptor, &reply);
        if (code != CLI_EXIT_OK)
            break;
        more = reply->more && reply->n_services &&
               rpc_text_copy(
                   after, sizeof after, reply->services[reply->n_services - 1]->val_service);
        for (size_t i = 0; i < reply->n_services; i++)
            print_service(cli, reply->services[i]);
        rpc_arena_reset(services.s.arena);
    }
    operator_done(&services.s);
    return code;
}

int cli_keys_services_create(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"purpose", OPTION_PURPOSE, "manifests|tokens", 0,
            "what its keys sign: a DACM's manifests, a SIM-S's tokens; again for both", 1},
        {"active", OPTION_ACTIVE, "TIME", 0, "a key signs for so long (90d, 12h, 30m, 45s)", 1},
        {"published-before", OPTION_BEFORE, "TIME", 0,
            "it is published so long before its first signature: above the hour for which "
            "verifiers keep a key set",
            1},
        {"verify-only", OPTION_VERIFY_ONLY, "TIME", 0,
            "it is there so long after its last signature: above the life of what it signs, and "
            "an hour",
            1},
        {"delegated", OPTION_DELEGATED, NULL, 0,
            "private halves do not leave the SKM-S, which signs itself", 1},
        {"provisioned", OPTION_PROVISIONED, NULL, 0,
            "keys are brought by VAL servers (dacm keys upload); none is made", 1},
        {0}};
    static const struct argp argp = {options, parse, "SERVICE",
        "A VAL service, and its first keys.\vSERVICE is the resource of a DACM, the issuer of a "
        "SIM-S, or the ID of a VAL service. Where no time is given, skmsd's settings keys.* have "
        "it.",
        children, NULL, NULL};
    services_arguments services = {
        .s = {.cli = cli, .server = &operator_skms}, .takes = 1, .policy = SKMS__V1__POLICY__INIT};
    int code = cli_parse(&argp, "dacm keys services create", argc, argv, &services);
    if (code >= 0)
        return code;
    if (services.purpose_count == 0)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "what do its keys sign? Give --purpose manifests (a DACM) or --purpose tokens (a "
            "SIM-S)");
    Skms__V1__ValService request = SKMS__V1__VAL_SERVICE__INIT;
    Skms__V1__ValService *reply = NULL;
    request.val_service = services.service;
    request.purposes = services.purposes;
    request.n_purposes = services.purpose_count;
    request.policy = &services.policy;
    code = operator_call(
        &services.s, "CreateService", &request.base, &skms__v1__val_service__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_service(cli, reply);
    operator_done(&services.s);
    return code;
}

/* ---- SKM-Cs ------------------------------------------------------------------------------------
 */

static int tell_token(const services_arguments *services, Skms__V1__CreateEnrolmentResponse *reply)
{
    const cli_context *cli = services->s.cli;
    char at[32];
    const int code = services->output ? keys_write_file(cli, services->output, 0600, reply->token)
                                      : CLI_EXIT_OK;
    if (code != CLI_EXIT_OK)
        return code;
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:I}", services->output ? "file" : "token",
            services->output ? services->output : reply->token, "service", services->service,
            "name", services->name, "expires_at", (json_int_t)reply->expires_at));
        return CLI_EXIT_OK;
    }
    cli_time_text(reply->expires_at, at);
    if (services->output)
        operator_print_word("file", services->output);
    else
        operator_print_line("token", reply->token);
    operator_print_word("for", services->name);
    operator_print_word("of", services->service);
    printf("%-10sonce, until %s\n", "good", at);
    return CLI_EXIT_OK;
}

int cli_keys_enrol(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"output", OPTION_OUTPUT, "FILE", 0,
            "write the token there (mode 0600) instead of printing it: what skms.enrolment_file of "
            "dacmd or simsd names",
            1},
        {"client", OPTION_CLIENT, "ID", 0,
            "of a VAL server: its client at the SIM-S, whose access tokens it has to bring along "
            "(seal.km to get keys, seal.kp to bring some)",
            1},
        {"client-issuer", OPTION_CLIENT_ISSUER, "URI", 0,
            "that SIM-S; default: the only one that skmsd's setting issuers has", 1},
        {0}};
    static const struct argp argp = {options, parse, "SERVICE NAME",
        "Makes a token with which an SKM-C enrols, once: from then on it gets the service's "
        "keys.\vNAME is the DNS or URI name in the SKM-C's certificate. A second token for the "
        "same NAME replaces the first.",
        children, NULL, NULL};
    services_arguments services = {.s = {.cli = cli, .server = &operator_skms}, .takes = 2};
    int code = cli_parse(&argp, "dacm keys enrol", argc, argv, &services);
    if (code >= 0)
        return code;
    Skms__V1__CreateEnrolmentRequest request = SKMS__V1__CREATE_ENROLMENT_REQUEST__INIT;
    Skms__V1__CreateEnrolmentResponse *reply = NULL;
    request.val_service = services.service;
    request.certificate_san = services.name;
    if (services.client)
        request.client_id = services.client;
    if (services.client_issuer)
        request.client_issuer = services.client_issuer;
    code = operator_call(&services.s, "CreateEnrolment", &request.base,
        &skms__v1__create_enrolment_response__descriptor, &reply);
    if (code == CLI_EXIT_OK) {
        code = tell_token(&services, reply);
        explicit_bzero(reply->token, strlen(reply->token));
    }
    operator_done(&services.s);
    return code;
}

int cli_keys_unenrol(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "SERVICE NAME",
        "An SKM-C gets nothing any more, and a token that it did not use yet is void.\vWhat it "
        "has, it has: where its machine was lost, revoke the keys, too (dacm keys list SERVICE; "
        "dacm keys revoke KID): the active one and the next.",
        children, NULL, NULL};
    services_arguments services = {.s = {.cli = cli, .server = &operator_skms}, .takes = 2};
    int code = cli_parse(&argp, "dacm keys unenrol", argc, argv, &services);
    if (code >= 0)
        return code;
    Skms__V1__RevokeEnrolmentRequest request = SKMS__V1__REVOKE_ENROLMENT_REQUEST__INIT;
    Skms__V1__RevokeEnrolmentResponse *reply = NULL;
    request.val_service = services.service;
    request.certificate_san = services.name;
    code = operator_call(&services.s, "RevokeEnrolment", &request.base,
        &skms__v1__revoke_enrolment_response__descriptor, &reply);
    operator_done(&services.s);
    if (code != CLI_EXIT_OK)
        return code;
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:s, s:s}", "service", services.service, "name",
            services.name, "done", "revoked"));
    else
        printf("%s: gets no keys of %s any more\n", services.name, services.service);
    return CLI_EXIT_OK;
}
