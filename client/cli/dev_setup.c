/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "dev.h"
#include "glb.h"
#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define PORT_USERS      7443
#define PORT_PEERS      7444
#define PORT_HTTPS      7480
#define PORT_SIMS       7543
#define PORT_SIMS_MTLS  7544
#define PORT_SIMS_OPS   7580
#define PORT_SKMS       7643
#define PORT_SKMS_HTTPS 7680
#define SOCKET_PATH_MAX 100 /* sun_path has 108 */

const dev_user dev_users[DEV_USERS] = {
    {"alice", "msisdn-4915100000001", "alice-in-dev"},
    {"bob", "msisdn-4915100000002", "bob-in-dev"},
    {"mallory", "msisdn-4915100000003", "mallory-in-dev"},
};

static const struct {
    const char *name;
    float colour[3];
} cubes[DEV_ASSETS] = {
    {"red-cube", {0.8f, 0.1f, 0.1f}},
    {"green-cube", {0.1f, 0.7f, 0.2f}},
    {"blue-cube", {0.1f, 0.3f, 0.8f}},
};

static dacm_code no_memory(dacm_error *reterr)
{
    return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to prepare the environment");
}

/* ---- names ------------------------------------------------------------------------------ */

static unsigned port_of(const dev_run *dev, unsigned fallback, unsigned index)
{
    return dev->ports_from ? dev->ports_from + index : fallback;
}

/** The folder goes into YAML and URLs: no character that would need quoting there. */
static dacm_code judge_folder(const char *folder, dacm_error *reterr)
{
    for (const char *at = folder; *at; at++)
        if ((unsigned char)*at < ' ' || *at == '"' || *at == '\\')
            return pki_fail(reterr, DACM_INVALID_ARGUMENT,
                "the folder's name has a quote, backslash or control character; choose another");
    if (strlen(folder) + sizeof "/simsd/admin.sock" > SOCKET_PATH_MAX)
        return pki_fail(reterr, DACM_INVALID_ARGUMENT,
            "the folder's name is too long for a socket in it; choose one of at most %zu bytes",
            SOCKET_PATH_MAX - sizeof "/simsd/admin.sock");
    return DACM_OK;
}

static dacm_code set_names(dev_run *dev, dacm_error *reterr)
{
    const char *folder = dev->folder;
    dev->https_port = port_of(dev, PORT_HTTPS, 2);
    dev->pki = pki_text("%s/pki", folder);
    dev->data = pki_text("%s/data", folder);
    dev->servers[DEV_SKMSD] = (dev_server){
        .program = "skmsd", .config_file = pki_text("%s/config/skmsd.yaml", folder)};
    dev->servers[DEV_DACMD] = (dev_server){
        .program = "dacmd", .config_file = pki_text("%s/config/dacmd.yaml", folder)};
    dev->servers[DEV_SIMSD] = (dev_server){
        .program = "simsd", .config_file = pki_text("%s/config/simsd.yaml", folder)};
    dev->sims_port = port_of(dev, PORT_SIMS, 3);
    dev->sims_mtls_port = port_of(dev, PORT_SIMS_MTLS, 4);
    dev->sims_ops_port = port_of(dev, PORT_SIMS_OPS, 5);
    dev->issuer = pki_text("https://localhost:%u", dev->sims_port);
    dev->sims_mtls = pki_text("https://localhost:%u", dev->sims_mtls_port);
    dev->sims_ops = pki_text("https://localhost:%u", dev->sims_ops_port);
    dev->sims_admin = pki_text("ipc://%s/simsd/admin.sock", folder);
    dev->skms_port = port_of(dev, PORT_SKMS_HTTPS, 7);
    dev->skms = pki_text("https://skms.localhost/");
    dev->skms_grpc = pki_text("tls+tcp://127.0.0.1:%u", port_of(dev, PORT_SKMS, 6));
    dev->skms_https = pki_text("https://localhost:%u", dev->skms_port);
    dev->skms_admin = pki_text("ipc://%s/skmsd/admin.sock", folder);
    dev->root_file = pki_text("%s/config/skms-root.jwk", folder);
    dev->keys_file = pki_text("%s/config/manifest-keys.jwks", folder);
    dev->trust = pki_text("%s/trust", folder);
    dev->assets_file = pki_text("%s/config/assets.json", folder);
    dev->env_file = pki_text("%s/env.json", folder);
    dev->grpc = pki_text("tls+tcp://127.0.0.1:%u", port_of(dev, PORT_USERS, 0));
    dev->peers = pki_text("tls+tcp://127.0.0.1:%u", port_of(dev, PORT_PEERS, 1));
    dev->https = pki_text("https://127.0.0.1:%u", dev->https_port);
    dev->resource = pki_text("https://dacm.localhost/");
    dev->admin = pki_text("ipc://%s/data/admin.sock", folder);
    for (size_t i = 0; i < DEV_ASSETS; i++)
        dev->assets[i].file = pki_text("%s/config/%s.glb", folder, cubes[i].name);
    const bool good = dev->pki && dev->data && dev->servers[DEV_SKMSD].config_file && dev->skms &&
                      dev->skms_grpc && dev->skms_https && dev->skms_admin && dev->root_file &&
                      dev->keys_file && dev->trust && dev->servers[DEV_DACMD].config_file &&
                      dev->servers[DEV_SIMSD].config_file && dev->issuer && dev->sims_mtls &&
                      dev->sims_ops && dev->sims_admin && dev->assets_file && dev->env_file &&
                      dev->grpc && dev->peers && dev->https && dev->resource && dev->admin &&
                      dev->assets[0].file && dev->assets[1].file && dev->assets[2].file;
    return good ? DACM_OK : no_memory(reterr);
}

