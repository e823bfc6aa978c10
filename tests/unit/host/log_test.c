/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "test.h"

#include <jansson.h>
#include <pthread.h>
#include <unistd.h>

static char path[300];

static host_log *open_log(void)
{
    snprintf(path, sizeof path, "%s/log", test_tmpdir());
    host_log *log;
    rpc_status status;
    assert_int_equal(
        host_log_open(path, HOST_INFO, "test", rpc_clock_system(), &log, &status), RPC_OK);
    return log;
}

/* The lines of the log as JSON objects; each must be one. */
static json_t *read_lines(void)
{
    json_t *lines = json_array();
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char text[10000];
    while (fgets(text, sizeof text, file)) {
        json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (!line)
            fail_msg("not JSON: %s", text);
        json_array_append_new(lines, line);
    }
    fclose(file);
    return lines;
}

static const char *member(json_t *lines, size_t index, const char *name)
{
    return json_string_value(json_object_get(json_array_get(lines, index), name));
}

TEST(log_line_is_json_with_foreign_text_escaped)
{
    host_log *log = open_log();
    HOST_LOG(log, HOST_WARNING, "a \"quoted\" word", host_text("asset", "a\nb\x01\\"),
        host_number("size", -5));
    HOST_LOG(log, HOST_DEBUG, "not at this level", host_number("x", 1));
    HOST_LOG(log, HOST_INFO, "bytes", host_text("junk", "\xff\xc0"));
    host_log_close(log);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 2);
    assert_string_equal(member(lines, 0, "level"), "warning");
    assert_string_equal(member(lines, 0, "program"), "test");
    assert_string_equal(member(lines, 0, "message"), "a \"quoted\" word");
    assert_string_equal(member(lines, 0, "asset"), "a\nb\x01\\");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 0), "size")), -5);
    assert_string_equal(member(lines, 1, "junk"), "\xEF\xBF\xBD\xEF\xBF\xBD");
    json_decref(lines);
}

TEST(log_line_that_is_too_long_loses_no_field)
{
    host_log *log = open_log();
    char text[2000];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    HOST_LOG(log, HOST_INFO, "long", host_text("a", text), host_text("b", text),
        host_text("c", "short"), host_text("d", text), host_text("e", text), host_number("f", 1));
    HOST_LOG(log, HOST_INFO, "one", host_text("a", text), host_number("f", 2));
    host_log_close(log);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 2);
    for (const char *name = "a\0b\0d\0e\0"; *name; name += 2)
        assert_in_range(strlen(member(lines, 0, name)), 900, 1024);
    assert_string_equal(member(lines, 0, "c"), "short");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 0), "f")), 1);
    assert_int_equal(strlen(member(lines, 1, "a")), 1024);
    json_decref(lines);
}

/* Of 1,024 bytes and more, that take one, two, six bytes of a record, or are characters of two to
 * four. */
