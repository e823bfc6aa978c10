/* SPDX-License-Identifier: Apache-2.0 */
/* One answer of an SKM-S. What it says is believed by its signature alone: TLS only keeps others
 * from hearing what is asked and from keeping answers back. */
#include "keyserver.h"
#include "cleanup.h"
#include "pins.h"

#include "skms/v1/signing_keys.pb-c.h"

#include <string.h>

#define ROOT_PATH "/skms.v1.SigningKeys/GetRoot"

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)
RPC_DEFINE_FREEP(pins_freep, trust_pins_roots *, trust_pins_roots_free)

dacm_code client__speaker(
    const dacm_trust *trust, const char *service, client_speaker *ret, dacm_error *reterr)
{
    RPC_CLEANUP(pins_freep) trust_pins_roots *roots = NULL;
    rpc_status why;
    if (trust_pins_list(trust->folder, &roots, &why) != TRUST_PINS_OK)
        return client__fail(reterr, DACM_LOCAL_FILE, "%s", why.message);
    const trust_pins_root *speaker = trust_pins_speaker(roots, service);
    if (!speaker)
        return client__fail(reterr, DACM_NO_KEY,
            "%s for '%.200s'; pin the root of its SKM-S (dacm trust add, --service)",
            roots->count == 0 ? "no SKM-S is pinned that could speak"
                              : "nothing says which of the pinned SKM-Ss speaks",
            service);
    snprintf(ret->issuer, sizeof ret->issuer, "%s", speaker->issuer);
    snprintf(ret->address, sizeof ret->address, "%s", speaker->address ? speaker->address : "");
    ret->sequence = speaker->sequence;
    return DACM_OK;
}

/* ---- one key set -------------------------------------------------------------------------------
 */

dacm_code client__keyset_ask(dacm_client *server, client_mailbox *mailbox, const char *path,
    const client_wanted_set *wanted, const client_speaker *speaker, int64_t timeout_ms,
    client_exchange **ret, dacm_error *reterr)
{
    Skms__V1__GetKeySetRequest request = SKMS__V1__GET_KEY_SET_REQUEST__INIT;
    request.val_service = (char *)(uintptr_t)wanted->service;
    request.purpose = wanted->purpose == DACM_KEYS_FOR_TOKENS
                          ? SKMS__V1__PURPOSE__PURPOSE_TOKENS
                          : SKMS__V1__PURPOSE__PURPOSE_MANIFESTS;
    request.have_root = speaker->sequence;
    const dacm_code code = client__exchange_open(
        server, mailbox, path, NULL, timeout_ms, ret, reterr);
    /* When it is not taken the call is over, and its end says why. */
    if (code == DACM_OK &&
        rpc_call_send_packed(client__exchange_call(*ret), &request.base) == RPC_SENT_OK)
        rpc_call_half_close(client__exchange_call(*ret));
    return code;
}

/* Statements in their order, then the set: as dacm_trust_update() takes them. */
static char *joined(const Skms__V1__KeySet *set)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return NULL;
    for (size_t i = 0; i < set->n_root_statements; i++)
        fprintf(stream, "%s\n", set->root_statements[i]);
    fprintf(stream, "%s\n", set->jws);
    const bool failed = ferror(stream) != 0;
    if (fclose(stream) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}

dacm_code client__keyset_take(const client_wanted_set *wanted, const client_speaker *speaker,
    rpc_message *answer, dacm_trust_change *ret, dacm_error *reterr)
{
    ProtobufCMessage *unpacked = NULL;
    rpc_status status = {.code = RPC_OK};
    if (rpc_message_unpack(answer, &skms__v1__key_set__descriptor, &unpacked, &status) != RPC_OK)
        return client__fail(
            reterr, DACM_INTERNAL, "the SKM-S's answer is malformed: %s", status.message);
    RPC_AUTOFREE char *text = joined((const Skms__V1__KeySet *)unpacked);
    return text ? client__trusted_answer(wanted->trust, rpc_bytes_str(text), speaker->issuer,
                      wanted->service, wanted->purpose, ret, reterr)
                : client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a key set");
}

