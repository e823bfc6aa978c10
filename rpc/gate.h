/* SPDX-License-Identifier: Apache-2.0 */
/** The gate's measure, for rpc/ and its tests. Not installed; the contract is in rpc.h. */
#ifndef DACM_RPC_GATE_H
#define DACM_RPC_GATE_H

#include "rpc.h"

#define RPC__GATE_DEPTH_MAX   32 /* messages inside each other, the outermost counted */
#define RPC__GATE_ENTRIES_MAX 1000000
#define RPC__GATE_MEMORY_MAX  (16u << 20)
#define RPC__GATE_ALIGN       8 /* no member of a protobuf-c message asks for more */

/** rpc_gate_check() that also says what unpacking allocates: the sum over all allocations, each
 *  rounded up to RPC__GATE_ALIGN, nothing taken off for what protobuf-c frees on its way. Never
 *  below what protobuf_c_message_unpack() (1.4.1) asks its allocator for.
 *  limits may be NULL; a limit of 0 is the default above; depth_max is capped at the default. */
RPC_MUST_USE rpc_code rpc__gate_measure(const ProtobufCMessageDescriptor *descriptor,
    rpc_bytes packed, const rpc_gate_limits *limits, size_t *ret_memory, rpc_status *reterr);

#endif
