/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "dev.h"
#include "pki.h"

#include <string.h>

/** A file below pki/, as a new string value. */
static json_t *pki_path(const dev_run *dev, const char *name)
{
    RPC_AUTOFREE char *path = pki_text("%s/%s", dev->pki, name);
    return path ? json_string(path) : NULL;
}

static json_t *users_json(void)
{
    json_t *users = json_array();
    for (size_t i = 0; i < DEV_USERS; i++)
        json_array_append_new(
            users, json_pack("{s:s, s:s, s:s}", "username", dev_users[i].name, "password",
                       dev_users[i].password, "gpsi", dev_users[i].gpsi));
    return users;
}

static json_t *clients_json(const dev_run *dev)
{
    return json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:o, s:o}, {s:s, s:s, s:o}]", "client_id",
        DEV_CLIENT, "auth", "none", "redirect_uri", DEV_REDIRECT, "client_id", DEV_VAL_NAME, "auth",
        "tls_client_auth", "key_file", pki_path(dev, "val.key"), "cert_file",
        pki_path(dev, "val.crt"), "client_id", DEV_VAL_KEY, "auth", "private_key_jwt", "key_file",
        pki_path(dev, "val-key.jwks"));
}

static json_t *assets_json(const dev_run *dev)
{
    json_t *assets = json_array();
    for (size_t i = 0; i < DEV_ASSETS; i++)
        if (dev->assets[i].id[0])
            json_array_append_new(
                assets, json_pack("{s:s, s:s, s:[s, s]}", "asset_id", dev->assets[i].id, "file",
                            dev->assets[i].file, "allowed", dev_users[0].gpsi, dev_users[1].gpsi));
    return assets;
}

static json_t *env_json(const dev_run *dev)
{
    json_t *dacm = json_pack("{s:s, s:s, s:s, s:s, s:s}", "grpc", dev->grpc, "peers", dev->peers,
        "https", dev->https, "resource", dev->resource, "admin", dev->admin);
    json_t *sims = json_pack("{s:s, s:s, s:s, s:s}", "issuer", dev->issuer, "mtls", dev->sims_mtls,
        "ops", dev->sims_ops, "admin", dev->sims_admin);
    json_t *skms = json_pack("{s:s, s:s, s:s, s:s, s:s}", "grpc", dev->skms_grpc, "https",
        dev->skms_https, "resource", dev->skms, "admin", dev->skms_admin, "root_file",
        dev->root_file);
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:{s:o, s:o}, s:o, s:o, s:s, s:s}",
        "ca_file", pki_path(dev, "ca.crt"), "dacm", dacm, "sims", sims, "skms", skms, "issuer",
        dev->issuer, "users", users_json(), "clients", clients_json(dev), "sims_client", "key_file",
        pki_path(dev, "sims.key"), "cert_file", pki_path(dev, "sims.crt"), "assets",
        assets_json(dev), "token_key_file", pki_path(dev, "token.jwks"), "keys_file",
        dev->keys_file, "trust_dir", dev->trust);
}

dacm_code dev__write_env(dev_run *dev, bool file, dacm_error *reterr)
{
    json_t *json = env_json(dev);
    RPC_AUTOFREE char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (!text) {
        json_decref(json);
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to prepare the environment");
    }
    json_decref(dev->cli->env.json);
    cli_set_env(&dev->cli->env, json);
    return file ? pki_write_file(dev->env_file, 0600, text, strlen(text), reterr) : DACM_OK;
}

void dev__print_next(const dev_run *dev)
{
    if (dev->cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "env_file", dev->env_file, "grpc",
            dev->grpc, "https", dev->https, "issuer", dev->issuer, "skms", dev->skms_grpc));
        return;
    }
    printf("dacmd, simsd and skmsd are ready: %s, %s, %s\n\nIn a second terminal:\n\n"
           "    export DACM_ENV=%s\n"
           "    dacm login                    # in your browser: %s, password %s\n"
           "    dacm put FILE --allow %s\n"
           "    dacm ls\n"
           "    dacm get %s -o cube.glb && dacm verify cube.glb\n"
           "    dacm get %s --as %s          # on no list: refused\n\n"
           "--as with a GPSI goes without a login here: the development key makes the token.\n"
           "Ctrl-C stops it.\n",
        dev->grpc, dev->issuer, dev->skms_grpc, dev->env_file, dev_users[0].name,
        dev_users[0].password, dev_users[1].gpsi, dev->assets[0].id, dev->assets[0].id,
        dev_users[DEV_USERS - 1].gpsi);
    fflush(stdout);
}
