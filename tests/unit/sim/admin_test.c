/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's service on a socket of its own: every method from the wire to the state and back,
 * pages, what becomes of half-made users and of answers that are too large, and the trail. */
#include "known.h"

#include "admin.h"
#include "settings.h"

#include "sim/v1/admin.pb-c.h"

#include <glob.h>
#include <pthread.h>

#define CARL "msisdn-4915550003"
#define JWK                                                                                        \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":"                                    \
    "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static known people;
static sim_service service;
static host_settings *settings;
static host_rpc *calls;
static sim_admin *admin;
static rpc_channel *channel;
static rpc_arena *arena;
static char url[300], trail[300];

/* ---- the world ---------------------------------------------------------------------------------
 */

/* The example with that address of the operator's service. */
static void read_settings(const char *address)
{
    static char text[64 << 10];
    static const char line[] = "url: ipc:///run/simsd/admin.sock";
    rpc_status status = {0};
    FILE *file = fopen(DACM_SOURCE_DIR "/server/sim/simsd.example.yaml", "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text / 2, file);
    assert_int_equal(fclose(file), 0);
    text[size] = '\0';
    char *at = strstr(text, line);
    assert_non_null(at);
    char rest[sizeof text / 2];
    snprintf(rest, sizeof rest, "%s", at + sizeof line - 1);
    snprintf(at, sizeof text - (size_t)(at - text), "url: %s%s", address, rest);
    OK(host_settings_parse(
        "simsd.yaml", rpc_bytes_str(text), sim_settings, sim_settings_count, &settings, &status));
}

static void begin_service(void)
{
    rpc_status status = {0};
    known_open(&people);
    service = (sim_service){.clock = &people.clock, .state = people.state};
    OK(rpc_runtime_new(NULL, &service.runtime, &status));
    OK(host_log_open("/dev/null", HOST_INFO, "test", rpc_clock_system(), &service.log, &status));
    service.metrics = host_metrics_new();
    service.audit_refused = host_metrics_counter(service.metrics, "refused_total", "-", NULL);
    snprintf(trail, sizeof trail, "%s/trail", people.directory);
    const trust_audit_options audit = {.directory = trail};
    OK(trust_audit_open(&audit, &service.audit, &status));
    calls = host_rpc_new(service.log, service.metrics, service.clock);
    assert_non_null(calls);
}

static void begin(void)
{
    rpc_status status = {0};
    begin_service();
    snprintf(url, sizeof url, "ipc://%s/admin.sock", people.directory);
    read_settings(url);
    OK(sim_admin_start(&service, calls, host_settings_values(settings), &admin, &status));
    assert_non_null(admin);
    const rpc_channel_options options = {.target = url, .limits = rpc_limits_default_client()};
    OK(rpc_channel_new(service.runtime, &options, &channel, &status));
    arena = rpc_arena_new(32 << 20);
    assert_non_null(arena);
}

static void end(void)
{
    rpc_channel_free(channel);
    channel = NULL;
    sim_admin_stop(admin, 0);
    admin = NULL;
    host_rpc_free(calls);
    host_settings_free(settings);
    settings = NULL;
    rpc_arena_free(arena);
    arena = NULL;
    trust_audit_close(service.audit);
    host_metrics_free(service.metrics);
    host_log_close(service.log);
    rpc_runtime_free(service.runtime);
    known_close(&people);
}

static rpc_code ask(const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, rpc_status *reterr)
{
    char path[64];
    ProtobufCMessage *message = NULL;
    const rpc_call_options options = {.timeout_ms = 60000};
    snprintf(path, sizeof path, "/sim.v1.Admin/%s", method);
    rpc_code code = rpc_channel_unary(
        channel, path, &options, request, reply, arena, &message, reterr);
    *(ProtobufCMessage **)ret = message;
    return code;
}

#define ASK(method, request, reply, ret)                                                           \
    ask(#method, &(request).base, &sim__v1__##reply##__descriptor, (ret), &status)

/* How often the trail has a text. */
static unsigned noted(const char *text)
{
    char pattern[320], *line = NULL;
    size_t room = 0;
    unsigned count = 0;
    glob_t files;
    rpc_status status = {0};
    OK(trust_audit_flush(service.audit, &status));
    snprintf(pattern, sizeof pattern, "%s/*", trail);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *file = fopen(files.gl_pathv[i], "r");
        assert_non_null(file);
        while (getline(&line, &room, file) >= 0)
            count += strstr(line, text) != NULL;
        fclose(file);
    }
    free(line);
    globfree(&files);
    return count;
}

/* ---- users -------------------------------------------------------------------------------------
 */

static Sim__V1__User *user_of(const char *username)
{
    rpc_status status = {0};
    Sim__V1__User *user = NULL;
    Sim__V1__GetUserRequest request = SIM__V1__GET_USER_REQUEST__INIT;
    request.username = (char *)(uintptr_t)username;
    rpc_code code = ASK(GetUser, request, user, &user);
    assert_true(code == RPC_OK || code == RPC_NOT_FOUND);
    return user;
}

static rpc_code create(const char *username, char **gpsis, size_t count, rpc_status *reterr)
{
    Sim__V1__User *user = NULL;
    Sim__V1__CreateUserRequest request = SIM__V1__CREATE_USER_REQUEST__INIT;
    request.username = (char *)(uintptr_t)username;
    request.name = (char *)(uintptr_t) "A name";
    request.gpsis = gpsis;
    request.n_gpsis = count;
    return ask("CreateUser", &request.base, &sim__v1__user__descriptor, &user, reterr);
}

TEST(user_is_created_changed_logged_out_and_deleted)
{
    static char carl[] = CARL, other[] = "extid-carl@example.org", name[] = "carl";
    static char password[] = "carl's password";
    char *gpsis[] = {carl}, *more[] = {other};
    rpc_status status = {0};
    Sim__V1__User *user = NULL;
    begin();
    OK(create(name, gpsis, 1, &status));
    user = user_of(name);
    assert_string_equal(user->name, "A name");
    assert_string_equal(user->gpsis[0], CARL);
    assert_int_equal(strlen(user->sub), SIM_SUB_CHARS);
    assert_false(user->has_password);
    Sim__V1__UpdateUserRequest update = SIM__V1__UPDATE_USER_REQUEST__INIT;
    update.username = name;
    update.password = password;
    update.disabled = SIM__V1__SWITCH__SWITCH_ON;
    update.map_gpsis = more;
    update.n_map_gpsis = 1;
    update.unmap_gpsis = gpsis;
    update.n_unmap_gpsis = 1;
    OK(ASK(UpdateUser, update, user, &user));
    assert_true(user->has_password && user->disabled);
    assert_int_equal(user->n_gpsis, 1);
    assert_string_equal(user->gpsis[0], other);
    OK(ASK(UpdateUser, update, user, &user)); /* idempotent */
    Sim__V1__EndSessionsRequest out = SIM__V1__END_SESSIONS_REQUEST__INIT;
    Sim__V1__EndSessionsResponse *ended = NULL;
    out.username = name;
    OK(ASK(EndSessions, out, end_sessions_response, &ended));
    Sim__V1__DeleteUserRequest away = SIM__V1__DELETE_USER_REQUEST__INIT;
    Sim__V1__DeleteUserResponse *deleted = NULL;
    away.username = name;
    OK(ASK(DeleteUser, away, delete_user_response, &deleted));
    assert_null(user_of(name));
    REFUSED(ASK(DeleteUser, away, delete_user_response, &deleted), RPC_NOT_FOUND);
    REFUSED(ASK(EndSessions, out, end_sessions_response, &ended), RPC_NOT_FOUND);
    REFUSED(ASK(UpdateUser, update, user, &user), RPC_NOT_FOUND);
    assert_int_equal(noted("\"method\": \"UpdateUser\""), 4);
    assert_int_equal(noted(password) + noted(CARL) + noted(other), 0);
    end();
}

TEST(user_who_cannot_have_all_gpsis_is_not_there_and_none_is_taken)
{
    static char carl[] = CARL, alices[] = ALICE, bad[] = "49155500";
    char *taken[] = {carl, alices}, *malformed[] = {carl, bad}, *own[] = {carl};
    rpc_status status = {0};
    begin();
    REFUSED(create("carl", taken, 2, &status), RPC_ALREADY_EXISTS);
    assert_null(user_of("carl"));
    REFUSED(create("carl", malformed, 2, &status), RPC_INVALID_ARGUMENT);
    assert_null(user_of("carl"));
    OK(create("dora", own, 1, &status)); /* nobody keeps it */
    assert_string_equal(user_of("alice")->gpsis[0], ALICE);
    end();
}

TEST(pages_have_at_most_a_thousand_and_say_whether_there_are_more)
{
    enum { MANY = 1100 };
    rpc_status status = {0};
    begin();
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "u%04u", i);
        OK(sim_user_add(people.state, name, NULL, NULL, &status));
    }
    static const struct {
        uint32_t asked, given;
    } sizes[] = {{0, 100}, {1, 1}, {7, 7}, {1000, 1000}, {1001, 1000}, {UINT32_MAX, 1000}};
    Sim__V1__ListUsersRequest request = SIM__V1__LIST_USERS_REQUEST__INIT;
    Sim__V1__ListUsersResponse *page = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rpc_arena_reset(arena);
        request.page_size = sizes[i].asked;
        OK(ASK(ListUsers, request, list_users_response, &page));
        assert_int_equal(page->n_users, sizes[i].given);
        assert_true(page->more);
        assert_string_equal(page->users[0]->username, "alice");
    }
    static char last[] = "u1098", beyond[] = "z";
    request.after = last;
    OK(ASK(ListUsers, request, list_users_response, &page));
    assert_int_equal(page->n_users, 1);
    assert_false(page->more);
    request.after = beyond;
    OK(ASK(ListUsers, request, list_users_response, &page));
    assert_int_equal(page->n_users, 0);
    end();
}

