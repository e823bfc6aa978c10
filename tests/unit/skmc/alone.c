/* SPDX-License-Identifier: Apache-2.0 */
#include "alone.h"

#include "certs.h"

#include <sys/stat.h>

static int64_t monotonic_us(void *ctx)
{
    const alone *a = ctx;
    return a->stopped_us ? a->stopped_us : rpc_clock_monotonic_us(rpc_clock_system());
}

static int64_t wall_ms(void *ctx)
{
    const alone *a = ctx;
    return a->wall_s * 1000;
}

static void changed(void *ctx, const char *val_service)
{
    (void)val_service;
    ((alone *)ctx)->changes++;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static trust_signer *new_signer(trust_purpose purpose)
{
    trust_signer *signer = NULL;
    assert_int_equal(trust_signer_generate(purpose, &signer, NULL), RPC_OK);
    return signer;
}

static void write_root(const alone *a)
{
    char *jwks = trust_signer_public_jwks(a->root);
    char text[1024], *jwk = strchr(strchr(jwks, '['), '{');
    snprintf(text, sizeof text, "{\"dacm_issuer\": \"" ALONE_SKMS "\", %.*s",
        (int)(strrchr(jwks, ']') - jwk - 1), jwk + 1);
    write_file(a->folder, "root.jwk", text);
    free(jwks);
}

static void write_certificates(const alone *a)
{
    test_cert ca = test_ca("skms");
    test_cert own = test_cert_issue(&ca, "dacm", "DNS:dacm.example", -60, 3600);
    write_file(a->folder, "ca.crt", ca.cert_pem);
    write_file(a->folder, "own.crt", own.cert_pem);
    write_file(a->folder, "own.key", own.key_pem);
    test_cert_free(&ca);
    test_cert_free(&own);
}

static void read_settings(alone *a)
{
    static const host_setting table[] = {SKMC_SETTINGS};
    char text[4096];
    rpc_status status;
    snprintf(text, sizeof text,
        "skms:\n  target: tls+tcp://127.0.0.1:%u\n  ca: %s/ca.crt\n  certificate: %s/own.crt\n"
        "  key: %s/own.key\n  directory: %s\n  root_file: %s/root.jwk\n  timeout_ms: 60000\n",
        test_port(), a->folder, a->folder, a->folder, a->kept, a->folder);
    if (host_settings_parse("test.yaml", rpc_bytes_str(text), table, sizeof table / sizeof *table,
            &a->settings, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void make_key(alone_key *key, int64_t index)
{
    *key = (alone_key){.signer = new_signer(TRUST_FOR_MANIFESTS),
        .state = "active",
        .from = ALONE_NOW + 1000 * index,
        .until = ALONE_NOW + 1000 * (index + 1)};
    assert_true(rpc_text_copy(key->kid, sizeof key->kid, trust_signer_kid(key->signer)));
}

void alone_start(alone *a)
{
    *a = (alone){.wall_s = ALONE_NOW, .key_count = 2};
    a->clock = (rpc_clock){monotonic_us, wall_ms, a};
    snprintf(a->folder, sizeof a->folder, "%s", test_tmpdir());
    snprintf(a->kept, sizeof a->kept, "%s/kept", a->folder);
    assert_int_equal(mkdir(a->kept, 0700), 0);
    a->root = new_signer(TRUST_FOR_KEY_SETS);
    for (size_t i = 0; i < sizeof a->keys / sizeof *a->keys; i++)
        make_key(&a->keys[i], (int64_t)i);
    write_root(a);
    write_certificates(a);
    read_settings(a);
    a->metrics = host_metrics_new();
    a->health = host_health_new();
    assert_int_equal(rpc_runtime_new(NULL, &a->runtime, NULL), RPC_OK);
    char path[700];
    snprintf(path, sizeof path, "%s/log", a->folder);
    assert_int_equal(host_log_open(path, HOST_DEBUG, "test", &a->clock, &a->log, NULL), RPC_OK);
    rpc_status status;
    if (alone_open(a, ALONE_SERVICE, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

rpc_code alone_open(alone *a, const char *val_service, rpc_status *reterr)
{
    host_metrics_free(a->metrics); /* gauges are added once */
    a->metrics = host_metrics_new();
    const skmc_options options = {.runtime = a->runtime,
        .settings = host_settings_values(a->settings),
        .clock = &a->clock,
        .log = a->log,
        .metrics = a->metrics,
        .health = a->health,
        .val_service = val_service,
        .purpose = TRUST_FOR_MANIFESTS,
        .changed = changed,
        .ctx = a};
    const rpc_code code = skmc_open(&options, &a->client, reterr);
    if (code == RPC_OK)
        skmc__publish_kept(a->client);
    return code;
}

void alone_close(alone *a)
{
    skmc_close(a->client);
    a->client = NULL;
}

void alone_done(alone *a)
{
    alone_close(a);
    rpc_runtime_free(a->runtime);
    host_log_close(a->log);
    host_metrics_free(a->metrics);
    host_health_free(a->health);
    host_settings_free(a->settings);
    trust_signer_free(a->root);
    free(a->statement);
    for (size_t i = 0; i < sizeof a->keys / sizeof *a->keys; i++)
        trust_signer_free(a->keys[i].signer);
}

char *alone_set(const alone *a, const char *service, uint64_t version)
{
    char jwks[4096] = "{\"keys\":[", x[64];
    for (size_t i = 0; i < a->key_count; i++) {
        const alone_key *key = &a->keys[i];
        sodium_bin2base64(x, sizeof x, trust_signer_ed25519(key->signer), 32,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        snprintf(jwks + strlen(jwks), sizeof jwks - strlen(jwks),
            "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%s\","
            "\"dacm_purpose\":\"manifest\",\"dacm_state\":\"%s\",\"nbf\":%lld,\"exp\":%lld}",
            i ? "," : "", key->kid, x, key->state, (long long)key->from, (long long)key->until);
    }
    snprintf(jwks + strlen(jwks), sizeof jwks - strlen(jwks), "]}");
    trust_keyset set = {.issuer = ALONE_SKMS,
        .purpose = TRUST_FOR_MANIFESTS,
        .version = version,
        .issued_at = a->wall_s,
        .expires_at = a->wall_s + 3600,
        .jwks = jwks};
    snprintf(set.service, sizeof set.service, "%s", service);
    char *jws = NULL;
    rpc_status status;
    if (trust_keyset_sign(a->root, &set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

trust_signer *alone_replace_root(alone *a)
{
    trust_signer *old = a->root;
    rpc_status status;
    a->root = new_signer(TRUST_FOR_KEY_SETS);
    char *jwk = trust_signer_public_jwks(a->root);
    free(a->statement);
    if (trust_root_sign(old, ALONE_SKMS, 1, jwk, a->wall_s, &a->statement, &status) != RPC_OK)
        fail_msg("%s", status.message);
    free(jwk);
    return old;
}

rpc_code alone_say(alone *a, skmc__watch *w, const char *jws, bool *ret_newer, rpc_status *reterr)
{
    Skms__V1__KeySet message = SKMS__V1__KEY_SET__INIT;
    message.jws = (char *)(uintptr_t)jws;
    message.n_root_statements = a->statement != NULL;
    message.root_statements = &a->statement;
    return skmc__pins_take(a->client, w, &message, ret_newer, reterr);
}

void alone_take(alone *a, uint64_t version)
{
    char *jws = alone_set(a, ALONE_SERVICE, version);
    bool newer = false;
    rpc_status status;
    if (alone_say(a, a->client->own, jws, &newer, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_true(newer);
    free(jws);
    skmc__own_publish(a->client);
    skmc__save(a->client);
}

/* seed: 32 bytes. Its size. */
static size_t seal(const alone *a, const uint8_t *seed, uint8_t ret[ALONE_SEALED_MAX])
{
    char d[64], jwk[256];
    sodium_bin2base64(d, sizeof d, seed, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    const int size = snprintf(jwk, sizeof jwk, "{\"kty\":\"OKP\",\"d\":\"%s\"}", d);
    assert_int_equal(crypto_box_seal(ret, (const uint8_t *)jwk, (unsigned long long)size,
                         a->client->sealing.public_key),
        0);
    return (size_t)size + crypto_box_SEALBYTES;
}

rpc_code alone_answer(alone *a, const alone_half *halves, size_t count, rpc_status *reterr)
{
    uint8_t sealed[8][ALONE_SEALED_MAX];
    Skms__V1__SealedKey keys[8], *list[8];
    Skms__V1__GetSigningKeyResponse answer = SKMS__V1__GET_SIGNING_KEY_RESPONSE__INIT;
    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++) {
        keys[i] = (Skms__V1__SealedKey)SKMS__V1__SEALED_KEY__INIT;
        keys[i].kid = (char *)(uintptr_t)halves[i].kid;
        if (halves[i].seed)
            keys[i].sealed_jwk = (ProtobufCBinaryData){
                seal(a, halves[i].seed, sealed[i]), sealed[i]};
        list[i] = &keys[i];
    }
    answer.n_keys = count;
    answer.keys = list;
    return skmc__own_take(a->client, &answer, reterr);
}

void alone_give(alone *a, size_t key, const char *kid)
{
    const alone_half half = {kid, trust_signer_seed(a->keys[key].signer)};
    (void)alone_answer(a, &half, 1, NULL); /* there may be more that are missing */
}

const char *alone_signer(const alone *a, int64_t at)
{
    skmc_keys *keys = skmc_keys_now(a->client);
    const trust_signer *signer = keys ? skmc_keys_signer(keys, TRUST_ALG_EDDSA, at) : NULL;
    const char *kid = NULL;
    for (size_t i = 0; signer && i < a->key_count; i++)
        if (strcmp(a->keys[i].kid, trust_signer_kid(signer)) == 0)
            kid = a->keys[i].kid;
    assert_int_equal(signer != NULL, kid != NULL);
    skmc_keys_unref(keys);
    return kid;
}
