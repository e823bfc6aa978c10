/* SPDX-License-Identifier: Apache-2.0 */
/* The index over descriptor sets, the part that no peer can reach: several sets, damaged ones. */
#include "descriptor.h"
#include "proto_descriptors.h"
#include "proto_grpc_descriptors.h"
#include "test.h"

static rpc_bytes grpc_set(void)
{
    return rpc_bytes_of(proto_grpc_descriptors, proto_grpc_descriptors_size);
}

static rpc__files *index_of(const rpc_bytes *sets, size_t count)
{
    rpc__files *files = NULL;
    rpc_status status;
    if (rpc__files_new(sets, count, &files, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return files;
}

TEST(several_sets_are_one_index_and_the_same_set_twice_is_one)
{
    const rpc_bytes sets[] = {
        grpc_set(), rpc_bytes_of(proto_descriptors, proto_descriptors_size), grpc_set()};
    rpc__files *one = index_of(sets, 1), *two = index_of(sets + 1, 1), *all = index_of(sets, 3);
    assert_int_equal(rpc__files_count(one), 8); /* ours of gRPC, and what they import */
    assert_int_equal(rpc__files_count(all), rpc__files_count(one) + rpc__files_count(two));
    size_t file = 4711;
    assert_true(rpc__files_by_symbol(all, "grpc.health.v1.Health", &file));
    assert_true(rpc__files_by_symbol(all, "dacm.v1.UploadRequest", &file));
    assert_false(rpc__files_by_symbol(one, "dacm.v1.UploadRequest", &file));
    rpc__files_free(one);
    rpc__files_free(two);
    rpc__files_free(all);
}

TEST(what_is_not_found_leaves_the_output_alone)
{
    const rpc_bytes set = grpc_set();
    rpc__files *files = index_of(&set, 1);
    size_t file = 4711;
    assert_false(rpc__files_by_name(files, "no.proto", &file));
    assert_false(rpc__files_by_symbol(files, "no.Such", &file));
    assert_false(rpc__files_by_extension(files, "no.Such", 1, &file));
    assert_int_equal(rpc__files_extensions(files, "no.Such", NULL), 0);
    assert_int_equal(file, 4711);
    rpc__files_free(files);
}

TEST(no_sets_are_an_empty_index)
{
    rpc__files *files = index_of(NULL, 0);
    size_t file;
    assert_int_equal(rpc__files_count(files), 0);
    assert_false(rpc__files_by_symbol(files, "a", &file));
    rpc__files_free(files);
}

TEST(a_set_cut_anywhere_but_between_files_is_refused)
{
    rpc_bytes set = grpc_set();
    size_t whole = 0;
    for (size_t size = 0; size < set.size; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, set.data, size);
        const rpc_bytes cut = rpc_bytes_of(copy, size);
        rpc__files *files = NULL;
        rpc_status status;
        rpc_code code = rpc__files_new(&cut, 1, &files, &status);
        if (code == RPC_OK) {
            whole++;
        } else {
            assert_int_equal(code, RPC_INVALID_ARGUMENT);
            assert_null(files);
            assert_string_equal(status.message,
                "descriptors: a descriptor set is damaged; make it with protoc "
                "--include_imports --descriptor_set_out");
        }
        rpc__files_free(files);
        free(copy);
    }
    assert_int_equal(whole, 8); /* after none to seven of eight files */
}

TEST(broken_sets_are_refused_or_indexed_but_never_read_beyond)
{
    rpc_bytes set = grpc_set();
    for (size_t at = 0; at < set.size; at++) {
        uint8_t *copy = malloc(set.size);
        memcpy(copy, set.data, set.size);
        copy[at] ^= (uint8_t)(1 + at % 255);
        const rpc_bytes broken = rpc_bytes_of(copy, set.size);
        rpc__files *files = NULL;
        if (rpc__files_new(&broken, 1, &files, NULL) == RPC_OK) {
            rpc_bytes *protos = calloc(rpc__files_count(files) + 1, sizeof *protos);
            for (size_t i = 0; i < rpc__files_count(files); i++)
                assert_in_range(rpc__files_closure(files, i, protos), 1, rpc__files_count(files));
            free(protos);
        }
        rpc__files_free(files);
        free(copy);
    }
}
