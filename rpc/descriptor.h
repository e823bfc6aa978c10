/* SPDX-License-Identifier: Apache-2.0 */
/** FileDescriptorSets of protoc, indexed: which file declares what. Not installed.
 *  Made once, then read by any thread. */
#ifndef DACM_RPC_DESCRIPTOR_H
#define DACM_RPC_DESCRIPTOR_H

#include "base.h"

typedef struct rpc__files rpc__files;

/** sets  FileDescriptorSets, borrowed for the index's life. A file that several have is taken
 *        from the first.
 *  INVALID_ARGUMENT when one is damaged, RESOURCE_EXHAUSTED without memory. */
RPC_MUST_USE rpc_code rpc__files_new(
    const rpc_bytes *sets, size_t set_count, rpc__files **ret, rpc_status *reterr);
/** NULL is allowed. */
void rpc__files_free(rpc__files *files);
size_t rpc__files_count(const rpc__files *files);

/** Names as in the .proto, without a leading dot. False: none has it. */
bool rpc__files_by_name(const rpc__files *files, const char *name, size_t *ret_file);
/** Of a message, field, oneof, enum, enum value, service, method or extension. */
bool rpc__files_by_symbol(const rpc__files *files, const char *symbol, size_t *ret_file);
bool rpc__files_by_extension(
    const rpc__files *files, const char *type, int32_t number, size_t *ret_file);
/** The numbers of all extensions of a message type; ret_numbers (may be NULL) has room for what
 *  was returned before. */
size_t rpc__files_extensions(const rpc__files *files, const char *type, int32_t *ret_numbers);

/** The file and all it depends on, each once, the file first: packed FileDescriptorProtos.
 *  ret_protos has room for rpc__files_count(). Returns how many, 0 without memory. */
size_t rpc__files_closure(const rpc__files *files, size_t file, rpc_bytes *ret_protos);

#endif
