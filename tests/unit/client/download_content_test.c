/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_download() against a DACM whose manifest is right and whose list or chunks are not. */
#include "download.h"

/* ---- lists
 * ---------------------------------------------------------------------------------------- */

TEST(download_whose_list_is_not_the_one_signed_is_refused)
{
    refused(with_a_bit_of_the_list_flipped, DACM_BAD_SIGNATURE, "list");
}

static void with_a_list_too_long(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    size_t size = (size_t)f->object.count * FAKE_ENTRY_BYTES;
    uint8_t *entries = calloc(size + FAKE_ENTRY_BYTES, 1);
    memcpy(entries, f->object.entries, size);
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, entries, size + FAKE_ENTRY_BYTES);
    free(entries);
}

TEST(download_whose_list_is_longer_than_said_is_refused)
{
    refused(with_a_list_too_long, DACM_BAD_SIGNATURE, "list");
}

static void with_the_list_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
    for (int i = 0; i < 2; i++)
        fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_whose_list_comes_twice_is_refused)
{
    refused(with_the_list_twice, DACM_BAD_SIGNATURE, "list");
}

static void with_the_list_in_pieces(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    size_t size = (size_t)f->object.count * FAKE_ENTRY_BYTES;
    fake_reply_manifest(f, reply);
    for (size_t at = 0; at < size; at += 50) /* not even at the ends of entries */
        fake_reply_list(reply, f->object.entries + at, size - at < 50 ? size - at : 50);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_takes_a_list_in_pages)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_the_list_in_pieces;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

static void with_a_list_cut(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, f->object.entries, (size_t)(f->object.count - 1) * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_with_data_before_the_list_is_whole_is_refused)
{
    refused(with_a_list_cut, DACM_BAD_SIGNATURE, "before the list");
}

/* Signed, but a list that no object can have: the signer erred. */
static void signed_list_refused(uint32_t index, uint32_t length, uint64_t size_more)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    uint8_t *entry = f.object.entries + (size_t)index * FAKE_ENTRY_BYTES;
    for (unsigned b = 0; b < 4; b++)
        entry[b] = (uint8_t)(length >> (24 - 8 * b));
    f.object.size += size_more - lengths[index] + length; /* what the manifest says */
    uint64_t content = f.object.offsets[CHUNKS];
    f.object.content = realloc(
        f.object.content, (f.object.size > content ? f.object.size : content) + 1);
    memset(f.object.content + content, 0, f.object.size > content ? f.object.size - content : 0);
    dacm_client *client = fake_client(&f, 1);
    refused_by(&f, client, 0, DACM_BAD_SIGNATURE, size_more ? "together" : "length");
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_of_a_signed_list_with_an_impossible_length_is_refused)
{
    signed_list_refused(2, 0, 0);
    signed_list_refused(2, (512u << 10) + 1, 0); /* what one message can carry, and one more */
    signed_list_refused(2, 100u << 20, 0);
}

TEST(download_of_a_signed_list_that_does_not_add_up_is_refused)
{
    signed_list_refused(2, lengths[2], 1);
    signed_list_refused(2, lengths[2], 100000);
}

static void of_too_many_chunks(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest);
    fake_reply_start(reply, jws, false, DACM_CHUNKS_MAX + 1);
    free(jws);
}

TEST(download_of_more_chunks_than_can_be_is_refused)
{
    refused(of_too_many_chunks, DACM_RESOURCE_EXHAUSTED, "chunks");
}

/* ---- chunks
 * --------------------------------------------------------------------------------------- */

static void with_a_bit_of_a_chunk_flipped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    uint8_t *data = malloc(o->lengths[3]);
    memcpy(data, o->content + o->offsets[3], o->lengths[3]);
    data[o->lengths[3] - 1] ^= 0x80;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_chunks(reply, 3, data, o->lengths[3]);
    fake_reply_object(f, reply, 4, CHUNKS);
    free(data);
}

TEST(download_with_a_flipped_bit_in_a_chunk_is_refused)
{
    refused(with_a_bit_of_a_chunk_flipped, DACM_BAD_SIGNATURE, "chunk 3");
}

static void with_the_first_chunk_of_a_message_right(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    size_t size = o->offsets[3];
    uint8_t *data = malloc(size);
    memcpy(data, o->content, size);
    data[size - 1] ^= 1;
    reply_head(f, reply);
    fake_reply_chunks(reply, 0, data, size);
    free(data);
}

