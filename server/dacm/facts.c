/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include <string.h>

#define TRIES_MAX 5u

static void end(dacm_facts_load *load, const rpc_status *status)
{
    load->fn(load->arg, &load->facts, status);
}

static void read_profile(dacm_facts_load *load);

/* The key that it was found by says so, too, and the disk may have changed one of both. */
static bool is_grant_of(const dacm_facts_load *load, const Dacm__Records__Grant *grant)
{
    return strcmp(grant->gpsi, load->gpsi) == 0;
}

static void have_grant(dacm_facts_load *load)
{
    rpc_status status = load->op.status;
    if (status.code == RPC_NOT_FOUND)
        status.code = RPC_OK;
    else if (status.code == RPC_OK) {
        Dacm__Records__Grant *grant = NULL;
        host_record_unpack(&dacm__records__grant__descriptor, load->op.view.bytes, load->arena,
            (ProtobufCMessage **)&grant, &status);
        if (grant && !is_grant_of(load, grant))
            rpc_status_set(&status, RPC_DATA_LOSS,
                "store: a grant is kept under another user's name; run dacmd --store-check");
        load->facts.operations = grant && status.code == RPC_OK ? grant->operations : 0;
    }
    store_view_release(&load->op.view);
    if (status.code != RPC_OK) {
        end(load, &status);
        return;
    }
    if (load->op.generation == load->facts.generation) {
        end(load, &status);
        return;
    }
    if (load->tries++ < TRIES_MAX) {
        read_profile(load);
        return;
    }
    rpc_status_set(&status, RPC_UNAVAILABLE,
        "store: the asset is being changed faster than it can be read; try again");
    end(load, &status);
}

static void on_grant(store_op *op)
{
    have_grant(op->ctx);
}

/* The asset's ID is its uid in hex. What is stored under another uid, which the disk has made of
 * it, would be swept: nothing lists it. */
static bool has_its_uid(const dacm_facts_load *load)
{
    const Dacm__Records__Profile *profile = load->facts.profile;
    char asset_id[2 * STORE_UID_BYTES + 1];
    if (profile->uid.len != STORE_UID_BYTES)
        return false;
    dacm_asset_id_of(profile->uid.data, asset_id);
    const host_key group = dacm_key_asset(asset_id);
    return rpc_bytes_equal(host_key_bytes(&group), host_key_bytes(&load->group));
}

static void have_profile(dacm_facts_load *load)
{
    rpc_status status = load->op.status;
    if (status.code == RPC_NOT_FOUND)
        status.code = RPC_OK;
    else if (status.code == RPC_OK)
        host_record_unpack(&dacm__records__profile__descriptor, load->op.view.bytes, load->arena,
            (ProtobufCMessage **)&load->facts.profile, &status);
    load->facts.generation = load->op.generation;
    store_view_release(&load->op.view);
    if (load->facts.profile && load->facts.profile->deleted) {
        load->facts.profile = NULL;
        load->facts.deleted = true;
    }
    if (load->facts.profile && !has_its_uid(load))
        rpc_status_set(&status, RPC_DATA_LOSS,
            "store: the record of an asset does not have its uid; run dacmd --store-check");
    if (status.code != RPC_OK || !load->gpsi) {
        end(load, &status);
        return;
    }
    load->facts.owner = load->facts.profile &&
                        dacm_profile_owned_by(load->facts.profile, load->gpsi);
    /* Looked up for missing assets and for owners too: the same work whatever the answer. */
    load->op = (store_op){.done = on_grant, .ctx = load, .executor = load->op.executor};
    if (store_get(load->db, host_key_bytes(&load->group), host_key_bytes(&load->grant),
            &load->op) == STORE_READY)
        have_grant(load);
}

static void on_profile(store_op *op)
{
    have_profile(op->ctx);
}

static void read_profile(dacm_facts_load *load)
{
    const store_executor *executor = load->executor.post ? &load->executor : NULL;
    load->facts = (dacm_facts){0};
    load->op = (store_op){.done = on_profile, .ctx = load, .executor = executor};
    if (store_get(load->db, host_key_bytes(&load->group), rpc_bytes_of("", 0), &load->op) ==
        STORE_READY)
        have_profile(load);
}

void dacm_facts_get(dacm_facts_load *load, store *db, const store_executor *executor,
    rpc_arena *arena, const char *asset_id, const char *gpsi, dacm_facts_fn *fn, void *arg)
{
    load->executor = executor ? *executor : (store_executor){0};
    load->db = db;
    load->arena = arena;
    load->group = dacm_key_asset(asset_id);
    load->grant = dacm_key_grant(gpsi ? gpsi : "");
    load->gpsi = gpsi;
    load->tries = 0;
    load->fn = fn;
    load->arg = arg;
    read_profile(load);
}
