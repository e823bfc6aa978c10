/* SPDX-License-Identifier: Apache-2.0 */
/* Clients: what may be registered, where they may be redirected to, what ends for them. */
#include "known.h"

#include <pthread.h>

#define NOW_S (START_MS / 1000)
#define JWKS                                                                                       \
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":"                         \
    "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"

static const char *const one_redirect[] = {"https://app.example/cb", NULL};
static const char *const no_list[] = {NULL};

static sim_client web(void)
{
    return (sim_client){.client_id = "web",
        .redirect_uris = one_redirect,
        .grants = SIM_GRANT_CODE | SIM_GRANT_REFRESH,
        .scopes = no_list,
        .users = no_list};
}

static rpc_code add(known *k, const sim_client *client, rpc_status *reterr)
{
    char *secret = NULL;
    rpc_code code = sim_client_add(k->state, client, &secret, reterr);
    free(secret);
    return code;
}

TEST(client_is_found_as_it_was_added)
{
    known k;
    rpc_status status = {0};
    sim_client *client = NULL;
    known_open(&k);
    OK(sim_client_find(k.state, "app", &client, &status));
    assert_string_equal(client->client_id, "app");
    assert_string_equal(client->name, "The app");
    assert_int_equal(client->auth, SIM_AUTH_NONE);
    assert_string_equal(client->redirect_uris[0], REDIRECT);
    assert_null(client->redirect_uris[2]);
    assert_string_equal(client->jwks, "");
    assert_string_equal(client->scopes[1], "seal.da");
    assert_null(client->users[0]);
    assert_int_equal(client->token_alg, TRUST_ALG_EDDSA);
    assert_int_equal(client->created_at, NOW_S);
    sim_client_free(client);
    REFUSED(sim_client_find(k.state, "App", &client, &status), RPC_NOT_FOUND);
    REFUSED(sim_client_find(k.state, "", &client, &status), RPC_NOT_FOUND);
    sim_client again = web();
    again.client_id = "app";
    REFUSED(add(&k, &again, &status), RPC_ALREADY_EXISTS);
    known_close(&k);
}

TEST(redirect_uris_are_https_or_loopback_or_private_schemes)
{
    known k;
    rpc_status status = {0};
    static const char *const good[] = {"https://app.example/cb", "https://app.example",
        "https://app.example:8443/cb?x=1", "https://[2001:db8::1]/cb", "http://127.0.0.1/cb",
        "http://127.0.0.1:8080/cb", "http://[::1]/cb", "http://[::1]:1/cb", "com.example.app:/cb",
        "com.example.app:cb", "https://xn--mnchen-3ya.example/"};
    static const char *const bad[] = {"", "app.example/cb", "//app.example/cb", "/cb",
        "http://app.example/cb", "http://localhost/cb", "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1@evil.example/cb", "http://127.0.0.10/cb", "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:x/cb", "http://127.0.0.1:/cb", "http://[::1].evil.example/", "https://",
        "https:///cb", "https://a@app.example/cb", "https://*.example/cb",
        "https://app.example:0/cb", "https://app.example:x/", "https://app.example/cb#",
        "https://app.example/cb#frag", "https://app.example/a b", "https://app.example/\n",
        "https://app.example/\xc3\xa4", "https://app.example/\"x", "https://app.example/<x>",
        "https://app.example\\@evil.example/", "HTTPS://app.example/cb", "javascript:alert(1)",
        "data:text/html,x", "app:/cb", "file:///etc/passwd", ".app:/cb",
        "com.example.app:", "1.example:/cb"};
    known_open(&k);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *const list[] = {good[i], NULL};
        char id[16];
        snprintf(id, sizeof id, "good-%zu", i);
        sim_client client = web();
        client.client_id = id;
        client.redirect_uris = list;
        if (add(&k, &client, &status) != RPC_OK)
            fail_msg("%s: %s", good[i], status.message);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const list[] = {bad[i], NULL};
        sim_client client = web();
        client.redirect_uris = list;
        if (add(&k, &client, &status) != RPC_INVALID_ARGUMENT)
            fail_msg("'%s' was taken", bad[i]);
    }
    known_close(&k);
}

