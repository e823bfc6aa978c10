/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "test.h"

static char room[8192];

static host_params parse(const char *text)
{
    host_params params;
    host_params_parse(rpc_bytes_str(text), room, &params);
    return params;
}

static void finds(const char *text, const char *name, const char *value)
{
    host_params params = parse(text);
    const char *found = NULL;
    assert_int_equal(host_params_find(&params, name, &found), HOST_FOUND);
    assert_string_equal(found, value);
}

static void answers(const char *text, const char *name, host_found what)
{
    host_params params = parse(text);
    const char *found = NULL;
    assert_int_equal(host_params_find(&params, name, &found), what);
    assert_null(found);
}

TEST(params_are_split_and_decoded)
{
    finds("a=1&b=2", "a", "1");
    finds("a=1&b=2", "b", "2");
    finds("a=1+2%203%2B4%26%3d", "a", "1 2 3+4&=");
    finds("a%5B%5d=x", "a[]", "x");
    finds("a=b=c", "a", "b=c");
    finds("a=%C3%a9", "a", "\xc3\xa9");
    finds("&&a=1&&", "a", "1");
    finds("=x", "", "x");
}

TEST(params_without_a_value_are_there_and_empty)
{
    finds("a", "a", "");
    finds("a=", "a", "");
    finds("a&b=1", "a", "");
    finds("b=1&a", "a", "");
}

TEST(params_that_are_not_there_are_absent)
{
    answers("", "a", HOST_ABSENT);
    answers("a=1", "b", HOST_ABSENT);
    answers("a=1", "A", HOST_ABSENT);
    answers("ab=1", "a", HOST_ABSENT);
    answers("b=a", "a", HOST_ABSENT);
}

TEST(params_given_twice_are_said_to_be)
{
    answers("a=1&a=1", "a", HOST_TWICE);
    answers("a=1&b=2&%61=", "a", HOST_TWICE);
    answers("a=1&a=%ff", "a", HOST_TWICE);
    finds("a=1&a=2&b=3", "b", "3");
}

TEST(params_with_a_value_that_is_no_text_are_malformed)
{
    static const char *const values[] = {"%", "%4", "%4g", "%g4", "%%41", "x%0", "%00", "a%00b",
        "%ff", "%c3", "%c3%28", "%c0%80", "%ed%a0%80", "\xff", "%u0041", "% 1", "%+1", "%-1"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[64];
        snprintf(text, sizeof text, "x=1&a=%s&y=2", values[i]);
        answers(text, "a", HOST_MALFORMED);
        finds(text, "x", "1"); /* what is wrong about one is not the others' matter */
        finds(text, "y", "2");
    }
}

TEST(params_with_a_name_that_is_no_text_cannot_be_read_at_all)
{
    static const char *const texts[] = {"a=1&%=2", "%00=1&a=1", "a=1&%ff", "a=1&b%2=1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        host_params params = parse(texts[i]);
        assert_true(params.malformed);
        assert_int_equal(params.count, 0);
        answers(texts[i], "a", HOST_MALFORMED);
        answers(texts[i], "b", HOST_MALFORMED);
    }
}

TEST(params_may_be_64_and_not_one_more)
{
    char text[600] = "";
    for (unsigned i = 0; i < HOST_PARAMS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "&p%u=%u", i, i);
    finds(text, "p0", "0");
    finds(text, "p63", "63");
    snprintf(text + strlen(text), sizeof text - strlen(text), "&a");
    answers(text, "p0", HOST_MALFORMED);
}

TEST(params_keep_their_order)
{
    host_params params = parse("b=1&a=2&b=3&c=%zz");
    assert_int_equal(params.count, 4);
    assert_string_equal(params.items[0].name, "b");
    assert_string_equal(params.items[2].value, "3");
    assert_string_equal(params.items[3].name, "c");
    assert_null(params.items[3].value);
}

/* ---- cookies --------------------------------------------------------------------------------- */

static host_found cookie(const char *header, const char *name, char ret[64])
{
    rpc_bytes value = {NULL, 0};
    host_found found = host_cookie_find(rpc_bytes_str(header), name, &value);
    assert_true(value.size < 64 && (found == HOST_FOUND) == (value.data != NULL));
    memcpy(ret, value.data ? (const char *)value.data : "", value.size);
    ret[value.size] = '\0';
    return found;
}

static void finds_cookie(const char *header, const char *name, const char *value)
{
    char found[64];
    assert_int_equal(cookie(header, name, found), HOST_FOUND);
    assert_string_equal(found, value);
}

TEST(cookie_is_found_by_its_name)
{
    finds_cookie("a=1", "a", "1");
    finds_cookie("a=1; b=2", "b", "2");
    finds_cookie("a=1;b=2;", "b", "2");
    finds_cookie(" a = 1 ; b=2", "a", "1");
    finds_cookie("a=\"1\"", "a", "1");
    finds_cookie("a=", "a", "");
    finds_cookie("a=b=c", "a", "b=c");
    finds_cookie("__Host-s=x; s=y", "s", "y");
}

TEST(cookie_of_another_name_is_absent)
{
    char found[64];
    static const char *const headers[] = {
        "", ";", "=", "a", "A=1", "aa=1", "b=a=1", "b=1; a", ";;"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_int_equal(cookie(headers[i], "a", found), HOST_ABSENT);
}

TEST(cookie_given_twice_is_said_to_be)
{
    char found[64];
    assert_int_equal(cookie("a=1; a=1", "a", found), HOST_TWICE);
    assert_int_equal(cookie("a=1; b=2; a=\xff", "a", found), HOST_TWICE);
}

TEST(cookie_with_bytes_that_none_may_have_is_malformed)
{
    char found[64];
    static const char *const headers[] = {
        "a=1 2", "a=1,2", "a=\"1", "a=1\"", "a=\"", "a=\\", "a=\x01", "a=\x7f", "a=\xc3\xa9"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_int_equal(cookie(headers[i], "a", found), HOST_MALFORMED);
}