/** A folder serves one run at a time: the second would take env.json from under the first. */
static dacm_code lock_folder(dev_run *dev, dacm_error *reterr)
{
    RPC_AUTOFREE char *path = pki_text("%s/dev.lock", dev->folder);
    if (!path)
        return no_memory(reterr);
    dev->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dev->lock >= 0 && flock(dev->lock, LOCK_EX | LOCK_NB) == 0)
        return DACM_OK;
    if (dev->lock >= 0 && errno == EWOULDBLOCK)
        return pki_fail(reterr, DACM_FAILED_PRECONDITION,
            "another `dacm dev` runs in '%.200s': use it (--env %.200s), stop it, or name another "
            "folder with --dir",
            dev->folder, dev->folder);
    return pki_fail(reterr, DACM_LOCAL_FILE, "cannot lock '%.300s': %s", path, strerror(errno));
}

static dacm_code make_folders(dev_run *dev, dacm_error *reterr)
{
    static const char *const names[] = {"/pki", "/config", "/data", "/data/audit", "/data/store",
        "/data/skms", "/simsd", "/simsd/audit", "/simsd/store", "/skmsd", "/skmsd/audit",
        "/skmsd/store"};
    dacm_code code = pki_make_folder(dev->folder, reterr);
    for (size_t i = 0; code == DACM_OK && i < sizeof names / sizeof *names; i++) {
        RPC_AUTOFREE char *path = pki_text("%s%s", dev->folder, names[i]);
        code = path ? pki_make_folder(path, reterr) : no_memory(reterr);
    }
    return code;
}

/* ---- keys and certificates ------------------------------------------------------------------ */

static dacm_code make_certificates(const dev_run *dev, dacm_error *reterr)
{
    static const char *const server_dns[] = {"localhost", DEV_DACM_NAME, NULL};
    static const char *const server_ips[] = {"127.0.0.1", "::1", NULL};
    static const char *const sims[] = {DEV_SIMS_NAME, NULL};
    static const char *const val[] = {DEV_VAL_NAME, NULL};
    static const char *const admin[] = {DEV_ADMIN_NAME, NULL};
    static const char *const local[] = {"localhost", NULL};
    static const struct {
        const char *file;
        pki_names names;
    } leaves[] = {
        {"dacmd", {.common_name = "dacmd", .dns = server_dns, .ips = server_ips}},
        {"simsd", {.common_name = "simsd", .dns = local, .ips = server_ips}},
        {"skmsd", {.common_name = "skmsd", .dns = local, .ips = server_ips}},
        {"sims", {.common_name = DEV_SIMS_NAME, .dns = sims}},
        {"val", {.common_name = DEV_VAL_NAME, .dns = val}},
        {"admin", {.common_name = DEV_ADMIN_NAME, .dns = admin}},
    };
    dacm_code code = pki_make_ca(dev->pki, "dacm dev", reterr);
    for (size_t i = 0; code == DACM_OK && i < sizeof leaves / sizeof *leaves; i++)
        code = pki_issue(dev->pki, leaves[i].file, &leaves[i].names, reterr);
    if (code == DACM_OK)
        code = pki_make_keys(dev->pki, "token", PKI_KEY_TOKEN, reterr);
    if (code == DACM_OK)
        code = pki_make_keys(dev->pki, "val-key", PKI_KEY_CLIENT, reterr);
    return code;
}

