/* SPDX-License-Identifier: Apache-2.0 */
#include "details.h"
#include "test.h"

static sim_details details;
static sim_error error;

static bool reads(const char *json, bool with_users)
{
    memset(&details, 0x5a, sizeof details);
    error = (sim_error){0};
    return sim_details_parse(rpc_bytes_str(json), with_users, &details, &error);
}

static void refused(const char *json)
{
    assert_false(reads(json, false));
    assert_string_equal(error.error, "invalid_authorization_details");
    assert_true(error.description && strlen(error.description) > 10);
}

TEST(one_object_with_identifier_and_actions_is_read)
{
    assert_true(reads("[{\"type\":\"digital_asset\",\"identifier\":\"a.b_c~d-9\",\"actions\":["
                      "\"get\",\"update\"]}]",
        false));
    assert_string_equal(details.asset_id, "a.b_c~d-9");
    assert_int_equal(details.actions, TRUST_ACTION_GET | TRUST_ACTION_UPDATE);
    assert_int_equal(details.user_count, 0);
}

TEST(identifier_may_be_left_out)
{
    assert_true(reads(" [ {\"actions\":[\"create\"], \"type\":\"digital_asset\"}]\n", false));
    assert_string_equal(details.asset_id, "");
    assert_int_equal(details.actions, TRUST_ACTION_CREATE);
}

TEST(second_object_is_refused)
{
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\"]},"
            "{\"type\":\"digital_asset\",\"actions\":[\"get\"]}]");
}

TEST(what_is_no_array_of_one_object_is_refused)
{
    refused("[]");
    refused("{\"type\":\"digital_asset\",\"actions\":[\"get\"]}");
    refused("[[]]");
    refused("\"digital_asset\"");
    refused("");
    refused("[");
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\"]}] x");
}

TEST(unknown_type_is_refused)
{
    refused("[{\"type\":\"digital_assets\",\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asse\",\"actions\":[\"get\"]}]");
    refused("[{\"type\":7,\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asset\\u0000\",\"actions\":[\"get\"]}]");
    refused("[{\"actions\":[\"get\"]}]");
}

TEST(unknown_member_is_refused)
{
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"locations\":[]}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"users\":[\"msisdn-12345\"]}]");
}

TEST(member_that_is_there_twice_is_refused)
{
    refused("[{\"type\":\"digital_asset\",\"identifier\":\"a\",\"identifier\":\"b\","
            "\"actions\":[\"get\"]}]");
}

TEST(actions_that_are_missing_empty_unknown_or_doubled_are_refused)
{
    refused("[{\"type\":\"digital_asset\"}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":[]}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":\"get\"}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"Get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\",\"get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"actions\":[\"get\",1]}]");
}

TEST(identifier_that_is_no_asset_id_is_refused)
{
    refused("[{\"type\":\"digital_asset\",\"identifier\":\"\",\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"identifier\":\"../x\",\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"identifier\":\"a\\u0000b\",\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"identifier\":null,\"actions\":[\"get\"]}]");
    refused("[{\"type\":\"digital_asset\",\"identifier\":[\"a\"],\"actions\":[\"get\"]}]");
}

TEST(nesting_of_ten_thousand_is_refused)
{
    static char text[20001];
    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    refused(text);
    text[10000] = '\0';
    refused(text);
}

TEST(more_than_16_kib_is_refused)
{
    static char text[SIM_DETAILS_BYTES_MAX + 128];
    const char start[] = "[{\"type\":\"digital_asset\",\"actions\":[\"get\"]}";
    memset(text, ' ', sizeof text - 1);
    memcpy(text, start, sizeof start - 1);
    text[SIM_DETAILS_BYTES_MAX - 1] = ']';
    text[SIM_DETAILS_BYTES_MAX] = '\0';
    assert_true(reads(text, false));
    text[SIM_DETAILS_BYTES_MAX - 1] = ' ';
    text[SIM_DETAILS_BYTES_MAX] = ']';
    refused(text);
}

#define WITH(users) "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"users\":" users "}]"

