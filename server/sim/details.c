/* SPDX-License-Identifier: Apache-2.0 */
#include "details.h"

#include "cleanup.h"

#include <jansson.h>
#include <stdlib.h>

static const char *const action_names[SIM_ACTIONS_MAX] = {
    "create", "discovery", "get", "update", "delete"};
_Static_assert(TRUST_ACTION_CREATE == 1 && TRUST_ACTION_DISCOVERY == 2 && TRUST_ACTION_GET == 4 &&
                   TRUST_ACTION_UPDATE == 8 && TRUST_ACTION_DELETE == 16,
    "action_names is in the order of their bits");

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static unsigned action_bit(const char *name)
{
    for (unsigned i = 0; i < SIM_ACTIONS_MAX; i++)
        if (strcmp(action_names[i], name) == 0)
            return 1u << i;
    return 0;
}

void sim_actions_names(unsigned actions, const char *ret[SIM_ACTIONS_MAX + 1])
{
    size_t count = 0;
    for (unsigned i = 0; i < SIM_ACTIONS_MAX; i++)
        if (actions & 1u << i)
            ret[count++] = action_names[i];
    ret[count] = NULL;
}

unsigned sim_actions_bits(const char *const *names)
{
    unsigned bits = 0;
    for (; names && *names; names++)
        bits |= action_bit(*names);
    return bits;
}

static bool bad(sim_error *reterr, const char *description)
{
    return sim_refuse(reterr, SIM_INVALID_DETAILS, description);
}

static bool known_members(const json_t *detail, bool with_users)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)detail, name, value)
    {
        if (strcmp(name, "type") != 0 && strcmp(name, "identifier") != 0 &&
            strcmp(name, "actions") != 0 && !(with_users && strcmp(name, "users") == 0))
            return false;
    }
    return true;
}

static rpc_bytes text_of(const json_t *json)
{
    return rpc_bytes_of(json_string_value(json), json_string_length(json));
}

static bool take_actions(const json_t *actions, unsigned *ret)
{
    size_t count = json_array_size(actions);
    if (count == 0 || count > SIM_ACTIONS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(actions, i));
        unsigned bit = name ? action_bit(name) : 0;
        if (!bit || *ret & bit)
            return false;
        *ret |= bit;
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const trust_gpsi *)a)->text, ((const trust_gpsi *)b)->text);
}

static bool take_users(const json_t *users, sim_details *details)
{
    size_t count = json_array_size(users);
    if (count == 0 || count > TRUST_USERS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *user = json_array_get(users, i);
        if (!json_is_string(user) || !trust_gpsi_valid(text_of(user)) ||
            trust_gpsi_parse(text_of(user), &details->users[i], NULL) != RPC_OK)
            return false;
    }
    qsort(details->users, count, sizeof *details->users, by_text);
    for (size_t i = 1; i < count; i++)
        if (by_text(&details->users[i - 1], &details->users[i]) == 0)
            return false;
    details->user_count = count;
    return true;
}

static bool take_identifier(const json_t *identifier, sim_details *details)
{
    rpc_bytes id = json_is_string(identifier) ? text_of(identifier) : rpc_bytes_of(NULL, 0);
    if (!trust_asset_id_valid(id))
        return false;
    memcpy(details->asset_id, id.data, id.size);
    details->asset_id[id.size] = '\0';
    return true;
}

static bool take_detail(
    const json_t *detail, bool with_users, sim_details *details, sim_error *reterr)
{
    const json_t *type = json_object_get(detail, "type");
    if (!json_is_string(type) || !rpc_bytes_equal(text_of(type), rpc_bytes_str(SIM_DETAILS_TYPE)))
        return bad(reterr, "the only type of authorization_details is digital_asset");
    if (!known_members(detail, with_users))
        return bad(reterr, with_users ? "members are type, identifier, actions and users, no others"
                                      : "members are type, identifier and actions, no others");
    if (!take_actions(json_object_get(detail, "actions"), &details->actions))
        return bad(reterr,
            "actions must be an array of create, discovery, get, update, delete, each once");
    const json_t *identifier = json_object_get(detail, "identifier");
    if (identifier && !take_identifier(identifier, details))
        return bad(reterr, "identifier must be an asset ID: 1 to 128 of A-Z a-z 0-9 . _ ~ -");
    if (with_users && !take_users(json_object_get(detail, "users"), details))
        return bad(reterr, "users must be an array of 1 to 64 GPSIs, each once");
    return true;
}

bool sim_details_parse(rpc_bytes text, bool with_users, sim_details *ret, sim_error *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(text, SIM_DETAILS_BYTES_MAX, "authorization_details", NULL);
    if (!json)
        return bad(reterr, "authorization_details must be a JSON array of at most 16 KiB without "
                           "repeated members");
    if (!json_is_array(json) || json_array_size(json) != 1 ||
        !json_is_object(json_array_get(json, 0)))
        return bad(reterr, "authorization_details must be an array of exactly one object");
    ret->asset_id[0] = '\0';
    ret->actions = 0;
    ret->user_count = 0;
    return take_detail(json_array_get(json, 0), with_users, ret, reterr);
}

bool sim_details_narrow(const char *granted_asset, unsigned granted_actions,
    const sim_details *asked, sim_error *reterr)
{
    if (*granted_asset && strcmp(granted_asset, asked->asset_id) != 0)
        return bad(reterr, "another asset was granted, or more is asked for than was granted");
    if (asked->actions & ~granted_actions)
        return bad(reterr, "an action is asked for that was not granted");
    return true;
}

/* A GPSI, or everybody of an External ID domain: extid-*@domain. */
static bool right_covers(const char *right, const char *gpsi)
{
    static const char any_at[] = "extid-*@";
    if (strcmp(right, gpsi) == 0)
        return true;
    const char *at = strrchr(gpsi, '@');
    return strncmp(right, any_at, sizeof any_at - 1) == 0 && strncmp(gpsi, "extid-", 6) == 0 &&
           at && strcmp(at + 1, right + sizeof any_at - 1) == 0;
}

bool sim_details_users_within(const sim_details *details, const char *const *rights)
{
    for (size_t i = 0; i < details->user_count; i++) {
        const char *const *right = rights;
        while (*right && !right_covers(*right, details->users[i].text))
            right++;
        if (!*right)
            return false;
    }
    return true;
}
