/* SPDX-License-Identifier: Apache-2.0 */
#include "client_auth.h"
#include "test.h"

static char id[SIM_CLIENT_ID_MAX + 1], secret[SIM_SECRET_MAX + 1];

static bool reads(const char *header)
{
    return sim_basic_read(header, id, secret);
}

TEST(basic_credentials_are_form_decoded)
{
    assert_true(reads("Basic YTpi")); /* a:b */
    assert_string_equal(id, "a");
    assert_string_equal(secret, "b");
    assert_true(reads("basic  aHR0cHMlM0EvL2E6eCUzQXkr")); /* https%3A//a:x%3Ay+ */
    assert_string_equal(id, "https://a");
    assert_string_equal(secret, "x:y ");
}

TEST(basic_credentials_that_are_malformed_are_refused)
{
    const char *const bad[] = {"", "Basic", "Basic ", "Bearer YTpi", "Basic YTpi YTpi",
        "Basic YTpi!", "Basic YTp", "Basic YWI=" /* ab */, "Basic Og==" /* : */,
        "Basic YTo=" /* a: */, "Basic OmI=" /* :b */, "Basic JTAwOmI=" /* %00:b */,
        "Basic JWZmOmI=" /* %ff:b */, "Basic YSZiOmM=" /* a&b:c */, "Basic YT1iOmM=" /* a=b:c */,
        "Basic JTpi" /* %:b */, NULL};
    for (size_t i = 0; bad[i]; i++)
        if (reads(bad[i]))
            fail_msg("'%s' was taken", bad[i]);
}

TEST(basic_credentials_that_are_too_long_are_refused)
{
    char text[4096] = "Basic ";
    for (size_t i = 6; i < sizeof text - 1; i++)
        text[i] = 'Y'; /* a lot of 'a', without a colon */
    assert_false(reads(text));
    text[4000] = '\0';
    assert_false(reads(text));
}
