/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, ours and those of clients.
 *
 * The credentials in use are counted; each connection takes hold of those that are in use when it
 * begins and gives them to its TLS session. A reload touches no connection that stands, but for its
 * client's certificate: with its next request that is judged by the new ones.
 * libmicrohttpd's own credentials have no certificate at all: a connection that could not be given
 * ours fails its handshake. https->lock guards https->credentials. */
#include "http_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_BYTES_MAX (64 << 10)
#define CRL_BYTES_MAX (16 << 20)

/* ---- ours --------------------------------------------------------------------------------------
 */

void https__credentials_unref(https_credentials *held)
{
    if (!held || atomic_fetch_sub(&held->holders, 1) != 1)
        return;
    gnutls_certificate_free_credentials(held->gnutls);
    https__crls_free(held->crls);
    free(held);
}
RPC_DEFINE_FREEP(credentials_unrefp, https_credentials *, https__credentials_unref)

static rpc_code file_error(const char *path, rpc_status *reterr)
{
    rpc_code code = errno == ENOENT                     ? RPC_NOT_FOUND
                    : errno == EACCES || errno == EPERM ? RPC_PERMISSION_DENIED
                                                        : RPC_UNKNOWN;
    return rpc_status_set(reterr, code, "https: '%s' cannot be read: %s", path, strerror(errno));
}

typedef struct pem {
    unsigned char *data;
    size_t size;
} pem;

/* It may hold the key. */
static void pem_wipe(pem *held)
{
    if (held->data)
        explicit_bzero(held->data, held->size);
    free(held->data);
}

static gnutls_datum_t datum_of(const pem *text)
{
    return (gnutls_datum_t){text->data, (unsigned)text->size};
}

/* O_NONBLOCK: a FIFO in the file's place is refused instead of waited for. */
static rpc_code pem_read(const char *path, size_t most, pem *ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return file_error(path, reterr);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size >= most)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: '%s' is no file of less than %zu bytes", path, most);
    const size_t room = (size_t)st.st_size + 1;
    ret->data = malloc(room);
    if (!ret->data)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for certificates");
    ssize_t got;
    while ((got = read(fd, ret->data + ret->size, room - ret->size)) > 0)
        ret->size += (size_t)got;
    return got == 0 ? RPC_OK : file_error(path, reterr);
}

/* GnuTLS itself does not notice a foreign key of the same kind. */
static bool key_is_of_certificate(gnutls_certificate_credentials_t gnutls)
{
    gnutls_x509_crt_t *chain = NULL;
    gnutls_x509_privkey_t key = NULL;
    unsigned count = 0;
    uint8_t of_certificate[32] = {0}, of_key[32] = {1};
    size_t certificate_size = sizeof of_certificate, key_size = sizeof of_key;
    bool read = gnutls_certificate_get_x509_crt(gnutls, 0, &chain, &count) == 0 && count > 0 &&
                gnutls_certificate_get_x509_key(gnutls, 0, &key) == 0 &&
                gnutls_x509_crt_get_key_id(
                    chain[0], GNUTLS_KEYID_USE_SHA256, of_certificate, &certificate_size) == 0 &&
                gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) ==
                    0;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return read && certificate_size == key_size && memcmp(of_certificate, of_key, key_size) == 0;
}

static rpc_code read_crls(
    const https_paths *paths, const pem *authorities, https_crls **ret, rpc_status *reterr)
{
    RPC_CLEANUP(pem_wipe) pem lists = {NULL, 0};
    const rpc_code code = pem_read(paths->client_crl, CRL_BYTES_MAX, &lists, reterr);
    return code == RPC_OK
               ? https__crls_read(paths->client_crl, rpc_bytes_of(lists.data, lists.size),
                     rpc_bytes_of(authorities->data, authorities->size), ret, reterr)
               : code;
}

static rpc_code trust_clients(const https_paths *paths, https_credentials *into, rpc_status *reterr)
{
    RPC_CLEANUP(pem_wipe) pem authorities = {NULL, 0};
    rpc_code code = pem_read(paths->client_ca, PEM_BYTES_MAX, &authorities, reterr);
    if (code != RPC_OK)
        return code;
    const gnutls_datum_t text = datum_of(&authorities);
    int count = gnutls_certificate_set_x509_trust_mem(into->gnutls, &text, GNUTLS_X509_FMT_PEM);
    if (count > 0)
        return paths->client_crl ? read_crls(paths, &authorities, &into->crls, reterr) : RPC_OK;
    return rpc_status_set(reterr,
        count == GNUTLS_E_MEMORY_ERROR ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT,
        "https: client CA file '%.200s' is not taken: %s; it must be PEM with the certificates of "
        "the authorities that clients' certificates are from",
        paths->client_ca, count == 0 ? "no certificate is in it" : gnutls_strerror(count));
}

