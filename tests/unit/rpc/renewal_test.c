/* SPDX-License-Identifier: Apache-2.0 */
/* A channel that gets another certificate while it is in use. */
#include "fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rpc_tls_options options_of(const fixture *f, const test_cert *cert)
{
    return (rpc_tls_options){.ca_pem = rpc_bytes_str(f->ca.cert_pem),
        .certificate_pem = rpc_bytes_str(cert->cert_pem),
        .key_pem = rpc_bytes_str(cert->key_pem)};
}

static void assert_seen_as(fixture *f, const char *uri)
{
    rpc_status status = {0};
    f->peer_uri[0] = '\0';
    assert_int_equal(fixture_unary(f, NULL, "x", NULL, &status), RPC_OK);
    assert_string_equal(f->peer_uri, uri);
}

static void chat(client_call *c, unsigned turn)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(c, &item), RPC_SENT_OK);
    flag_wait(&c->messages, turn);
}

TEST(new_calls_come_with_the_new_certificate_and_running_ones_go_on)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    test_cert other = test_cert_issue(&f.ca, "other", "URI:https://other.example", -60, 3600);
    client_call c = {0};
    rpc_status status = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    chat(&c, 1);
    assert_seen_as(&f, "https://sims.example");

    rpc_tls_options tls = options_of(&f, &other);
    assert_int_equal(rpc_channel_set_tls(f.channel, &tls, &status), RPC_OK);
    assert_seen_as(&f, "https://other.example");
    chat(&c, 2);
    assert_seen_as(&f, "https://other.example");
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1); /* the old connection goes with its last call */
    assert_seen_as(&f, "https://other.example");

    test_cert_free(&other);
    fixture_stop(&f);
}

TEST(what_cannot_be_used_changes_nothing)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_seen_as(&f, "https://sims.example");
    rpc_tls_options tls = options_of(&f, &f.client_cert);
    tls.key_pem = rpc_bytes_str(f.server_cert.key_pem);
    assert_int_equal(rpc_channel_set_tls(f.channel, &tls, &status), RPC_INVALID_ARGUMENT);
    tls = (rpc_tls_options){.ca_file = "/nowhere"};
    assert_int_not_equal(rpc_channel_set_tls(f.channel, &tls, &status), RPC_OK);
    assert_seen_as(&f, "https://sims.example");
    fixture_stop(&f);
}

TEST(plain_text_has_no_certificate_to_renew)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    fixture_start(&f);
    rpc_status status = {0};
    rpc_tls_options tls = options_of(&f, &f.client_cert);
    assert_int_equal(rpc_channel_set_tls(f.channel, &tls, &status), RPC_FAILED_PRECONDITION);
    fixture_stop(&f);
}

/* ---- under load ------------------------------------------------------------------------------ */

typedef struct caller {
    pthread_t thread;
    fixture *f;
    atomic_bool *ending;
    unsigned made;
} caller;

static void *call_all_the_time(void *arg)
{
    caller *c = arg;
    while (!atomic_load(c->ending)) {
        rpc_status status = {0};
        if (fixture_unary(c->f, NULL, "x", NULL, &status) != RPC_OK)
            fail_msg("call %u: %s", c->made, status.message);
        c->made++;
    }
    return NULL;
}

TEST(no_call_fails_while_certificates_change)
{
    enum { CALLERS = 4, CHANGES = 50 };
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    test_cert other = test_cert_issue(&f.ca, "other", "URI:https://other.example", -60, 3600);
    atomic_bool ending = false;
    caller callers[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.f = &f, .ending = &ending};
        assert_int_equal(
            pthread_create(&callers[i].thread, NULL, call_all_the_time, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CHANGES; i++) {
        rpc_status status = {0};
        rpc_tls_options tls = options_of(&f, i % 2 ? &f.client_cert : &other);
        assert_int_equal(rpc_channel_set_tls(f.channel, &tls, &status), RPC_OK);
        for (unsigned j = 0; j < 3; j++) /* the change before is not always through */
            assert_int_equal(fixture_unary(&f, NULL, "y", NULL, &status), RPC_OK);
    }
    atomic_store(&ending, true);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(callers[i].thread, NULL);
    assert_seen_as(&f, "https://sims.example");
    test_cert_free(&other);
    fixture_stop(&f);
}
