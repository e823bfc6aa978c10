/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "client_internal.h"
#include "glb.h"
#include "http.h"
#include "test.h"

TEST(exit_codes_are_those_of_the_table)
{
    static const struct {
        dacm_code code;
        int exit;
    } rows[] = {{DACM_OK, 0}, {DACM_UNKNOWN, 1}, {DACM_INTERNAL, 1}, {DACM_CANCELLED, 1},
        {DACM_UNIMPLEMENTED, 1}, {DACM_INVALID_ARGUMENT, 2}, {DACM_OUT_OF_RANGE, 2},
        {DACM_PERMISSION_DENIED, 3}, {DACM_NOT_FOUND, 4}, {DACM_BAD_SIGNATURE, 5},
        {DACM_DATA_LOSS, 5}, {DACM_NO_KEY, 6}, {DACM_UNAUTHENTICATED, 7}, {DACM_UNAVAILABLE, 8},
        {DACM_DEADLINE_EXCEEDED, 8}, {DACM_ABORTED, 9}, {DACM_ALREADY_EXISTS, 9},
        {DACM_FAILED_PRECONDITION, 9}, {DACM_RESOURCE_EXHAUSTED, 10}, {DACM_LOCAL_FILE, 11}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(cli_exit_of(rows[i].code), rows[i].exit);
}

TEST(error_text_from_a_server_cannot_steer_a_terminal)
{
    dacm_error error;
    client__fail(&error, DACM_INTERNAL, "%s", "a\033[2Jb\r\nc");
    assert_string_equal(error.message, "a?[2Jb??c");
    client__fail(&error, DACM_INTERNAL, "%s", "a\302\2332Jb");
    assert_string_equal(error.message, "a??2Jb");
}

TEST(sizes_are_told_in_decimal_units)
{
    char text[32];
    cli_size_text(999, text);
    assert_string_equal(text, "999 B");
    cli_size_text(12300000, text);
    assert_string_equal(text, "12.3 MB");
}

TEST(cube_is_a_glb_whose_lengths_agree)
{
    static const float red[3] = {1, 0, 0};
    uint8_t *file = NULL;
    size_t size = 0;
    assert_true(glb_cube("red", red, &file, &size));
    assert_memory_equal(file, "glTF\2\0\0\0", 8);
    assert_int_equal(file[8] | file[9] << 8, size);
    const size_t json_size = file[12] | (size_t)file[13] << 8;
    json_t *json = json_loadb((const char *)file + 20, json_size, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(json, "nodes"), 0), "name")),
        "red");
    json_decref(json);
    free(file);
}

/* ---- forms and queries ------------------------------------------------------------------------
 */

TEST(form_is_encoded_as_forms_are)
{
    http_form form = {.text = NULL};
    http_form_add(&form, "a", "x y&=+%/é~");
    http_form_add(&form, "left_out", NULL);
    http_form_add(&form, "b", "");
    assert_false(form.failed);
    assert_string_equal(form.text, "a=x%20y%26%3D%2B%25%2F%C3%A9~&b=");
    http_form_done(&form);
}

TEST(query_value_is_what_the_form_had)
{
    http_form form = {.text = NULL};
    http_form_add(&form, "first", "1");
    http_form_add(&form, "iss", "https://localhost:7543/é a+b&c=d");
    char *value = http_query_value(form.text, "iss");
    assert_string_equal(value, "https://localhost:7543/é a+b&c=d");
    free(value);
    assert_null(http_query_value(form.text, "is"));
    assert_null(http_query_value(form.text, "irst"));
    http_form_done(&form);
}

TEST(query_value_that_is_doubtful_is_none)
{
    static const char *const queries[] = {
        "",
        "state",
        "state=a&state=b",
        "state=a&x=y&state=a",
        "state=%",
        "state=%4",
        "state=%4g",
        "state=%00",
        "state=a%00b",
        "state=%ff",
        "state=%c0%80",
        "xstate=a",
        "State=a",
    };
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char *value = http_query_value(queries[i], "state");
        if (value)
            fail_msg("'%s' gives '%s'", queries[i], value);
    }
}

TEST(query_value_may_have_blanks_by_plus)
{
    char *value = http_query_value("&&a=1&state=a+b%2Bc&", "state");
    assert_string_equal(value, "a b+c");
    free(value);
}