static dacm_code write_dacmd(const dev_run *dev, dacm_error *reterr)
{
    const char *pki = dev->pki;
    RPC_AUTOFREE char *skms = dev__skms_section(dev, "dacmd", "data");
    RPC_AUTOFREE char *text =
        !skms ? NULL
              : pki_text("# Written by `dacm dev` at each start.\n"
                         "resource: %s\n"
                         "listen:\n"
                         "  users:\n    url: %s\n    certificate: \"%s/dacmd.crt\"\n    key: "
                         "\"%s/dacmd.key\"\n"
                         "    client_ca: \"%s/ca.crt\"\n"
                         "  peers:\n    url: %s\n    certificate: \"%s/dacmd.crt\"\n    key: "
                         "\"%s/dacmd.key\"\n"
                         "    client_ca: \"%s/ca.crt\"\n"
                         "  admin:\n    url: \"%s\"\n    sans: [%s]\n"
                         "  https:\n    address: 127.0.0.1\n    port: %u\n    certificate: "
                         "\"%s/dacmd.crt\"\n"
                         "    key: \"%s/dacmd.key\"\n"
                         "issuers:\n  - issuer: %s\n    jwks_file: \"%s/token.pub.jwks\"\n    "
                         "may_delegate: true\n"
                         "    revocations: report\n"
                         "peers:\n  sims:\n    - san: %s\n      issuer: %s\n      full_list: true\n"
                         "signing:\n  source: skms\n%s"
                         "store:\n  directory: \"%s/store\"\n"
                         "audit:\n  directory: \"%s/audit\"\n",
                    dev->resource, dev->grpc, pki, pki, pki, dev->peers, pki, pki, pki, dev->admin,
                    DEV_ADMIN_NAME, dev->https_port, pki, pki, dev->issuer, pki, DEV_SIMS_NAME,
                    dev->issuer, skms, dev->data, dev->data);
    if (!text)
        return no_memory(reterr);
    return pki_write_file(dev->servers[DEV_DACMD].config_file, 0600, text, strlen(text), reterr);
}

static dacm_code write_simsd(const dev_run *dev, dacm_error *reterr)
{
    const char *pki = dev->pki;
    RPC_AUTOFREE char *text = pki_text(
        "# Written by `dacm dev` at each start.\n"
        "issuer: %s\n"
        "listen:\n"
        "  https:\n    address: 127.0.0.1\n    port: %u\n    certificate: \"%s/simsd.crt\"\n"
        "    key: \"%s/simsd.key\"\n"
        "  mtls:\n    address: 127.0.0.1\n    port: %u\n    client_ca: \"%s/ca.crt\"\n"
        "  ops:\n    address: 127.0.0.1\n    port: %u\n    certificate: \"%s/simsd.crt\"\n"
        "    key: \"%s/simsd.key\"\n"
        "  admin:\n    url: \"%s\"\n"
        "dacms:\n  - resource: %s\n    target: %s\n    ca: \"%s/ca.crt\"\n"
        "    certificate: \"%s/sims.crt\"\n    key: \"%s/sims.key\"\n    disclose: full\n"
        "skms:\n  resources: [%s]\n"
        "keys:\n  source: file\n  file: \"%s/token.jwks\"\n"
        "store:\n  directory: \"%s/simsd/store\"\n"
        "audit:\n  directory: \"%s/simsd/audit\"\n",
        dev->issuer, dev->sims_port, pki, pki, dev->sims_mtls_port, pki, dev->sims_ops_port, pki,
        pki, dev->sims_admin, dev->resource, dev->peers, pki, pki, pki, dev->skms, pki, dev->folder,
        dev->folder);
    if (!text)
        return no_memory(reterr);
    return pki_write_file(dev->servers[DEV_SIMSD].config_file, 0600, text, strlen(text), reterr);
}