static rpc_code credentials_fill(
    const https_paths *paths, https_credentials *into, rpc_status *reterr)
{
    RPC_CLEANUP(pem_wipe) pem certificate = {NULL, 0};
    RPC_CLEANUP(pem_wipe) pem key = {NULL, 0};
    rpc_code code = pem_read(paths->certificate, PEM_BYTES_MAX, &certificate, reterr);
    if (code == RPC_OK)
        code = pem_read(paths->key, PEM_BYTES_MAX, &key, reterr);
    if (code != RPC_OK)
        return code;
    const gnutls_datum_t certificate_pem = datum_of(&certificate), key_pem = datum_of(&key);
    int result = gnutls_certificate_set_x509_key_mem(
        into->gnutls, &certificate_pem, &key_pem, GNUTLS_X509_FMT_PEM);
    if (result >= 0 && key_is_of_certificate(into->gnutls))
        return paths->client_ca ? trust_clients(paths, into, reterr) : RPC_OK;
    if (result >= 0)
        result = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
    return rpc_status_set(reterr,
        result == GNUTLS_E_MEMORY_ERROR ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT,
        "https: certificate '%.100s' and key '%.100s' are not taken: %s; both must be PEM, the key "
        "not encrypted and of that certificate",
        paths->certificate, paths->key, gnutls_strerror(result));
}

rpc_code https__credentials_read(
    const https_paths *paths, https_credentials **ret, rpc_status *reterr)
{
    RPC_CLEANUP(credentials_unrefp) https_credentials *made = calloc(1, sizeof *made);
    if (made)
        atomic_init(&made->holders, 1);
    if (!made || gnutls_certificate_allocate_credentials(&made->gnutls) != 0) {
        free(RPC_TAKE(made));
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for certificates");
    }
    rpc_code code = credentials_fill(paths, made, reterr);
    if (code == RPC_OK)
        *ret = RPC_TAKE(made);
    return code;
}

static https_credentials *credentials_ref(host_https *https)
{
    pthread_mutex_lock(&https->lock);
    https_credentials *held = https->credentials;
    if (held)
        atomic_fetch_add(&held->holders, 1);
    pthread_mutex_unlock(&https->lock);
    return held;
}

int https__no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **pcert,
    unsigned *pcert_count, gnutls_privkey_t *key)
{
    (void)session, (void)authorities, (void)count, (void)algorithms, (void)algorithm_count;
    (void)pcert, (void)pcert_count, (void)key;
    return -1;
}

/* ---- clients' ----------------------------------------------------------------------------------
 */

/* Ends the handshake of a client whose certificate is not good; one without any comes here only
 * where none is required. */