TEST(download_judges_every_chunk_of_a_message)
{
    refused(with_the_first_chunk_of_a_message_right, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_chunks_under_each_others_number(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 2);
    fake_reply_chunks(reply, 2, o->content + o->offsets[4], o->lengths[2]);
}

TEST(download_with_the_bytes_of_another_place_is_refused)
{
    refused(with_chunks_under_each_others_number, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_chunks_swapped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 2);
    fake_reply_object(f, reply, 3, 4);
    fake_reply_object(f, reply, 2, 3);
    fake_reply_object(f, reply, 4, CHUNKS);
}

TEST(download_with_chunks_out_of_order_is_refused)
{
    refused(with_chunks_swapped, DACM_BAD_SIGNATURE, "chunk 3");
}

static void with_a_chunk_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_object(f, reply, 2, CHUNKS);
}

TEST(download_with_a_chunk_sent_twice_is_refused)
{
    refused(with_a_chunk_twice, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_a_chunk_left_out(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 4);
    fake_reply_object(f, reply, 5, CHUNKS);
}

TEST(download_with_a_chunk_left_out_is_refused)
{
    refused(with_a_chunk_left_out, DACM_BAD_SIGNATURE, "chunk 5");
}

static void with_a_chunk_cut(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_chunks(reply, 0, f->object.content, f->object.lengths[0] - 1);
}

TEST(download_with_a_chunk_cut_is_refused)
{
    refused(with_a_chunk_cut, DACM_BAD_SIGNATURE, "chunk 0");
}

static void with_data_beyond_the_list(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS - 1);
    fake_reply_chunks(reply, CHUNKS, "more", 4);
}

TEST(download_with_data_beyond_the_list_is_refused)
{
    refused(with_data_beyond_the_list, DACM_BAD_SIGNATURE, "chunk");
}

static void with_the_number_run_over(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_chunks(reply, UINT32_MAX, f->object.content, f->object.lengths[0]);
}

TEST(download_with_the_highest_chunk_number_is_refused)
{
    refused(with_the_number_run_over, DACM_BAD_SIGNATURE, "chunk");
}

/* The whole object, whatever was asked for. */
static void with_everything(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_with_chunks_that_nobody_asked_for_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_everything;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_result result;
    dacm_error error;
    seen s = seen_new(&f.object);
    dacm_download_options options = to_sink(&s);
    options.offset = f.object.offsets[2];
    options.length = lengths[2];
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    says(&error, DACM_BAD_SIGNATURE, "chunk 0");
    assert_int_equal(s.bytes, 0);
    judge_seen(&s, true);
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- order and ends
 * ------------------------------------------------------------------------------- */

static void starting_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_manifest(f, reply);
    fake_reply_object(f, reply, 3, CHUNKS);
}

TEST(download_that_starts_twice_is_refused)
{
    refused(starting_twice, DACM_INTERNAL, "twice");
}

static void without_a_start(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_without_a_start_is_refused)
{
    refused(without_a_start, DACM_BAD_SIGNATURE, "list");
}

static void with_chunks_only(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_of_chunks_alone_is_refused)
{
    refused(with_chunks_only, DACM_BAD_SIGNATURE, "before the list");
}

static void with_nothing(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)f, (void)number, (void)asked, (void)reply;
}

TEST(download_that_ends_at_once_with_ok_is_data_loss)
{
    refused(with_nothing, DACM_DATA_LOSS, "before all chunks");
}

static void ending_after_the_start(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
}

TEST(download_that_ends_before_its_list_is_data_loss)
{
    refused(ending_after_the_start, DACM_DATA_LOSS, "before all chunks");
}

static void without_the_last_chunk(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS - 1);
}

TEST(download_that_ends_with_ok_before_the_last_chunk_is_data_loss)
{
    refused(without_the_last_chunk, DACM_DATA_LOSS, "before all chunks");
}

static void with_bytes_that_are_no_message(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_raw(reply, "\x1a\xff\xff\x03", 4);
}

TEST(download_with_a_message_that_is_none_is_refused)
{
    refused(with_bytes_that_are_no_message, DACM_INTERNAL, "malformed");
}

static void with_a_refusal(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)f, (void)number, (void)asked;
    fake_reply_end(reply, RPC_PERMISSION_DENIED, "not\nallowed");
}

TEST(download_that_is_refused_says_so_and_is_not_tried_again)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_a_refusal;
    dacm_client *client = fake_client(&f, 5);
    refused_by(&f, client, 0, DACM_PERMISSION_DENIED, "not?allowed");
    assert_int_equal(fake_calls(&f), 2); /* one each to file and sink */
    dacm_client_free(client);
    fake_stop(&f);
}