/* ---- clients -----------------------------------------------------------------------------------
 */

static rpc_code create_client(
    Sim__V1__Client *client, Sim__V1__CreateClientResponse **ret, rpc_status *reterr)
{
    Sim__V1__CreateClientRequest request = SIM__V1__CREATE_CLIENT_REQUEST__INIT;
    request.client = client;
    return ask(
        "CreateClient", &request.base, &sim__v1__create_client_response__descriptor, ret, reterr);
}

TEST(client_s_secret_is_told_once)
{
    static char id[] = "web", uri[] = "https://web.example/cb", scope[] = "openid";
    char *uris[] = {uri}, *scopes[] = {scope};
    Sim__V1__GrantType grants[] = {SIM__V1__GRANT_TYPE__GRANT_TYPE_AUTHORIZATION_CODE};
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    Sim__V1__CreateClientResponse *made = NULL;
    Sim__V1__Client *told = NULL;
    rpc_status status = {0};
    begin();
    client.client_id = id;
    client.auth = SIM__V1__CLIENT_AUTH__CLIENT_AUTH_CLIENT_SECRET_BASIC;
    client.redirect_uris = uris;
    client.scopes = scopes;
    client.grant_types = grants;
    client.n_redirect_uris = client.n_scopes = client.n_grant_types = 1;
    OK(create_client(&client, &made, &status));
    OK(sim_client_check_secret(people.state, id, made->client_secret, &status));
    assert_string_equal(made->client->redirect_uris[0], uri);
    assert_int_equal(noted(made->client_secret), 0);
    Sim__V1__GetClientRequest get = SIM__V1__GET_CLIENT_REQUEST__INIT;
    get.client_id = id;
    OK(ASK(GetClient, get, client, &told));
    assert_string_equal(told->token_alg, "EdDSA");
    Sim__V1__UpdateClientRequest update = SIM__V1__UPDATE_CLIENT_REQUEST__INIT;
    static char rs256[] = "RS256", hs256[] = "HS256";
    update.client = &client;
    client.token_alg = rs256;
    client.disabled = true;
    OK(ASK(UpdateClient, update, client, &told));
    assert_string_equal(told->token_alg, "RS256");
    assert_true(told->disabled);
    client.token_alg = hs256;
    REFUSED(ASK(UpdateClient, update, client, &told), RPC_INVALID_ARGUMENT);
    Sim__V1__DeleteClientRequest away = SIM__V1__DELETE_CLIENT_REQUEST__INIT;
    Sim__V1__DeleteClientResponse *gone = NULL;
    away.client_id = id;
    OK(ASK(DeleteClient, away, delete_client_response, &gone));
    REFUSED(ASK(GetClient, get, client, &told), RPC_NOT_FOUND);
    client.token_alg = rs256;
    REFUSED(create_client(&client, &made, &status), RPC_ALREADY_EXISTS);
    end();
}