TEST(redirects_match_byte_for_byte_but_for_the_port_of_a_loopback)
{
    static const char *const registered[] = {"https://app.example/cb", "http://127.0.0.1/cb",
        "http://[::1]:9/cb", "com.example.app:/cb", NULL};
    const sim_client client = {.redirect_uris = registered};
    static const char *const good[] = {"https://app.example/cb", "http://127.0.0.1/cb",
        "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:9/cb",
        "com.example.app:/cb"};
    static const char *const bad[] = {"", "https://app.example/cb/", "https://app.example/c",
        "https://app.example/cbx", "https://app.example/cb?x", "https://app.example:443/cb",
        "https://APP.example/cb", "http://app.example/cb", "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb", "http://127.0.0.1:1/cb/",
        "http://127.0.0.1:1/c", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1:1cb",
        "http://127.0.0.1:00080x/cb", "http://127.0.0.1.evil.example/cb", "http://[::1]/cb",
        "http://[::1]:10/cb", "http://localhost/cb", "com.example.app:/cb?x", "com.example.app:"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!sim_client_redirects_to(&client, good[i]))
            fail_msg("'%s' was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sim_client_redirects_to(&client, bad[i]))
            fail_msg("'%s' was taken", bad[i]);
    assert_false(sim_client_redirects_to(&(sim_client){0}, "https://app.example/cb"));
}

TEST(members_that_contradict_each_other_are_refused)
{
    known k;
    rpc_status status = {0};
    static const char *const users[] = {"everybody", NULL}, *const good_users[] = {ALICE, NULL};
    static const char *const prefix[] = {"msisdn-49", NULL}, *const words[] = {"a b", NULL};
    sim_client bad[20];
    size_t count = sizeof bad / sizeof *bad;
    for (size_t i = 0; i < count; i++)
        bad[i] = web();
    bad[0].client_id = "";
    bad[1].client_id = "a b";
    bad[2].auth = SIM_AUTH_PRIVATE_KEY_JWT;
    bad[3].auth = SIM_AUTH_TLS;
    bad[4].jwks = JWKS;
    bad[5].tls_san = "app.example";
    bad[6].auth = (sim_client_auth)4;
    bad[7].grants = 0;
    bad[8].grants = 8;
    bad[9].grants = SIM_GRANT_REFRESH;
    bad[10].grants |= SIM_GRANT_CLIENT_CREDENTIALS; /* nobody authenticates */
    bad[11].redirect_uris = no_list;
    bad[12].users = good_users;
    bad[13].scopes = words;
    bad[14].token_alg = TRUST_ALG_ES256;
    bad[15].consent = (sim_consent_rule)3;
    bad[16].name = "a\033[2J";
    bad[17].auth = SIM_AUTH_PRIVATE_KEY_JWT;
    bad[17].jwks = "{\"keys\":[]}";
    bad[18].auth = SIM_AUTH_SECRET_BASIC;
    bad[18].grants = SIM_GRANT_CLIENT_CREDENTIALS | SIM_GRANT_CODE;
    bad[18].users = users;
    bad[19] = bad[18];
    bad[19].users = prefix; /* a number range is no right that one can see through */
    known_open(&k);
    for (size_t i = 0; i < count; i++) {
        status = (rpc_status){0};
        if (add(&k, &bad[i], &status) != RPC_INVALID_ARGUMENT || !status.message[0])
            fail_msg("bad[%zu] was taken", i);
    }
    sim_client good = web();
    good.auth = SIM_AUTH_PRIVATE_KEY_JWT;
    good.jwks = JWKS;
    good.token_alg = TRUST_ALG_RS256;
    good.grants |= SIM_GRANT_CLIENT_CREDENTIALS;
    good.users = good_users;
    OK(add(&k, &good, &status));
    known_close(&k);
}

TEST(lists_of_a_client_have_bounds)
{
    known k;
    rpc_status status = {0};
    const char *many[SIM_RIGHTS_MAX + 2];
    char text[SIM_REDIRECT_MAX + 32];
    known_open(&k);
    for (size_t i = 0; i <= SIM_REDIRECTS_MAX; i++)
        many[i] = "https://app.example/cb";
    many[SIM_REDIRECTS_MAX + 1] = NULL;
    sim_client client = web();
    client.redirect_uris = many;
    REFUSED(add(&k, &client, &status), RPC_INVALID_ARGUMENT);
    client = web();
    for (size_t i = 0; i <= SIM_SCOPES_MAX; i++)
        many[i] = "s";
    many[SIM_SCOPES_MAX + 1] = NULL;
    client.scopes = many;
    REFUSED(add(&k, &client, &status), RPC_INVALID_ARGUMENT);
    client = (sim_client){
        .client_id = "val", .auth = SIM_AUTH_SECRET_BASIC, .grants = SIM_GRANT_CLIENT_CREDENTIALS};
    for (size_t i = 0; i <= SIM_RIGHTS_MAX; i++)
        many[i] = ALICE;
    many[SIM_RIGHTS_MAX + 1] = NULL;
    client.users = many;
    REFUSED(add(&k, &client, &status), RPC_INVALID_ARGUMENT);
    client = web();
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "https://app.example/", 20);
    text[sizeof text - 1] = '\0';
    const char *const longest[] = {text, NULL};
    client.redirect_uris = longest;
    REFUSED(add(&k, &client, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

TEST(secret_is_told_once_and_checked)
{
    known k;
    rpc_status status = {0};
    char *secret = NULL;
    known_open(&k);
    const sim_client client = {
        .client_id = "val", .auth = SIM_AUTH_SECRET_BASIC, .grants = SIM_GRANT_CLIENT_CREDENTIALS};
    OK(sim_client_add(k.state, &client, &secret, &status));
    assert_int_equal(strlen(secret), 43);
    OK(sim_client_check_secret(k.state, "val", secret, &status));
    REFUSED(sim_client_check_secret(k.state, "val", "", &status), RPC_UNAUTHENTICATED);
    REFUSED(sim_client_check_secret(k.state, "server", secret, &status), RPC_UNAUTHENTICATED);
    REFUSED(sim_client_check_secret(k.state, "app", secret, &status), RPC_UNAUTHENTICATED);
    REFUSED(sim_client_check_secret(k.state, "nobody", secret, &status), RPC_UNAUTHENTICATED);
    OK(sim_client_set_disabled(k.state, "val", true, &status));
    REFUSED(sim_client_check_secret(k.state, "val", secret, &status), RPC_UNAUTHENTICATED);
    OK(sim_client_set_disabled(k.state, "val", false, &status));
    OK(sim_client_update(k.state, &client, &status));
    OK(sim_client_check_secret(k.state, "val", secret, &status)); /* kept by an update */
    secret[0] = secret[0] == 'A' ? 'B' : 'A';
    REFUSED(sim_client_check_secret(k.state, "val", secret, &status), RPC_UNAUTHENTICATED);
    free(secret);
    sim_client to_basic = web();
    OK(add(&k, &to_basic, &status));
    to_basic.auth = SIM_AUTH_SECRET_BASIC;
    REFUSED(sim_client_update(k.state, &to_basic, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

static bool collect(void *ctx, const sim_client *client)
{
    known_append(ctx, client->client_id);
    return true;
}

TEST(clients_are_listed_in_order_after_an_id)
{
    known k;
    rpc_status status = {0};
    char ids[128] = "";
    known_open(&k);
    OK(sim_clients_list(k.state, NULL, collect, ids, &status));
    assert_string_equal(ids, "app server ");
    ids[0] = '\0';
    OK(sim_clients_list(k.state, "app", collect, ids, &status));
    assert_string_equal(ids, "server ");
    OK(sim_client_delete(k.state, "app", &status));
    ids[0] = '\0';
    OK(sim_clients_list(k.state, NULL, collect, ids, &status));
    assert_string_equal(ids, "server ");
    known_close(&k);
}

/* ---- what ends
 * ---------------------------------------------------------------------------------------- */

typedef rpc_code ender(known *k, rpc_status *reterr);

static rpc_code by_disabling(known *k, rpc_status *reterr)
{
    return sim_client_set_disabled(k->state, "app", true, reterr);
}

static rpc_code by_deleting(known *k, rpc_status *reterr)
{
    return sim_client_delete(k->state, "app", reterr);
}

static void ends_grants(ender *end)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], open_code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[2][32];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    known_code(&k, "bob", open_code);
    OK(known_exchange(&k, code, refresh, jti[0], &status));
    OK(known_refresh(&k, refresh, refresh, jti[1], &status));
    OK(end(&k, &status));
    REFUSED(known_exchange(&k, open_code, code, NULL, &status), RPC_NOT_FOUND);
    REFUSED(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status), RPC_NOT_FOUND);
    for (int i = 0; i < 2; i++)
        assert_true(known_revoked(&k, jti[i], "somebody", NOW_S));
    assert_true(known_revoked(&k, "j", "app", NOW_S)); /* what it got by client_credentials */
    assert_false(known_revoked(&k, "j", "server", NOW_S));
    sim_grant wanted = known_grant(&k, "alice");
    REFUSED(sim_grant_begin(k.state, &wanted, code, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(disabling_a_client_revokes_what_it_got)
{
    ends_grants(by_disabling);
}

TEST(deleting_a_client_revokes_what_it_got)
{
    ends_grants(by_deleting);
}

TEST(grants_of_a_client_stay_void_when_it_is_enabled_again)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    sim_client *client = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    OK(by_disabling(&k, &status));
    OK(sim_client_set_disabled(k.state, "app", false, &status));
    REFUSED(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status), RPC_NOT_FOUND);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    OK(sim_client_find(k.state, "app", &client, &status));
    assert_true(client->tokens_after >= NOW_S);
    sim_client_free(client);
    known_close(&k);
}

TEST(client_s_token_between_two_ends_within_a_second_ends)
{
    known k;
    rpc_status status = {0};
    sim_client *client = NULL;
    known_open(&k);
    for (int i = 0; i < 3; i++) {
        OK(sim_client_find(k.state, "app", &client, &status));
        const int64_t after = client->tokens_after, iat = after >= NOW_S ? after + 1 : NOW_S;
        sim_client_free(client);
        assert_false(known_revoked(&k, "in between", "app", iat));
        OK(by_disabling(&k, &status));
        OK(sim_client_set_disabled(k.state, "app", false, &status));
        assert_true(known_revoked(&k, "in between", "app", iat));
    }
    known_close(&k);
}

TEST(id_of_a_deleted_client_is_never_given_again)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    OK(sim_client_delete(k.state, "app", &status));
    REFUSED(sim_client_delete(k.state, "app", &status), RPC_NOT_FOUND);
    sim_client again = web();
    again.client_id = "app";
    REFUSED(add(&k, &again, &status), RPC_ALREADY_EXISTS);
    known_close(&k);
}

TEST(rights_taken_from_a_client_revoke_its_own_tokens_and_no_grants)
{
    known k;
    rpc_status status = {0};
    static const char *const fewer[] = {ALICE, NULL};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_client *client = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    OK(sim_client_find(k.state, "server", &client, &status));
    sim_client changed = *client;
    changed.name = "Another name";
    OK(sim_client_update(k.state, &changed, &status));
    assert_false(known_revoked(&k, "j", "server", NOW_S)); /* nothing was taken */
    REFUSED(sim_client_unchanged(k.state, client, &status), RPC_ABORTED);
    sim_client_free(client);
    OK(sim_client_find(k.state, "server", &client, &status));
    OK(sim_client_unchanged(k.state, client, &status));
    changed = *client;
    changed.users = fewer;
    OK(sim_client_update(k.state, &changed, &status));
    assert_true(known_revoked(&k, "j", "server", NOW_S));
    REFUSED(sim_client_unchanged(k.state, client, &status), RPC_ABORTED);
    sim_client_free(client);
    OK(known_refresh(&k, refresh, refresh, NULL, &status)); /* app's grants are not concerned */
    known_close(&k);
}

TEST(end_of_a_client_that_a_crash_interrupted_is_finished_at_the_next_start)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, jti, &status));
    known_client_crashes(&k, "app");
    assert_false(known_revoked(&k, jti, "somebody", NOW_S));
    known_reopen(&k);
    assert_true(known_revoked(&k, jti, "somebody", NOW_S));
    uint64_t last = sim_revocations_sequence(k.state);
    known_reopen(&k); /* and only once */
    assert_int_equal(sim_revocations_sequence(k.state), last);
    known_close(&k);
}