static int verify_client(gnutls_session_t session)
{
    unsigned count = 0, wrong = 0;
    if (!gnutls_certificate_get_peers(session, &count) || count == 0)
        return 0;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    int result = gnutls_certificate_verify_peers(session, &purpose, 1, &wrong);
    return result == 0 && wrong == 0 ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

void https__tls_begin(host_https *https, gnutls_session_t session, https_credentials **ret_held)
{
    *ret_held = credentials_ref(https);
    /* On failure the session keeps libmicrohttpd's, which refuse: see https__no_certificate(). */
    if (!*ret_held ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, (*ret_held)->gnutls) != 0 ||
        https->client_auth == HOST_CLIENT_NONE)
        return;
    gnutls_certificate_server_set_request(session,
        https->client_auth == HOST_CLIENT_REQUIRE ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    gnutls_session_set_verify_function(session, verify_client);
}

static void free_names(char **names)
{
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
}

host_certificate *https__certificate_ref(host_certificate *certificate)
{
    if (certificate)
        atomic_fetch_add(&certificate->holders, 1);
    return certificate;
}

void https__certificate_unref(host_certificate *certificate)
{
    if (!certificate || atomic_fetch_sub(&certificate->holders, 1) != 1)
        return;
    free(certificate->subject);
    free_names(certificate->dns);
    free_names(certificate->uris);
    free(certificate);
}
RPC_DEFINE_FREEP(certificate_unrefp, host_certificate *, https__certificate_unref)

static void crt_freep(gnutls_x509_crt_t *crt)
{
    if (*crt)
        gnutls_x509_crt_deinit(*crt);
}

/* The names of one kind; a name with a NUL in it is nobody's. */
static bool take_names(gnutls_x509_crt_t crt, unsigned wanted, char ***ret)
{
    size_t count = 0, room = 0;
    for (unsigned i = 0;; i++) {
        char name[1024];
        size_t size = sizeof name;
        unsigned kind = 0;
        int result = gnutls_x509_crt_get_subject_alt_name2(crt, i, name, &size, &kind, NULL);
        if (result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return true;
        bool usable = result >= 0 && kind == wanted && size < sizeof name && !memchr(name, 0, size);
        if (result < 0 && result != GNUTLS_E_SHORT_MEMORY_BUFFER)
            return true; /* what stands behind cannot be read */
        if (!usable)
            continue;
        if (count + 1 >= room) {
            room = room ? 2 * room : 4;
            char **grown = reallocarray(*ret, room, sizeof *grown);
            if (!grown)
                return false;
            *ret = grown;
        }
        (*ret)[count] = strndup(name, size);
        (*ret)[count + 1] = NULL;
        if (!(*ret)[count++])
            return false;
    }
}

static bool take_subject(gnutls_x509_crt_t crt, char **ret)
{
    gnutls_datum_t text = {NULL, 0};
    if (gnutls_x509_crt_get_dn3(crt, &text, 0) == 0)
        *ret = strndup((const char *)text.data, text.size);
    else
        *ret = strdup(""); /* a subject may be empty */
    gnutls_free(text.data);
    return *ret != NULL;
}

/* The certificate that the client gave; *ret stays NULL where it gave none. False: no memory. */
static bool peer_of(
    gnutls_session_t session, gnutls_x509_crt_t *ret, const gnutls_datum_t **ret_der)
{
    unsigned count = 0;
    *ret_der = gnutls_certificate_get_peers(session, &count);
    if (!*ret_der || count == 0)
        return true;
    return gnutls_x509_crt_init(ret) == 0 &&
           gnutls_x509_crt_import(*ret, *ret_der, GNUTLS_X509_FMT_DER) == 0;
}

static bool read_certificate(
    gnutls_x509_crt_t crt, const gnutls_datum_t *der, host_certificate **ret)
{
    RPC_CLEANUP(certificate_unrefp) host_certificate *made = calloc(1, sizeof *made);
    size_t size = sizeof made->sha256;
    if (!made)
        return false;
    atomic_init(&made->holders, 1);
    if (gnutls_fingerprint(GNUTLS_DIG_SHA256, der, made->sha256, &size) != 0 ||
        !take_subject(crt, &made->subject) || !take_names(crt, GNUTLS_SAN_DNSNAME, &made->dns) ||
        !take_names(crt, GNUTLS_SAN_URI, &made->uris))
        return false;
    /* Its last second counts, as in GnuTLS. */
    made->ends_ms = ((int64_t)gnutls_x509_crt_get_expiration_time(crt) + 1) * 1000;
    *ret = RPC_TAKE(made);
    return true;
}

/* The session has those that are in use now, and *ret_other says whether it had others before.
 * False: no memory. */
static bool renew_credentials(https_connection *connection, bool *ret_other)
{
    https_credentials *now = credentials_ref(connection->https), *before = connection->credentials;
    *ret_other = now && now != before;
    if (!*ret_other ||
        gnutls_credentials_set(connection->tls, GNUTLS_CRD_CERTIFICATE, now->gnutls) != 0) {
        https__credentials_unref(now);
        return !*ret_other;
    }
    connection->credentials = now;
    https__credentials_unref(before);
    return true;
}

/* anew: files were read since the handshake; by these its chain has to hold as well. */
static bool judge(https_connection *connection, bool anew, int64_t now_ms, const char **ret_refusal)
{
    RPC_CLEANUP(crt_freep) gnutls_x509_crt_t crt = NULL;
    const gnutls_datum_t *der = NULL;
    if (!peer_of(connection->tls, &crt, &der))
        return false;
    if (!crt)
        return true;
    if (!connection->certificate && !read_certificate(crt, der, &connection->certificate))
        return false;
    connection->listed_until_ms = INT64_MAX;
    if (anew && verify_client(connection->tls) != 0)
        *ret_refusal = "the client's certificate is of no authority that is trusted here";
    else if (connection->credentials->crls)
        *ret_refusal = https__crls_judge(
            connection->credentials->crls, crt, now_ms, &connection->listed_until_ms);
    return true;
}

bool https__certificate_take(https_connection *connection, const char **ret_refusal)
{
    const int64_t now_ms = rpc_clock_wall_ms(rpc_clock_system());
    bool anew = false;
    *ret_refusal = NULL;
    if (!renew_credentials(connection, &anew))
        return false;
    if ((anew || !connection->certificate_looked_for) &&
        !judge(connection, anew, now_ms, ret_refusal))
        return false;
    connection->certificate_looked_for = true;
    if (!connection->certificate || *ret_refusal)
        return true;
    if (connection->certificate->ends_ms <= now_ms)
        *ret_refusal = "the client's certificate has expired";
    else if (connection->listed_until_ms <= now_ms)
        *ret_refusal = "there is no revocation list of now for the client's certificate";
    return true;
}

const uint8_t *host_certificate_sha256(const host_certificate *certificate)
{
    return certificate->sha256;
}

bool host_certificate_has_dns(const host_certificate *certificate, const char *name)
{
    for (size_t i = 0; certificate->dns && certificate->dns[i]; i++)
        if (strcasecmp(certificate->dns[i], name) == 0)
            return true;
    return false;
}

bool host_certificate_has_uri(const host_certificate *certificate, const char *uri)
{
    for (size_t i = 0; certificate->uris && certificate->uris[i]; i++)
        if (strcmp(certificate->uris[i], uri) == 0)
            return true;
    return false;
}

const char *host_certificate_subject(const host_certificate *certificate)
{
    return certificate->subject;
}
