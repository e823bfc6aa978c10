/* SPDX-License-Identifier: Apache-2.0 */
/* Seals: a trail that somebody made anew from some record on, with a chain that holds, is found by
 * who has the public key; so is one whose end was cut off up to before the newest seal. */
#include "test.h"

#include "audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static trust_signer *new_signer(trust_keyring **ret_ring)
{
    trust_signer *signer = NULL;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_AUDIT, &signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(signer);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_AUDIT, 1, ret_ring, &status), RPC_OK);
    free(jwks);
    return signer;
}

/* Writes count records; the close seals. */
static void write_trail(const char *folder, trust_signer *signer, unsigned count)
{
    const trust_audit_options options = {.directory = folder,
        .signer = signer,
        .seal_interval_ms = 3600000,
        .segment_bytes_max = TRUST_AUDIT_SEGMENT_BYTES_MIN};
    trust_audit *audit = NULL;
    rpc_status status = {0};
    if (trust_audit_open(&options, &audit, &status) != RPC_OK)
        fail_msg("%s", status.message);
    for (unsigned i = 0; i < count; i++) {
        char json[64];
        bool pending = false;
        snprintf(json, sizeof json, "{\"time_ms\": %u, \"n\": %u}", i, i);
        assert_int_equal(trust_audit_write(audit, rpc_bytes_str(json), TRUST_AUDIT_BEFORE, NULL,
                             NULL, &pending, &status),
            RPC_OK);
    }
    trust_audit_close(audit);
}

static rpc_code verify(
    const char *folder, const trust_keyring *ring, trust_audit_sealed *ret, rpc_status *reterr)
{
    uint64_t first = 0, records = 0;
    char head[65];
    return trust_audit_verify_sealed(folder, ring, &first, &records, head, ret, reterr);
}

static void path_of(const char *folder, const char *name, char ret[512])
{
    if (snprintf(ret, 512, "%s/%s", folder, name) >= 512)
        fail_msg("a path is too long");
}

static void assert_found(const char *folder, const trust_keyring *ring, const char *why)
{
    trust_audit_sealed sealed;
    rpc_status status = {0};
    assert_int_equal(verify(folder, ring, &sealed, &status), RPC_DATA_LOSS);
    if (!strstr(status.message, why))
        fail_msg("'%s', not '%s'", status.message, why);
}

TEST(each_close_seals_and_the_seals_hold_over_segments)
{
    char folder[512];
    trust_keyring *ring = NULL, *others = NULL;
    trust_audit_sealed sealed;
    rpc_status status = {0};
    path_of(test_tmpdir(), "trail", folder);
    write_trail(folder, new_signer(&ring), 300); /* some segments of 8 KiB */
    if (verify(folder, ring, &sealed, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(sealed.count, 1);
    assert_int_equal(sealed.record, 300);
    write_trail(folder, NULL, 10); /* without a key nothing is sealed, and what was holds */
    assert_int_equal(verify(folder, ring, &sealed, &status), RPC_OK);
    assert_int_equal(sealed.record, 300);
    assert_int_equal(verify(folder, NULL, &sealed, &status), RPC_OK);
    assert_int_equal(sealed.count, 0);
    trust_signer_free(new_signer(&others));
    assert_found(folder, others, "line 1");
    trust_keyring_unref(ring);
    trust_keyring_unref(others);
}

TEST(trail_that_was_made_anew_is_found_though_its_chain_holds)
{
    char folder[512], other[512], from[600], to[600];
    trust_keyring *ring = NULL;
    trust_audit_sealed sealed;
    rpc_status status = {0};
    path_of(test_tmpdir(), "trail", folder);
    path_of(test_tmpdir(), "other", other);
    write_trail(folder, new_signer(&ring), 20);
    write_trail(other, NULL, 30); /* its own chain holds */
    assert_int_equal(verify(other, NULL, &sealed, &status), RPC_OK);
    assert_found(other, ring, "there is no 'audit.seals'");
    path_of(folder, "audit.seals", from);
    path_of(other, "audit.seals", to);
    assert_int_equal(rename(from, to), 0);
    assert_found(other, ring, "another one");
    trust_keyring_unref(ring);
}

TEST(trail_that_lost_its_end_is_found)
{
    char folder[512], name[600];
    trust_keyring *ring = NULL;
    struct stat about;
    path_of(test_tmpdir(), "trail", folder);
    write_trail(folder, new_signer(&ring), 20);
    path_of(folder, "audit-00000000000000000001.log", name);
    assert_int_equal(stat(name, &about), 0);
    char *text = calloc(1, (size_t)about.st_size + 1);
    const int fd = open(name, O_RDWR);
    assert_int_equal(read(fd, text, (size_t)about.st_size), about.st_size);
    text[about.st_size - 1] = '\0';
    assert_int_equal(ftruncate(fd, strrchr(text, '\n') + 1 - text), 0); /* the last line */
    close(fd);
    free(text);
    assert_found(folder, ring, "missing");
    trust_keyring_unref(ring);
}

TEST(seal_that_was_torn_is_cut_off_and_made_again)
{
    char folder[512], name[600], seed[32] = "a key that is there twice, today";
    trust_keyring *ring = NULL;
    trust_signer *signer = NULL;
    trust_audit_sealed sealed;
    rpc_status status = {0};
    path_of(test_tmpdir(), "trail", folder);
    path_of(folder, "audit.seals", name);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            trust_signer_from_seed((const uint8_t *)seed, TRUST_FOR_AUDIT, &signer, &status),
            RPC_OK);
        if (!ring) {
            char *jwks = trust_signer_public_jwks(signer);
            assert_int_equal(
                trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_AUDIT, 1, &ring, &status),
                RPC_OK);
            free(jwks);
        }
        write_trail(folder, signer, 5);
        if (verify(folder, ring, &sealed, &status) != RPC_OK)
            fail_msg("%s", status.message);
        assert_int_equal(sealed.count, i + 1);
        FILE *file = fopen(name, "ae");
        fputs("eyJ0b3Ju", file);
        fclose(file);
        assert_int_equal(verify(folder, ring, &sealed, &status), RPC_OK);
    }
    trust_keyring_unref(ring);
}