TEST(request_without_its_client_or_with_unknown_numbers_is_refused)
{
    static char id[] = "odd";
    Sim__V1__GrantType grants[] = {(Sim__V1__GrantType)77};
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    Sim__V1__CreateClientResponse *made = NULL;
    Sim__V1__UpdateClientRequest update = SIM__V1__UPDATE_CLIENT_REQUEST__INIT;
    Sim__V1__Client *told = NULL;
    rpc_status status = {0};
    begin();
    REFUSED(create_client(NULL, &made, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "client: is missing"));
    REFUSED(ASK(UpdateClient, update, client, &told), RPC_INVALID_ARGUMENT);
    client.client_id = id;
    client.grant_types = grants;
    client.n_grant_types = 1;
    REFUSED(create_client(&client, &made, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "grant_types"));
    grants[0] = SIM__V1__GRANT_TYPE__GRANT_TYPE_UNSPECIFIED;
    REFUSED(create_client(&client, &made, &status), RPC_INVALID_ARGUMENT);
    grants[0] = SIM__V1__GRANT_TYPE__GRANT_TYPE_CLIENT_CREDENTIALS;
    client.auth = (Sim__V1__ClientAuth)9;
    REFUSED(create_client(&client, &made, &status), RPC_INVALID_ARGUMENT);
    client.auth = SIM__V1__CLIENT_AUTH__CLIENT_AUTH_CLIENT_SECRET_BASIC;
    client.consent = (Sim__V1__ConsentRule)9;
    REFUSED(create_client(&client, &made, &status), RPC_INVALID_ARGUMENT);
    end();
}