/* ---- public ------------------------------------------------------------------------------------
 */

static dacm_code open_server(const dacm_trust *trust, const dacm_trust_server *server,
    const char *address, dacm_client **ret, dacm_error *reterr)
{
    const dacm_client_options options = {
        .target = address,
        .allow_plain_text = server->allow_plain_text,
        .ca_file = server->ca_file,
        .server_name = server->server_name,
        .timeout_ms = server->timeout_ms,
        .clock = trust->clock,
    };
    return client__new_keyserver(&options, NULL, ret, reterr);
}

/* The one message of a call, which the caller releases. */
static dacm_code one_answer(
    client_exchange *exchange, client_mailbox *mailbox, rpc_message **ret, dacm_error *reterr)
{
    dacm_error end = {.code = DACM_OK};
    size_t index = 0;
    client_event event;
    do
        event = client__wait(mailbox, &exchange, 1, CLIENT_STALL_MS, &index, ret, &end);
    while (event == CLIENT_EVENT_NONE || event == CLIENT_EVENT_WRITABLE);
    if (event == CLIENT_EVENT_MESSAGE)
        return DACM_OK;
    if (end.code == DACM_OK)
        return client__fail(reterr, DACM_INTERNAL, "the SKM-S gave no answer");
    if (reterr)
        *reterr = end;
    return end.code;
}

dacm_code dacm_trust_fetch(const dacm_trust *trust, const dacm_trust_server *server,
    const char *service, dacm_keys_for purpose, dacm_trust_change *ret, dacm_error *reterr)
{
    const client_wanted_set wanted = {trust, service, purpose};
    client_speaker speaker = {.sequence = 0};
    dacm_code code = client__speaker(trust, service, &speaker, reterr);
    if (code != DACM_OK)
        return code;
    const char *address = server->address ? server->address : speaker.address;
    if (!address[0])
        return client__fail(reterr, DACM_FAILED_PRECONDITION,
            "nobody said where '%.200s' answers; pin its root again with its address (dacm trust "
            "add --address)",
            speaker.issuer);
    RPC_CLEANUP(client_freep) dacm_client *connection = NULL;
    code = open_server(trust, server, address, &connection, reterr);
    if (code != DACM_OK)
        return code;
    client_mailbox mailbox;
    client_exchange *exchange = NULL;
    rpc_message *answer = NULL;
    client__mailbox_init(&mailbox);
    code = client__keyset_ask(connection, &mailbox, KEYS_GET_PATH, &wanted, &speaker,
        connection->timeout_ms, &exchange, reterr);
    if (code == DACM_OK)
        code = one_answer(exchange, &mailbox, &answer, reterr);
    if (code == DACM_OK)
        code = client__keyset_take(&wanted, &speaker, answer, ret, reterr);
    if (answer)
        rpc_message_release(answer);
    client__exchange_close(exchange);
    client__mailbox_done(&mailbox);
    return code;
}

dacm_code dacm_trust_fetch_root(const dacm_trust_server *server, char **ret, dacm_error *reterr)
{
    static const dacm_trust nobody = {.folder = NULL};
    RPC_CLEANUP(client_freep) dacm_client *connection = NULL;
    Skms__V1__GetRootRequest request = SKMS__V1__GET_ROOT_REQUEST__INIT;
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    if (!server->address)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "no SKM-S was named; give an address such as tls+tcp://localhost:7643");
    dacm_code code = open_server(&nobody, server, server->address, &connection, reterr);
    if (code == DACM_OK)
        code = client__unary(connection, ROOT_PATH, NULL, &request.base,
            &skms__v1__root__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    char *jwk = strdup(((const Skms__V1__Root *)reply)->jwk);
    rpc_message_release(message);
    if (!jwk)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a root");
    *ret = jwk;
    return DACM_OK;
}
