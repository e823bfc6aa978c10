/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "trust.h"

static bool valid(const char *text)
{
    return trust_gpsi_valid(rpc_bytes_str(text));
}

TEST(msisdn_has_5_to_15_digits_and_nothing_else)
{
    assert_true(valid("msisdn-12345"));
    assert_true(valid("msisdn-123456789012345"));
    assert_false(valid("msisdn-1234"));
    assert_false(valid("msisdn-1234567890123456"));
    assert_false(valid("msisdn-+49123456"));
    assert_false(valid("msisdn-12345 "));
    assert_false(valid("MSISDN-12345"));
    assert_false(trust_gpsi_valid(rpc_bytes_of("msisdn-12345\0", 13)));
    assert_false(valid(""));
}

TEST(extid_has_a_local_part_and_a_lower_case_domain)
{
    assert_true(valid("extid-Ann@example.org"));
    assert_false(valid("extid-ann@Example.org"));
    assert_false(valid("extid-ann@example..org"));
    assert_false(valid("extid-ann@example.org."));
    assert_false(valid("extid-ann@-example.org"));
    assert_false(valid("extid-@example.org"));
    assert_false(valid("extid-ann@"));
    assert_false(valid("extid-a b@example.org"));
    assert_false(valid("extid-\xc3\xa4@example.org"));
    assert_false(valid("extid-a@b@example.org"));
    assert_false(valid("ann@example.org"));
}

TEST(external_id_becomes_the_extid_spelling)
{
    trust_gpsi gpsi;

    assert_int_equal(trust_gpsi_parse(rpc_bytes_str("ann@example.org"), &gpsi, NULL), RPC_OK);
    assert_string_equal(gpsi.text, "extid-ann@example.org");
    assert_int_equal(gpsi.size, 21);
}

TEST(refused_gpsi_leaves_the_output_untouched)
{
    trust_gpsi gpsi = {3, "abc"};
    rpc_status status;
    char text[256];

    memset(text, 'a', sizeof(text));
    memcpy(text + 240, "@b.c", 4);
    assert_int_equal(
        trust_gpsi_parse(rpc_bytes_of(text, sizeof(text)), &gpsi, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(
        trust_gpsi_parse(rpc_bytes_str("extid-a@B"), &gpsi, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(
        trust_gpsi_parse(rpc_bytes_str("msisdn-1@b.c"), &gpsi, &status), RPC_INVALID_ARGUMENT);
    assert_string_equal(gpsi.text, "abc");
}

TEST(asset_id_is_1_to_128_unreserved_characters)
{
    char text[129];

    memset(text, 'a', sizeof(text));
    assert_true(trust_asset_id_valid(rpc_bytes_of(text, 128)));
    assert_false(trust_asset_id_valid(rpc_bytes_of(text, 129)));
    assert_false(trust_asset_id_valid(rpc_bytes_of(text, 0)));
    assert_true(trust_asset_id_valid(rpc_bytes_str("A.z_0~-9")));
    assert_false(trust_asset_id_valid(rpc_bytes_str("a/b")));
    assert_false(trust_asset_id_valid(rpc_bytes_of("a\0b", 3)));
}