TEST(answer_that_is_larger_than_a_call_may_be_asks_for_smaller_pages)
{
    enum { MANY = 300, PADDING = 15000 };
    static char jwks[PADDING + 256];
    static const char *const none[] = {NULL};
    rpc_status status = {0};
    begin();
    int size = snprintf(jwks, sizeof jwks, "{\"x\":\"%0*d\",\"keys\":[" JWK "]}", PADDING, 0);
    assert_true(size < (int)sizeof jwks);
    for (unsigned i = 0; i < MANY; i++) {
        char id[16], *secret = NULL;
        snprintf(id, sizeof id, "big-%03u", i);
        const sim_client client = {.client_id = id,
            .auth = SIM_AUTH_PRIVATE_KEY_JWT,
            .jwks = jwks,
            .grants = SIM_GRANT_CLIENT_CREDENTIALS,
            .redirect_uris = none,
            .scopes = none,
            .users = none};
        OK(sim_client_add(people.state, &client, &secret, &status));
    }
    Sim__V1__ListClientsRequest request = SIM__V1__LIST_CLIENTS_REQUEST__INIT;
    Sim__V1__ListClientsResponse *page = NULL;
    request.page_size = 1000;
    REFUSED(ASK(ListClients, request, list_clients_response, &page), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "smaller pages"));
    request.page_size = 10;
    OK(ASK(ListClients, request, list_clients_response, &page));
    assert_int_equal(page->n_clients, 10);
    assert_true(page->more);
    end();
}

/* ---- the service -------------------------------------------------------------------------------
 */

TEST(refusals_stand_in_the_trail_with_their_code_and_whom_they_are_about)
{
    begin();
    assert_null(user_of("nobody"));
    assert_int_equal(noted("\"outcome\": \"asked\""), 1);
    assert_int_equal(noted("\"outcome\": \"NOT_FOUND\""), 1);
    assert_int_equal(noted("nobody"), 0); /* by a pseudonym */
    end();
}

TEST(status_tells_the_last_revocation)
{
    rpc_status status = {0};
    Sim__V1__GetStatusRequest request = SIM__V1__GET_STATUS_REQUEST__INIT;
    Sim__V1__GetStatusResponse *told = NULL;
    begin();
    OK(ASK(GetStatus, request, get_status_response, &told));
    assert_int_equal(told->sequence, 0);
    OK(sim_user_end(people.state, "alice", &status));
    OK(ASK(GetStatus, request, get_status_response, &told));
    assert_int_equal(told->sequence, 1);
    assert_int_equal(told->n_dacms, 0);
    end();
}

TEST(without_an_address_there_is_no_service_and_a_bad_one_is_named)
{
    rpc_status status = {0};
    begin_service();
    read_settings("\"\"");
    OK(sim_admin_start(&service, calls, host_settings_values(settings), &admin, &status));
    assert_null(admin);
    host_settings_free(settings);
    read_settings("ipc:///no/such/folder/admin.sock");
    assert_int_not_equal(
        sim_admin_start(&service, calls, host_settings_values(settings), &admin, &status), RPC_OK);
    assert_non_null(strstr(status.message, "listen.admin.url"));
    assert_null(admin);
    end();
}

static void *keep_asking(void *arg)
{
    rpc_status status = {0};
    Sim__V1__GetStatusRequest request = SIM__V1__GET_STATUS_REQUEST__INIT;
    rpc_arena *own = rpc_arena_new(1 << 20);
    const rpc_call_options options = {.timeout_ms = 60000};
    rpc_code code = RPC_OK;
    while (code == RPC_OK) {
        ProtobufCMessage *message = NULL;
        rpc_arena_reset(own);
        code = rpc_channel_unary(channel, "/sim.v1.Admin/GetStatus", &options, &request.base,
            &sim__v1__get_status_response__descriptor, own, &message, &status);
        if (code == RPC_OK)
            atomic_fetch_add((atomic_uint *)arg, 1);
    }
    rpc_arena_free(own);
    return NULL;
}

TEST(stop_ends_what_runs)
{
    enum { CALLERS = 8, SOME = 20 };
    pthread_t threads[CALLERS];
    atomic_uint answered = 0;
    begin();
    for (unsigned i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_asking, &answered), 0);
    while (atomic_load(&answered) < SOME)
        sched_yield();
    sim_admin_stop(admin, 0);
    admin = NULL;
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL); /* each was answered, or told that nobody is there */
    end();
}