TEST(users_of_a_val_server_are_read_sorted)
{
    assert_true(reads(WITH("[\"msisdn-49222\",\"extid-b@x.example\",\"msisdn-49111\"]"), true));
    assert_int_equal(details.user_count, 3);
    assert_string_equal(details.users[0].text, "extid-b@x.example");
    assert_string_equal(details.users[1].text, "msisdn-49111");
    assert_string_equal(details.users[2].text, "msisdn-49222");
}

TEST(users_that_are_missing_empty_doubled_or_no_gpsis_are_refused)
{
    const char *const bad[] = {"[{\"type\":\"digital_asset\",\"actions\":[\"get\"]}]", WITH("[]"),
        WITH("\"msisdn-49111\""), WITH("[\"msisdn-49111\",\"msisdn-49111\"]"), WITH("[\"49111\"]"),
        WITH("[\"b@x.example\"]"), WITH("[\"extid-*@\"]"), WITH("[7]"),
        WITH("[\"msisdn-49111\\u0000\"]"), WITH("[\"msisdn-49111 \"]"), NULL};
    for (size_t i = 0; bad[i]; i++)
        assert_false(reads(bad[i], true));
}

TEST(more_than_64_users_are_refused)
{
    static char text[4096];
    for (int count = 64; count <= 65; count++) {
        int at = snprintf(
            text, sizeof text, "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"users\":[");
        for (int i = 0; i < count; i++)
            at += snprintf(
                text + at, sizeof text - (size_t)at, "%s\"msisdn-%d\"", i ? "," : "", 100000 + i);
        snprintf(text + at, sizeof text - (size_t)at, "]}]");
        assert_int_equal(reads(text, true), count == 64);
    }
}

TEST(narrowing_stays_within_what_was_granted)
{
    assert_true(
        reads("[{\"type\":\"digital_asset\",\"identifier\":\"a\",\"actions\":[\"get\"]}]", false));
    assert_true(sim_details_narrow("", TRUST_ACTION_GET, &details, &error));
    assert_true(sim_details_narrow("a", TRUST_ACTION_GET | TRUST_ACTION_UPDATE, &details, &error));
    assert_false(sim_details_narrow("b", TRUST_ACTION_GET, &details, &error));
    assert_false(sim_details_narrow("", TRUST_ACTION_UPDATE, &details, &error));
    assert_true(reads("[{\"type\":\"digital_asset\",\"actions\":[\"get\"]}]", false));
    assert_false(sim_details_narrow("a", TRUST_ACTION_GET, &details, &error));
    assert_string_equal(error.error, "invalid_authorization_details");
}

TEST(rights_are_gpsis_or_a_whole_domain)
{
    const char *const one[] = {"msisdn-49111", NULL}, *const none[] = {NULL};
    const char *const domain[] = {"msisdn-49111", "extid-*@x.example", NULL};
    assert_true(reads(WITH("[\"msisdn-49111\"]"), true));
    assert_true(sim_details_users_within(&details, one));
    assert_false(sim_details_users_within(&details, none));
    assert_true(reads(WITH("[\"msisdn-491112\"]"), true));
    assert_false(sim_details_users_within(&details, one));
    assert_true(reads(WITH("[\"msisdn-49111\",\"extid-b@x.example\"]"), true));
    assert_true(sim_details_users_within(&details, domain));
    assert_false(sim_details_users_within(&details, one));
    assert_true(reads(WITH("[\"extid-b@evil-x.example\"]"), true));
    assert_false(sim_details_users_within(&details, domain));
    assert_true(reads(WITH("[\"extid-b@y.x.example\"]"), true));
    assert_false(sim_details_users_within(&details, domain));
}

TEST(actions_have_names_both_ways)
{
    const char *names[SIM_ACTIONS_MAX + 1];
    sim_actions_names(31, names);
    assert_string_equal(names[0], "create");
    assert_string_equal(names[4], "delete");
    assert_null(names[5]);
    assert_int_equal(sim_actions_bits(names), 31);
    sim_actions_names(0, names);
    assert_null(names[0]);
    assert_int_equal(sim_actions_bits(NULL), 0);
}