static const char *const units[] = {
    "x", "\"", "\x01", "\xff", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x99\x82", "a\xC3\xBC\n"};

static void fill(char *text, size_t size, const char *unit)
{
    size_t at = 0;
    for (; at + strlen(unit) < size; at += strlen(unit))
        memcpy(text + at, unit, strlen(unit));
    text[at] = '\0';
}

/* Every field is there whole but for the texts that are too large, of which a beginning is. */
static void check_record(json_t *record, const char *unit)
{
    static const char *const names[] = {"a", "b", "c"};
    assert_non_null(record);
    assert_int_equal(json_object_size(record), 6);
    assert_string_equal(json_string_value(json_object_get(record, "outcome")), "denied");
    assert_int_equal(json_integer_value(json_object_get(record, "uid")), INT64_MIN);
    assert_int_equal(json_string_length(json_object_get(record, "user")), HOST_PSEUDONYM_CHARS);
    for (size_t i = 0; i < 3; i++) {
        const char *text = json_string_value(json_object_get(record, names[i]));
        char whole[1100];
        fill(whole, sizeof whole, unit);
        assert_non_null(text);
        if (*unit != '\xff')
            assert_memory_equal(text, whole, strlen(text));
    }
}

TEST(record_whose_texts_have_no_room_has_every_field)
{
    char foreign[2000], out[9000];
    host_log *log = open_log();
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (size_t size = 1; size < sizeof foreign; size += size < 30 ? 1 : 61)
            for (size_t room = 200; room <= sizeof out; room += room < 260 ? 1 : 997) {
                fill(foreign, size + 1, units[u]);
                const host_field fields[] = {host_text("a", foreign), host_text("b", foreign),
                    host_text("outcome", "denied"), host_text("c", foreign),
                    host_who("user", foreign), host_number("uid", INT64_MIN)};
                size_t made = host_fields_json(log, fields, 6, out, room);
                assert_in_range(made, 2, room);
                json_t *record = json_loadb(out, made, JSON_REJECT_DUPLICATES, NULL);
                check_record(record, units[u]);
                json_decref(record);
            }
    host_log_close(log);
}

TEST(record_without_room_for_its_small_fields_is_made_without_them)
{
    char foreign[1025], out[256];
    memset(foreign, 1, sizeof foreign - 1); /* six characters each */
    foreign[sizeof foreign - 1] = '\0';
    const host_field fields[] = {
        host_text("outcome", "denied"), host_text("jti", foreign), host_number("uid", 7)};
    host_log *log = open_log();
    for (size_t room = 0; room <= sizeof out; room++) {
        size_t size = host_fields_json(log, fields, 3, out, room);
        assert_in_range(size, 0, room);
        json_t *record = json_loadb(out, size, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(record != NULL, room >= 2);
        if (room >= 48) { /* the two texts share what the names leave */
            assert_string_equal(json_string_value(json_object_get(record, "outcome")), "denied");
            assert_non_null(json_object_get(record, "jti"));
            assert_int_equal(json_integer_value(json_object_get(record, "uid")), 7);
        }
        json_decref(record);
    }
    host_log_close(log);
}

TEST(log_never_holds_who_and_the_same_person_has_the_same_pseudonym)
{
    host_log *log = open_log();
    HOST_LOG(log, HOST_INFO, "one", host_who("user", "msisdn-4915112345678"));
    HOST_LOG(log, HOST_INFO, "two", host_who("user", "msisdn-4915112345678"));
    HOST_LOG(log, HOST_INFO, "three", host_who("user", "msisdn-4915112345679"));
    host_log_close(log);
    json_t *lines = read_lines();
    assert_int_equal(strlen(member(lines, 0, "user")), HOST_PSEUDONYM_CHARS);
    assert_string_equal(member(lines, 0, "user"), member(lines, 1, "user"));
    assert_string_not_equal(member(lines, 0, "user"), member(lines, 2, "user"));
    char *all = json_dumps(lines, 0);
    assert_null(strstr(all, "49151"));
    free(all);
    json_decref(lines);
}

static void *write_access(void *arg)
{
    for (int i = 0; i < 500; i++)
        host_log_access(arg, (const host_field[]){host_number("i", i)}, 1);
    return NULL;
}

TEST(log_access_lines_of_many_threads_are_written_or_counted)
{
    host_log *log = open_log();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_access, log);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    uint64_t dropped = host_log_dropped(log);
    host_log_close(log);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines) + dropped, 2000);
    json_decref(lines);
}

TEST(log_reopens_after_its_file_was_moved_away)
{
    host_log *log = open_log();
    rpc_status status;
    char moved[310];
    snprintf(moved, sizeof moved, "%s.1", path);
    HOST_LOG(log, HOST_INFO, "before", host_number("x", 1));
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(host_log_reopen(log, &status), RPC_OK);
    HOST_LOG(log, HOST_INFO, "after", host_number("x", 2));
    host_log_close(log);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(member(lines, 0, "message"), "after");
    json_decref(lines);
}

TEST(log_that_cannot_be_opened_says_so)
{
    host_log *log = NULL;
    rpc_status status;
    assert_int_equal(
        host_log_open("/no/such/log", HOST_INFO, "test", rpc_clock_system(), &log, &status),
        RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "/no/such/log"));
    assert_null(log);
}
