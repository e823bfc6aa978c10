/* SPDX-License-Identifier: Apache-2.0 */
/* skmsd of a run: its configuration, and what the others need of it before they start. */
#include "cleanup.h"
#include "dev.h"
#include "http.h"
#include "operator.h"
#include "pki.h"
#include "skms/v1/admin.pb-c.h"
#include "trust.h"

#include <sodium.h>
#include <string.h>

#define SECRET_BYTES 32

static dacm_code no_memory(dacm_error *reterr)
{
    return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the keys of the SKM-S");
}

/* protobuf-c's structures do not say that they only read. */
static char *text_of(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

/* ---- configuration -----------------------------------------------------------------------------
 */

/** What is there stays: the store is sealed under it. */
static dacm_code make_secret(const char *path, dacm_error *reterr)
{
    uint8_t secret[SECRET_BYTES];
    char text[2 * SECRET_BYTES + 2];
    if (access(path, F_OK) == 0)
        return DACM_OK;
    rpc_random(secret, sizeof secret);
    sodium_bin2hex(text, sizeof text, secret, sizeof secret);
    text[sizeof text - 2] = '\n';
    const dacm_code code = pki_write_file(path, 0600, text, sizeof text - 1, reterr);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return code;
}

/** A key is published for a second only before it signs, so that rotations can be seen; and the
 *  secret, which is random and lies beside the store, is hashed as fast as may be. */
dacm_code dev__write_skmsd(const dev_run *dev, dacm_error *reterr)
{
    const char *pki = dev->pki;
    RPC_AUTOFREE char *secret = pki_text("%s/skmsd.secret", pki);
    RPC_AUTOFREE char *text = pki_text(
        "# Written by `dacm dev` at each start.\n"
        "issuer: %s\nresource: %s\n"
        "issuers:\n  - issuer: %s\n    jwks_file: \"%s/token.pub.jwks\"\n"
        "listen:\n"
        "  keys:\n    url: %s\n    certificate: \"%s/skmsd.crt\"\n    key: \"%s/skmsd.key\"\n"
        "    client_ca: \"%s/ca.crt\"\n"
        "  https:\n    address: 127.0.0.1\n    port: %u\n    certificate: \"%s/skmsd.crt\"\n"
        "    key: \"%s/skmsd.key\"\n"
        "  admin:\n    url: \"%s\"\n"
        "master:\n  source: file\n  file: \"%s\"\n  memory_bytes: 65536\n  passes: 1\n"
        "keys:\n  published_before_s: 1\n"
        "store:\n  directory: \"%s/skmsd/store\"\n"
        "audit:\n  directory: \"%s/skmsd/audit\"\n",
        dev->skms, dev->skms, dev->issuer, pki, dev->skms_grpc, pki, pki, pki, dev->skms_port, pki,
        pki, dev->skms_admin, secret ? secret : "", dev->folder, dev->folder);
    if (!secret || !text)
        return no_memory(reterr);
    const dacm_code code = make_secret(secret, reterr);
    return code == DACM_OK ? pki_write_file(dev->servers[DEV_SKMSD].config_file, 0600, text,
                                 strlen(text), reterr)
                           : code;
}

char *dev__skms_section(const dev_run *dev, const char *certificate, const char *folder)
{
    return pki_text("skms:\n  target: %s\n  ca: \"%s/ca.crt\"\n  server_name: localhost\n"
                    "  certificate: \"%s/%s.crt\"\n  key: \"%s/%s.key\"\n"
                    "  directory: \"%s/%s/skms\"\n  enrolment_file: \"%s/config/%s.token\"\n",
        dev->skms_grpc, dev->pki, dev->pki, certificate, dev->pki, certificate, dev->folder, folder,
        dev->folder, certificate);
}

/* ---- VAL services and SKM-Cs -------------------------------------------------------------------
 */

/** One whose keys come from here. */
typedef struct skm_client {
    const char *service, *name, *certificate, *folder;
    Skms__V1__Purpose purpose;
} skm_client;

static dacm_code ask(operator_calls *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, dacm_error *reterr)
{
    dacm_error error;
    const dacm_code code = operator_ask(s, method, request, reply, ret, &error);
    return code == DACM_OK ? DACM_OK
                           : pki_fail(reterr, code, "skmsd, %s: %.400s", method, error.message);
}

static dacm_code create_service(operator_calls *s, const skm_client *client, dacm_error *reterr)
{
    Skms__V1__ValService request = SKMS__V1__VAL_SERVICE__INIT, *reply = NULL;
    Skms__V1__Purpose purpose = client->purpose;
    request.val_service = text_of(client->service);
    request.purposes = &purpose;
    request.n_purposes = 1;
    const dacm_code code = ask(
        s, "CreateService", &request.base, &skms__v1__val_service__descriptor, &reply, reterr);
    return code == DACM_ALREADY_EXISTS ? DACM_OK : code;
}

/** Of this run's few services. */
static dacm_code has_enrolled(
    operator_calls *s, const skm_client *client, bool *ret, dacm_error *reterr)
{
    const Skms__V1__ListServicesRequest request = SKMS__V1__LIST_SERVICES_REQUEST__INIT;
    Skms__V1__ListServicesResponse *reply = NULL;
    const dacm_code code = ask(s, "ListServices", &request.base,
        &skms__v1__list_services_response__descriptor, &reply, reterr);
    *ret = false;
    for (size_t i = 0; code == DACM_OK && i < reply->n_services; i++)
        for (size_t k = 0; k < reply->services[i]->n_enrolments; k++)
            *ret = *ret || (strcmp(reply->services[i]->val_service, client->service) == 0 &&
                               strcmp(reply->services[i]->enrolments[k]->certificate_san,
                                   client->name) == 0 &&
                               reply->services[i]->enrolments[k]->enrolled_at > 0);
    return code;
}

/** A token for who has not enrolled, or has lost what it was given. */
static dacm_code create_token(
    const dev_run *dev, operator_calls *s, const skm_client *client, dacm_error *reterr)
{
    Skms__V1__CreateEnrolmentRequest request = SKMS__V1__CREATE_ENROLMENT_REQUEST__INIT;
    Skms__V1__CreateEnrolmentResponse *reply = NULL;
    RPC_AUTOFREE char *kept = pki_text("%s/%s/skms/kept.json", dev->folder, client->folder);
    RPC_AUTOFREE char *path = pki_text("%s/config/%s.token", dev->folder, client->certificate);
    bool enrolled = false;
    dacm_code code = kept && path ? has_enrolled(s, client, &enrolled, reterr) : no_memory(reterr);
    if (code != DACM_OK || (enrolled && access(kept, F_OK) == 0))
        return code;
    request.val_service = text_of(client->service);
    request.certificate_san = text_of(client->name);
    code = ask(s, "CreateEnrolment", &request.base,
        &skms__v1__create_enrolment_response__descriptor, &reply, reterr);
    return code == DACM_OK ? pki_write_file(path, 0600, reply->token, strlen(reply->token), reterr)
                           : code;
}

static dacm_code provide(const dev_run *dev, operator_calls *s, dacm_error *reterr)
{
    const skm_client clients[] = {
        {dev->resource, DEV_DACM_NAME, "dacmd", "data", SKMS__V1__PURPOSE__PURPOSE_MANIFESTS},
    };
    dacm_code code = DACM_OK;
    for (size_t i = 0; code == DACM_OK && i < sizeof clients / sizeof *clients; i++) {
        code = create_service(s, &clients[i], reterr);
        if (code == DACM_OK)
            code = create_token(dev, s, &clients[i], reterr);
    }
    return code;
}

/* ---- what verifiers need -----------------------------------------------------------------------
 */

/** By the operator's socket, which is the other way that a fingerprint has to come. */
static dacm_code pin_root(const dev_run *dev, operator_calls *s, dacm_error *reterr)
{
    const Skms__V1__GetRootRequest request = SKMS__V1__GET_ROOT_REQUEST__INIT;
    Skms__V1__Root *root = NULL;
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    rpc_status status;
    dacm_code code = ask(s, "GetRoot", &request.base, &skms__v1__root__descriptor, &root, reterr);
    if (code != DACM_OK)
        return code;
    if (trust_root_read(rpc_bytes_str(root->jwk), fingerprint, NULL, &status) != RPC_OK)
        return pki_fail(reterr, DACM_INTERNAL, "skmsd's root: %.400s", status.message);
    const dacm_trust trust = {.folder = dev->trust};
    const dacm_trust_pin pin = {
        .root = rpc_bytes_str(root->jwk), .fingerprint = fingerprint, .address = dev->skms_grpc};
    code = dacm_trust_add(&trust, &pin, reterr);
    if (code == DACM_ALREADY_EXISTS) /* it was replaced since: statements lead there */
        code = DACM_OK;
    return code == DACM_OK
               ? pki_write_file(dev->root_file, 0644, root->jwk, strlen(root->jwk), reterr)
               : code;
}

/** For programs that know a JWK set only: as it is now. */
static dacm_code write_public_keys(const dev_run *dev, dacm_error *reterr)
{
    RPC_AUTOFREE char *ca = pki_text("%s/ca.crt", dev->pki);
    http_form query = {0};
    http_reply reply = {.status = 0};
    http_form_add(&query, "val-service-id", dev->resource);
    http_form_add(&query, "purpose", "manifests");
    RPC_AUTOFREE char *url = query.failed || !query.text ? NULL
                                                         : pki_text("%s/.well-known/jwks.json?%s",
                                                               dev->skms_https, query.text);
    const http_peer peer = {.ca_file = ca};
    dacm_code code = ca && url ? http_get(&peer, url, NULL, &reply, reterr) : no_memory(reterr);
    if (code == DACM_OK && reply.status != 200)
        code = pki_fail(reterr, DACM_UNAVAILABLE, "skmsd has no public keys: %.300s", reply.body);
    if (code == DACM_OK)
        code = pki_write_file(dev->keys_file, 0644, reply.body, reply.size, reterr);
    http_form_done(&query);
    http_done(&reply);
    return code;
}

dacm_code dev__get_keys(const dev_run *dev, dacm_error *reterr)
{
    operator_calls s = {.cli = dev->cli, .server = &operator_skms, .admin = dev->skms_admin};
    dacm_code code = provide(dev, &s, reterr);
    if (code == DACM_OK)
        code = pin_root(dev, &s, reterr);
    if (code == DACM_OK)
        code = write_public_keys(dev, reterr);
    operator_done(&s);
    return code;
}
