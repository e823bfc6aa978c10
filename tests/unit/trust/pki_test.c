/* SPDX-License-Identifier: Apache-2.0 */
#include "pki.h"
#include "test.h"

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

static const char *const localhost[] = {"localhost", NULL};

static trust_certificate make_ca(void)
{
    trust_certificate ca = {NULL, NULL};
    rpc_status status;
    assert_int_equal(trust_ca_make("Test CA", 30, &ca, &status), RPC_OK);
    return ca;
}

static trust_certificate issue(
    const trust_certificate *ca, const trust_certificate_names *names, unsigned days)
{
    trust_certificate leaf = {NULL, NULL};
    rpc_status status = {.message = ""};
    const rpc_code code = trust_certificate_issue(
        ca->certificate_pem, ca->key_pem, names, days, &leaf, &status);
    if (code != RPC_OK)
        fail_msg("%s", status.message);
    return leaf;
}

static X509 *parse(const trust_certificate *certificate)
{
    BIO *bio = BIO_new_mem_buf(certificate->certificate_pem, -1);
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(x509);
    BIO_free(bio);
    return x509;
}

/* The error of X509_verify_cert; purpose is one of X509_PURPOSE_*. */
static int verify(
    const trust_certificate *ca, const trust_certificate *leaf, int purpose, const char *host)
{
    X509 *ca_x509 = parse(ca), *leaf_x509 = parse(leaf);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, ca_x509), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf_x509, NULL), 1);
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(parameters, purpose);
    if (host)
        X509_VERIFY_PARAM_set1_host(parameters, host, 0);
    const int good = X509_verify_cert(ctx);
    const int error = X509_STORE_CTX_get_error(ctx);
    assert_true(good == 1 ? error == X509_V_OK : error != X509_V_OK);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(ca_x509);
    X509_free(leaf_x509);
    return error;
}

