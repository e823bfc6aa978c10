/* SPDX-License-Identifier: Apache-2.0 */
/* Answers are foreign: what is in them is taken apart without trust. */
#include "test.h"
#include "wire_internal.h"

static media__answer good(void)
{
    char first[] = "EXT_a", second[] = "EXT_b";
    char *names[] = {first, second};
    const rpc_status ok = {.code = RPC_OK};
    const media_made made = {.bytes = {(const uint8_t *)"x", 1},
        .media_type = "model/gltf-binary",
        .why = "locked seams",
        .source = {.triangles = 7, .vrm = "1.0", .extensions_required = {names, 2}},
        .figures = {.nodes = 3,
            .vrm = "0.x",
            .licence = "{\"licenseName\":\"CC0\"}",
            .prohibits = "licenseName: Other"}};
    media__answer answer;
    media__answer_pack(&ok, &made, &answer);
    return answer;
}

static rpc_code unpack(const media__answer *answer, media_made *made)
{
    *made = (media_made){0};
    return media__answer_unpack(answer, made, NULL);
}

static void done(media_made *made)
{
    media_figures_done(&made->source);
    media_figures_done(&made->figures);
}

TEST(what_was_packed_comes_back)
{
    media_made made;
    const media__answer answer = good();
    assert_int_equal(unpack(&answer, &made), RPC_OK);
    assert_string_equal(made.media_type, "model/gltf-binary");
    assert_string_equal(made.why, "locked seams");
    assert_int_equal(made.source.triangles, 7);
    assert_string_equal(made.source.vrm, "1.0");
    assert_int_equal(made.source.extensions_required.count, 2);
    assert_string_equal(made.source.extensions_required.list[1], "EXT_b");
    assert_int_equal(made.figures.nodes, 3);
    assert_string_equal(made.figures.licence, "{\"licenseName\":\"CC0\"}");
    assert_string_equal(made.figures.prohibits, "licenseName: Other");
    done(&made);
}

static void assert_refused(const media__answer *answer)
{
    media_made made;
    assert_int_equal(unpack(answer, &made), RPC_INTERNAL);
    done(&made);
}

TEST(strings_without_an_end_are_refused_or_ended)
{
    media__answer answer = good();
    memset(answer.media_type, 'a', sizeof answer.media_type);
    assert_refused(&answer);
    answer = good();
    memset(answer.source.vrm, '1', sizeof answer.source.vrm);
    assert_refused(&answer);
    answer = good();
    memset(answer.source.names[1], 'n', sizeof answer.source.names[1]);
    assert_refused(&answer);
    answer = good();
    memset(answer.why, 'w', sizeof answer.why);
    memset(answer.source.prohibits, 'p', sizeof answer.source.prohibits);
    media_made made;
    assert_int_equal(unpack(&answer, &made), RPC_OK);
    assert_int_equal(strlen(made.why), sizeof made.why - 1);
    assert_int_equal(strlen(made.source.prohibits), sizeof made.source.prohibits - 1);
    done(&made);
}

TEST(text_that_could_steer_or_quote_is_refused)
{
    static const char *const types[] = {"text", "text/\"x\"", "text/plain\n", "text/\xff",
        "Text/Plain", " text/plain", "/", "text/", "/plain", "../../etc/passwd", "text/../x",
        "text/..", "a/b/c"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        media__answer answer = good();
        memset(answer.media_type, 0, sizeof answer.media_type);
        rpc_text_copy(answer.media_type, sizeof answer.media_type, types[i]);
        assert_refused(&answer);
    }
    media__answer answer = good();
    answer.source.names[0][1] = '\033';
    assert_refused(&answer);
    answer = good();
    answer.source.names[0][0] = '\0';
    assert_refused(&answer);
}

TEST(numbers_out_of_range_are_refused)
{
    media__answer answer = good();
    answer.source.name_count = MEDIA__NAMES_MAX + 1;
    assert_refused(&answer);
    answer = good();
    answer.figures.name_count = UINT32_MAX;
    assert_refused(&answer);
    answer = good();
    answer.code = UINT32_MAX;
    assert_refused(&answer);
    answer = good();
    answer.kind = MEDIA__EXITED;
    assert_refused(&answer);
}

TEST(figures_that_do_not_fit_make_a_failure)
{
    char *names[MEDIA__NAMES_MAX + 1];
    for (int i = 0; i <= MEDIA__NAMES_MAX; i++)
        names[i] = (char[]){"EXT"};
    const rpc_status ok = {.code = RPC_OK};
    const media_made made = {.source = {.extensions_required = {names, MEDIA__NAMES_MAX + 1}}};
    media__answer answer;
    media__answer_pack(&ok, &made, &answer);
    assert_int_equal(answer.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(answer.message, "33 extensions"));
}

/* Whatever stands in an answer: no crash, no read outside of it (the sanitizer looks). */
TEST(any_bytes_are_an_answer_or_a_failure)
{
    uint32_t seed = 6;
    for (int round = 0; round < 20000; round++) {
        media__answer answer = good();
        uint8_t *bytes = (uint8_t *)&answer;
        for (int flips = 0; flips < 8; flips++) {
            seed = seed * 1664525 + 1013904223;
            bytes[(seed >> 8) % sizeof answer] = (uint8_t)(seed >> 3);
        }
        media_made made;
        const rpc_code code = unpack(&answer, &made);
        assert_true(code == RPC_OK || code == RPC_INTERNAL);
        done(&made);
    }
}
