/* SPDX-License-Identifier: Apache-2.0 */
/* Users and clients of the SIM-S, by its operator's service. */
#include "cleanup.h"
#include "dev.h"
#include "pki.h"
#include "sim/v1/admin.pb-c.h"
#include "sims.h"

#include <string.h>

#define JWKS_BYTES (64u << 10)

/* protobuf-c's structures do not say that they only read. */
static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

/* What is there already stays as it is. */
static dacm_code create(operator_calls *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, dacm_error *reterr)
{
    const ProtobufCMessage *answer = NULL;
    dacm_error error;
    const dacm_code code = operator_ask(s, method, request, reply, &answer, &error);
    if (code == DACM_OK || code == DACM_ALREADY_EXISTS)
        return DACM_OK;
    return pki_fail(reterr, code, "simsd, %s: %.400s", method, error.message);
}

static dacm_code create_users(operator_calls *s, dacm_error *reterr)
{
    dacm_code code = DACM_OK;
    for (size_t i = 0; code == DACM_OK && i < DEV_USERS; i++) {
        Sim__V1__CreateUserRequest request = SIM__V1__CREATE_USER_REQUEST__INIT;
        char *gpsis[] = {text(dev_users[i].gpsi)};
        request.username = text(dev_users[i].name);
        request.password = text(dev_users[i].password);
        request.gpsis = gpsis;
        request.n_gpsis = 1;
        code = create(s, "CreateUser", &request.base, &sim__v1__user__descriptor, reterr);
    }
    return code;
}

static dacm_code create_client(operator_calls *s, Sim__V1__Client *client, dacm_error *reterr)
{
    char *scopes[] = {text("openid"), text("profile"), text("seal.da")};
    Sim__V1__CreateClientRequest request = SIM__V1__CREATE_CLIENT_REQUEST__INIT;
    const bool server = client->n_users > 0;
    client->scopes = server ? &scopes[2] : scopes;
    client->n_scopes = server ? 1 : 3;
    request.client = client;
    return create(
        s, "CreateClient", &request.base, &sim__v1__create_client_response__descriptor, reterr);
}

static dacm_code create_public(operator_calls *s, dacm_error *reterr)
{
    static Sim__V1__GrantType grants[] = {SIM__V1__GRANT_TYPE__GRANT_TYPE_AUTHORIZATION_CODE,
        SIM__V1__GRANT_TYPE__GRANT_TYPE_REFRESH_TOKEN};
    char *redirects[] = {text(DEV_REDIRECT)};
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    client.client_id = text(DEV_CLIENT);
    client.name = text("dacm, the command");
    client.auth = SIM__V1__CLIENT_AUTH__CLIENT_AUTH_NONE;
    client.redirect_uris = redirects;
    client.n_redirect_uris = 1;
    client.grant_types = grants;
    client.n_grant_types = 2;
    return create_client(s, &client, reterr);
}

/* A VAL server that may act for all users here. */
static dacm_code create_server(operator_calls *s, Sim__V1__Client *client, dacm_error *reterr)
{
    static Sim__V1__GrantType grants[] = {SIM__V1__GRANT_TYPE__GRANT_TYPE_CLIENT_CREDENTIALS};
    char *users[DEV_USERS];
    for (size_t i = 0; i < DEV_USERS; i++)
        users[i] = text(dev_users[i].gpsi);
    client->grant_types = grants;
    client->n_grant_types = 1;
    client->users = users;
    client->n_users = DEV_USERS;
    return create_client(s, client, reterr);
}

static dacm_code create_by_certificate(operator_calls *s, dacm_error *reterr)
{
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    client.client_id = text(DEV_VAL_NAME);
    client.name = text("VAL server, by its certificate");
    client.auth = SIM__V1__CLIENT_AUTH__CLIENT_AUTH_TLS_CLIENT_AUTH;
    client.tls_san = text(DEV_VAL_NAME);
    client.bound = true;
    return create_server(s, &client, reterr);
}

static dacm_code create_by_key(const dev_run *dev, operator_calls *s, dacm_error *reterr)
{
    char jwks[JWKS_BYTES];
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    RPC_AUTOFREE char *path = pki_text("%s/val-key.pub.jwks", dev->pki);
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = path ? fopen(path, "re") : NULL;
    const size_t size = file ? fread(jwks, 1, sizeof jwks - 1, file) : 0;
    if (size == 0)
        return pki_fail(reterr, DACM_LOCAL_FILE, "cannot read '%.300s'", path ? path : "");
    jwks[size] = '\0';
    client.client_id = text(DEV_VAL_KEY);
    client.name = text("VAL server, by its key");
    client.auth = SIM__V1__CLIENT_AUTH__CLIENT_AUTH_PRIVATE_KEY_JWT;
    client.jwks = jwks;
    return create_server(s, &client, reterr);
}

dacm_code dev__register(const dev_run *dev, dacm_error *reterr)
{
    operator_calls s = {.cli = dev->cli, .server = &operator_sims, .admin = dev->sims_admin};
    dacm_code code = create_users(&s, reterr);
    if (code == DACM_OK)
        code = create_public(&s, reterr);
    if (code == DACM_OK)
        code = create_by_certificate(&s, reterr);
    if (code == DACM_OK)
        code = create_by_key(dev, &s, reterr);
    operator_done(&s);
    return code;
}