static void refused_issue(
    const trust_certificate *ca, const trust_certificate_names *names, const char *says)
{
    trust_certificate leaf = {NULL, NULL};
    rpc_status status = {.message = ""};
    assert_int_equal(
        trust_certificate_issue(ca->certificate_pem, ca->key_pem, names, 10, &leaf, &status),
        RPC_INVALID_ARGUMENT);
    assert_null(leaf.certificate_pem);
    assert_null(leaf.key_pem);
    if (!strstr(status.message, says))
        fail_msg("'%s' does not say '%s'", status.message, says);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

TEST(pki_leaf_verifies_strictly_as_server_and_as_client)
{
    trust_certificate ca = make_ca();
    const char *const ips[] = {"127.0.0.1", "::1", NULL};
    const char *const uris[] = {"https://sims.example/a,b?c=%20", "urn:dacm:x", NULL};
    const trust_certificate_names names = {"sims", localhost, ips, uris};
    trust_certificate leaf = issue(&ca, &names, 10);
    assert_int_equal(verify(&ca, &leaf, X509_PURPOSE_SSL_SERVER, "localhost"), X509_V_OK);
    assert_int_equal(verify(&ca, &leaf, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
    assert_int_equal(
        verify(&ca, &leaf, X509_PURPOSE_SSL_SERVER, "example"), X509_V_ERR_HOSTNAME_MISMATCH);
    X509 *x509 = parse(&leaf);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x509, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x509, "127.0.0.2", 0), 0);
    X509_free(x509);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
    assert_null(ca.key_pem);
}

TEST(pki_openssl_program_verifies_a_chain_of_ours)
{
    trust_certificate ca = make_ca();
    const trust_certificate_names names = {"server", localhost, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 10);
    char ca_file[300], leaf_file[300], command[900], line[900] = "";
    const char *folder = test_tmpdir();
    snprintf(ca_file, sizeof ca_file, "%s/ca.crt", folder);
    snprintf(leaf_file, sizeof leaf_file, "%s/leaf.crt", folder);
    write_file(ca_file, ca.certificate_pem);
    write_file(leaf_file, leaf.certificate_pem);
    snprintf(command, sizeof command,
        "openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile %s %s "
        "2>&1",
        ca_file, leaf_file);
    FILE *program = popen(command, "r");
    assert_non_null(program);
    const char *read = fgets(line, sizeof line, program);
    const int ended = pclose(program);
    if (!read || ended != 0 || !strstr(line, ": OK"))
        fail_msg("openssl verify: status %d, '%s'", ended, line);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_authority_may_sign_leaves_but_no_further_authority)
{
    trust_certificate ca = make_ca();
    X509 *x509 = parse(&ca);
    int critical = 0;
    BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(x509, NID_basic_constraints, &critical, NULL);
    assert_non_null(basic);
    assert_int_equal(critical, 1);
    assert_true(basic->ca);
    assert_int_equal(ASN1_INTEGER_get(basic->pathlen), 0);
    BASIC_CONSTRAINTS_free(basic);
    assert_int_equal(X509_get_key_usage(x509), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_non_null(X509_get0_subject_key_id(x509));
    assert_int_equal(X509_verify(x509, X509_get0_pubkey(x509)), 1);
    X509_free(x509);
    trust_certificate_done(&ca);
}

TEST(pki_leaf_is_bound_to_its_authority_and_to_its_uses)
{
    trust_certificate ca = make_ca();
    const trust_certificate_names names = {"server", localhost, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 10), other = issue(&ca, &names, 10);
    X509 *ca_x509 = parse(&ca), *x509 = parse(&leaf), *other_x509 = parse(&other);
    assert_int_equal(X509_get_key_usage(x509), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(x509), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x509), X509_get0_subject_key_id(ca_x509)),
        0);
    assert_int_not_equal(X509_check_ca(x509), 1);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(x509)), 256);
    assert_true(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(x509), X509_get0_serialNumber(other_x509)) != 0);
    assert_in_range(ASN1_STRING_length(X509_get0_serialNumber(x509)), 12, 16);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x509), X509_get0_pubkey(other_x509)), 0);
    X509_free(ca_x509);
    X509_free(x509);
    X509_free(other_x509);
    trust_certificate_done(&other);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_another_authority_of_the_same_name_verifies_nothing_of_ours)
{
    trust_certificate ca = make_ca(), other = make_ca();
    const trust_certificate_names names = {"server", localhost, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 10);
    assert_int_not_equal(verify(&other, &leaf, X509_PURPOSE_SSL_SERVER, NULL), X509_V_OK);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
    trust_certificate_done(&other);
}

TEST(pki_leaf_never_outlives_its_authority)
{
    trust_certificate ca = make_ca();
    const trust_certificate_names names = {"server", localhost, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 3650), brief = issue(&ca, &names, 1);
    X509 *ca_x509 = parse(&ca), *x509 = parse(&leaf), *brief_x509 = parse(&brief);
    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(x509), X509_get0_notAfter(ca_x509)), 0);
    assert_int_equal(
        ASN1_TIME_compare(X509_get0_notAfter(brief_x509), X509_get0_notAfter(ca_x509)), -1);
    assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(x509)), -1);
    X509_free(ca_x509);
    X509_free(x509);
    X509_free(brief_x509);
    trust_certificate_done(&brief);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

