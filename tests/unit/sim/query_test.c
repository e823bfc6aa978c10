/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"
#include "support.h"

TEST(parameters_without_faults_are_sound)
{
    assert_true(sim_params_sound(params_of("a=1&b=2&c=")));
    assert_true(sim_params_sound(params_of("")));
}

TEST(parameter_that_is_there_twice_is_not_sound_even_when_nobody_reads_it)
{
    assert_false(sim_params_sound(params_of("a=1&unknown=2&unknown=2")));
    assert_false(sim_params_sound(params_of("a=1&a=1")));
    assert_false(sim_params_sound(params_of("a=1&%61=2")));
}

TEST(parameters_that_cannot_be_read_are_not_sound)
{
    assert_false(sim_params_sound(params_of("a=%")));
    assert_false(sim_params_sound(params_of("a=%zz")));
    assert_false(sim_params_sound(params_of("a=%00")));
    assert_false(sim_params_sound(params_of("a=%ff")));
    assert_false(sim_params_sound(params_of("%ff=a")));
}

TEST(empty_parameter_is_an_absent_one)
{
    assert_null(sim_param(params_of("scope="), "scope"));
    assert_null(sim_param(params_of("scope"), "scope"));
    assert_null(sim_param(params_of(""), "scope"));
    assert_null(sim_param(params_of("scope=a&scope=b"), "scope"));
    assert_string_equal(sim_param(params_of("scope=a+b"), "scope"), "a b");
}

TEST(uri_gets_its_parameters_encoded)
{
    char *uri = sim_uri_with("https://app.example/cb",
        (const char *const[]){"code", "a-b", "state", "x&y=z #\"<\xc3\xa9", "iss", NULL, NULL});
    assert_string_equal(uri, "https://app.example/cb?code=a-b&state=x%26y%3Dz%20%23%22%3C%C3%A9");
    free(uri);
}

TEST(uri_that_has_a_query_keeps_it)
{
    char *uri = sim_uri_with("app.example:/cb?x=1", (const char *const[]){"code", "c", NULL});
    assert_string_equal(uri, "app.example:/cb?x=1&code=c");
    free(uri);
    uri = sim_uri_with("https://a/", (const char *const[]){"state", NULL, NULL});
    assert_string_equal(uri, "https://a/");
    free(uri);
}

TEST(words_are_compared_whole)
{
    assert_true(sim_words_have("openid seal.da", "seal.da"));
    assert_false(sim_words_have("openid seal.daX", "seal.da"));
    assert_false(sim_words_have("openid seal.d", "seal.da"));
    assert_false(sim_words_have("", "seal.da"));
    assert_true(sim_words_within("b a", "a b c"));
    assert_true(sim_words_within("", "a"));
    assert_false(sim_words_within("a d", "a b c"));
    assert_false(sim_words_within("a", ""));
}

TEST(words_are_copied_once_each_and_single_spaced)
{
    char text[16];
    assert_true(sim_words_copy("  a  b a c ", text, sizeof text));
    assert_string_equal(text, "a b c");
    assert_true(sim_words_copy("", text, sizeof text));
    assert_string_equal(text, "");
    assert_true(sim_words_copy("123456789012345", text, sizeof text));
    assert_false(sim_words_copy("1234567890123456", text, sizeof text));
    assert_false(sim_words_copy("12345678901234 a", text, sizeof text));
}