typedef struct racer {
    known *k;
    const sim_grant *grant;
    pthread_barrier_t *start;
    rpc_code code;
} racer;

static void *issue(void *arg)
{
    racer *r = arg;
    rpc_status status;
    char refresh[SIM_CODE_MAX];
    const sim_issue wanted = {
        .code = true, .refresh = true, .jti = "raced", .expires_at = NOW_S + 300};
    pthread_barrier_wait(r->start);
    r->code = sim_grant_issue(r->k->state, r->grant, &wanted, refresh, &status);
    return NULL;
}

TEST(no_token_escapes_the_end_of_its_client)
{
    enum { ROUNDS = 20 };
    rpc_status status = {0};
    for (int round = 0; round < ROUNDS; round++) {
        known k;
        char code[SIM_CODE_MAX];
        sim_grant *grant = NULL;
        pthread_barrier_t start;
        pthread_t thread;
        known_open(&k);
        known_code(&k, "alice", code);
        OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
        pthread_barrier_init(&start, NULL, 2);
        racer r = {&k, grant, &start, RPC_OK};
        assert_int_equal(pthread_create(&thread, NULL, issue, &r), 0);
        pthread_barrier_wait(&start);
        OK(by_disabling(&k, &status));
        pthread_join(thread, NULL);
        if (r.code == RPC_OK)
            assert_true(known_revoked(&k, "raced", "somebody", NOW_S));
        else
            assert_int_equal(r.code, RPC_NOT_FOUND);
        pthread_barrier_destroy(&start);
        sim_grant_free(grant);
        known_close(&k);
    }
}