/* What a configuration string would make two or three names of. */
TEST(pki_name_with_a_comma_smuggles_no_second_name)
{
    trust_certificate ca = make_ca();
    const char *const dns[] = {"good.example", "a.example,DNS:admin.example", NULL};
    const trust_certificate_names bad = {"x", dns, NULL, NULL};
    refused_issue(&ca, &bad, "DNS name 'a.example,DNS:admin.example'");
    const char *const ips[] = {"127.0.0.1,DNS:admin.example", NULL};
    const trust_certificate_names bad_ip = {"x", NULL, ips, NULL};
    refused_issue(&ca, &bad_ip, "IP address '127.0.0.1,DNS:admin.example'");

    /* In a URI and a common name a comma is a character like others. */
    const char *const uris[] = {"https://a/,DNS:admin.example", NULL};
    const trust_certificate_names names = {"x, CN=admin/CN=admin", NULL, NULL, uris};
    trust_certificate leaf = issue(&ca, &names, 1);
    X509 *x509 = parse(&leaf);
    GENERAL_NAMES *all = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(all), 1);
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, 0);
    assert_int_equal(name->type, GEN_URI);
    assert_int_equal(ASN1_STRING_length(name->d.uniformResourceIdentifier), (int)strlen(uris[0]));
    assert_int_equal(X509_check_host(x509, "admin.example", 0, 0, NULL), 0);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x509)), 1);
    GENERAL_NAMES_free(all);
    X509_free(x509);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_bad_dns_names_are_refused_by_name)
{
    static const char *const bad[] = {"", ".", "a..b", "a.", ".a", "-a.b", "a-.b", "a b", "a_b",
        "a\nb", "*", "*.com", "a.*.com", "*a.example.com", "127.0.0.1", "a.1", "b\xc3\xbc.de",
        "email:copy", "otherName:1.2.3;UTF8:x",
        "0123456789012345678901234567890123456789012345678901234567890123.example"};
    trust_certificate ca = make_ca();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const dns[] = {"localhost", bad[i], NULL};
        const trust_certificate_names names = {"x", dns, NULL, NULL};
        refused_issue(&ca, &names, "pki: the DNS name '");
    }
    char lengthy[400];
    memset(lengthy, 'a', sizeof lengthy);
    for (size_t i = 50; i < sizeof lengthy; i += 50)
        lengthy[i] = '.';
    lengthy[254] = '\0';
    const char *const dns[] = {lengthy, NULL};
    const trust_certificate_names names = {"x", dns, NULL, NULL};
    refused_issue(&ca, &names, "253");
    lengthy[253] = '\0';
    trust_certificate leaf = issue(&ca, &names, 1);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_wildcard_in_front_of_two_labels_is_taken)
{
    trust_certificate ca = make_ca();
    const char *const dns[] = {"*.example.org", NULL};
    const trust_certificate_names names = {"x", dns, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 1);
    assert_int_equal(verify(&ca, &leaf, X509_PURPOSE_SSL_SERVER, "a.example.org"), X509_V_OK);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_bad_addresses_and_uris_are_refused_by_name)
{
    static const char *const ips_bad[] = {"", "localhost", "1.2.3", "1.2.3.4/24", "256.1.1.1",
        "fe80::1%eth0", "::g", " 127.0.0.1", "01.2.3.4"};
    static const char *const uris_bad[] = {"", "localhost", "https:", "://x", "1a:b", "https://a b",
        "https://a\"b", "https://a%2", "https://a%zz", "https://a\n", "https://\xc3\xbc",
        "https://a<b>"};
    trust_certificate ca = make_ca();
    for (size_t i = 0; i < sizeof ips_bad / sizeof *ips_bad; i++) {
        const char *const ips[] = {ips_bad[i], NULL};
        const trust_certificate_names names = {"x", NULL, ips, NULL};
        refused_issue(&ca, &names, "pki: the IP address '");
    }
    for (size_t i = 0; i < sizeof uris_bad / sizeof *uris_bad; i++) {
        const char *const uris[] = {uris_bad[i], NULL};
        const trust_certificate_names names = {"x", NULL, NULL, uris};
        refused_issue(&ca, &names, "pki: the URI '");
    }
    char lengthy[TRUST_CERTIFICATE_URI_BYTES_MAX + 2] = "urn:";
    memset(lengthy + 4, 'a', sizeof lengthy - 5);
    lengthy[sizeof lengthy - 1] = '\0';
    const char *const uris[] = {lengthy, NULL};
    const trust_certificate_names names = {"x", NULL, NULL, uris};
    refused_issue(&ca, &names, "2,048 bytes");
    trust_certificate_done(&ca);
}

TEST(pki_refusal_shows_a_hostile_name_bounded_and_printable)
{
    trust_certificate ca = make_ca();
    const char *const dns[] = {"a\x1b[2J\nb", NULL};
    const trust_certificate_names names = {"x", dns, NULL, NULL};
    refused_issue(&ca, &names, "'a?[2J?b'");
    trust_certificate_done(&ca);
}