dacm_code dev__prepare(dev_run *dev, dacm_error *reterr)
{
    dacm_code code = pki_make_folder(dev->folder, reterr);
    if (code != DACM_OK)
        return code;
    dev->folder_made = realpath(dev->folder, NULL);
    if (!dev->folder_made)
        return pki_fail(reterr, DACM_LOCAL_FILE, "cannot use the folder '%.300s'", dev->folder);
    dev->folder = dev->folder_made;
    code = judge_folder(dev->folder, reterr);
    if (code == DACM_OK)
        code = lock_folder(dev, reterr);
    if (code == DACM_OK)
        code = set_names(dev, reterr);
    if (code == DACM_OK)
        code = make_folders(dev, reterr);
    if (code != DACM_OK)
        return code;
    unlink(dev->env_file); /* of a run that was killed */
    code = make_certificates(dev, reterr);
    if (code == DACM_OK)
        code = dev__write_skmsd(dev, reterr);
    if (code == DACM_OK)
        code = write_dacmd(dev, reterr);
    if (code == DACM_OK)
        code = write_simsd(dev, reterr);
    if (code != DACM_OK)
        return code;
    dev->cli->env_file = dev->env_file;
    dev->cli->prepares = true;
    dev->cli->warned = true; /* that it is for development goes without saying here */
    return dev__write_env(dev, false, reterr);
}

/* ---- assets
 * --------------------------------------------------------------------------------------- */

static void load_known(dev_run *dev)
{
    json_t *known = json_load_file(dev->assets_file, JSON_REJECT_DUPLICATES, NULL);
    for (size_t i = 0; i < DEV_ASSETS; i++) {
        const char *id = json_string_value(json_array_get(known, i));
        if (id && strlen(id) <= DACM_ASSET_ID_BYTES_MAX)
            rpc_text_copy(dev->assets[i].id, sizeof dev->assets[i].id, id);
    }
    json_decref(known);
}

static dacm_code save_known(const dev_run *dev, dacm_error *reterr)
{
    json_t *known = json_array();
    for (size_t i = 0; i < DEV_ASSETS; i++)
        json_array_append_new(known, json_string(dev->assets[i].id));
    RPC_AUTOFREE char *text = json_dumps(known, JSON_INDENT(2));
    json_decref(known);
    return text ? pki_write_file(dev->assets_file, 0600, text, strlen(text), reterr)
                : no_memory(reterr);
}

static bool still_there(dacm_client *client, const char *id)
{
    dacm_authorization answer = {.allowed = false};
    return id[0] &&
           dacm_authorize(client, id, dev_users[1].gpsi, DACM_OPERATION_GET, &answer, NULL) ==
               DACM_OK &&
           answer.allowed;
}

static dacm_code store_cube(dev_run *dev, dacm_client *client, size_t index, dacm_error *reterr)
{
    RPC_AUTOFREE uint8_t *content = NULL;
    size_t size = 0;
    if (!glb_cube(cubes[index].name, cubes[index].colour, &content, &size))
        return no_memory(reterr);
    dacm_code code = pki_write_file(dev->assets[index].file, 0600, content, size, reterr);
    if (code != DACM_OK)
        return code;
    const dacm_acl_entry allow = {.user = dev_users[1].gpsi};
    const dacm_upload_options options = {
        .user = dev_users[0].gpsi,
        .content = rpc_bytes_of(content, size),
        .media_type = "model/gltf-binary",
        .allow = &allow,
        .allow_count = 1,
    };
    dacm_upload_result result;
    code = dacm_upload(client, &options, &result, reterr);
    if (code == DACM_OK)
        rpc_text_copy(dev->assets[index].id, sizeof dev->assets[index].id, result.asset_id);
    return code;
}

dacm_code dev__store_assets(dev_run *dev, dacm_client *client, dacm_error *reterr)
{
    load_known(dev);
    dacm_code code = DACM_OK;
    for (size_t i = 0; code == DACM_OK && i < DEV_ASSETS; i++)
        if (!still_there(client, dev->assets[i].id))
            code = store_cube(dev, client, i, reterr);
    return code == DACM_OK ? save_known(dev, reterr) : code;
}

void dev__done(dev_run *dev)
{
    char *const owned[] = {dev->folder_made, dev->pki, dev->data,
        dev->servers[DEV_SKMSD].config_file, dev->skms, dev->skms_grpc, dev->skms_https,
        dev->skms_admin, dev->root_file, dev->keys_file, dev->trust,
        dev->servers[DEV_DACMD].config_file, dev->servers[DEV_SIMSD].config_file, dev->issuer,
        dev->sims_mtls, dev->sims_ops, dev->sims_admin, dev->env_file, dev->assets_file, dev->grpc,
        dev->peers, dev->https, dev->resource, dev->admin, dev->assets[0].file, dev->assets[1].file,
        dev->assets[2].file};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    if (dev->lock >= 0)
        close(dev->lock);
    dev->cli->env_file = NULL;
}