TEST(pki_sixty_five_names_of_a_kind_are_refused)
{
    const char *dns[TRUST_CERTIFICATE_NAMES_MAX + 2] = {NULL};
    for (size_t i = 0; i <= TRUST_CERTIFICATE_NAMES_MAX; i++)
        dns[i] = "localhost";
    trust_certificate ca = make_ca();
    const trust_certificate_names names = {"x", dns, NULL, NULL};
    refused_issue(&ca, &names, "more than 64 DNS names");
    dns[TRUST_CERTIFICATE_NAMES_MAX] = NULL;
    trust_certificate leaf = issue(&ca, &names, 1);
    trust_certificate_done(&leaf);
    trust_certificate_done(&ca);
}

TEST(pki_bad_common_names_and_days_are_refused)
{
    static const struct {
        const char *name;
        unsigned days;
    } bad[] = {{NULL, 1}, {"", 1}, {"a\nb", 1}, {"a\x7f", 1}, {"\xff", 1}, {"a\xc2\x85", 1},
        {"01234567890123456789012345678901234567890123456789012345678901234", 1}, {"a", 0},
        {"a", TRUST_CERTIFICATE_DAYS_MAX + 1}, {"a", UINT32_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        trust_certificate ca = {NULL, NULL};
        rpc_status status;
        assert_int_equal(
            trust_ca_make(bad[i].name, bad[i].days, &ca, &status), RPC_INVALID_ARGUMENT);
        assert_null(ca.key_pem);
    }
    trust_certificate ca = {NULL, NULL};
    assert_int_equal(trust_ca_make("J\xc3\xbcrgen's CA", 1, &ca, NULL), RPC_OK);
    trust_certificate_done(&ca);
}

TEST(pki_authority_that_is_none_is_refused)
{
    trust_certificate ca = make_ca(), other = make_ca(), ret = {NULL, NULL};
    const trust_certificate_names names = {"x", localhost, NULL, NULL};
    trust_certificate leaf = issue(&ca, &names, 10);
    rpc_status status;
    const struct {
        const char *certificate, *key, *says;
    } bad[] = {
        {ca.certificate_pem, other.key_pem, "not that of its certificate"},
        {leaf.certificate_pem, leaf.key_pem, "may not sign others"},
        {"", ca.key_pem, "certificate cannot be read"},
        {NULL, ca.key_pem, "certificate cannot be read"},
        {ca.key_pem, ca.key_pem, "certificate cannot be read"},
        {ca.certificate_pem, ca.certificate_pem, "key cannot be read"},
        {ca.certificate_pem, NULL, "key cannot be read"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            trust_certificate_issue(bad[i].certificate, bad[i].key, &names, 10, &ret, &status),
            RPC_INVALID_ARGUMENT);
        if (!strstr(status.message, bad[i].says))
            fail_msg("'%s' does not say '%s'", status.message, bad[i].says);
        assert_null(ret.certificate_pem);
    }
    trust_certificate_done(&leaf);
    trust_certificate_done(&other);
    trust_certificate_done(&ca);
}

TEST(pki_encrypted_key_of_an_authority_is_refused_without_asking_for_a_password)
{
    trust_certificate ca = make_ca(), ret = {NULL, NULL};
    BIO *in = BIO_new_mem_buf(ca.key_pem, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    assert_int_equal(
        PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    char *data = NULL;
    const long size = BIO_get_mem_data(out, &data);
    char *pem = calloc(1, (size_t)size + 1); /* a BIO's bytes have no NUL behind them */
    assert_non_null(pem);
    memcpy(pem, data, (size_t)size);
    const trust_certificate_names names = {"x", localhost, NULL, NULL};
    rpc_status status;
    assert_int_equal(trust_certificate_issue(ca.certificate_pem, pem, &names, 10, &ret, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "not encrypted"));
    free(pem);
    EVP_PKEY_free(key);
    BIO_free(in);
    BIO_free(out);
    trust_certificate_done(&ca);
}
