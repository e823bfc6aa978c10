/* SPDX-License-Identifier: Apache-2.0 */
/* media__answer_unpack(): what a worker that was taken over may send. What is taken can be packed,
 * and says the same then. Inputs are answers as they stand, filled up with zeros. */
#include "fuzz.h"
#include "wire_internal.h"

static void done(media_made *made)
{
    media_figures_done(&made->source);
    media_figures_done(&made->figures);
}

static void check_text(const char *text, size_t room)
{
    MUST(memchr(text, '\0', room));
    MUST(rpc_utf8_valid(rpc_bytes_str(text)));
    for (; *text; text++)
        MUST((uint8_t)*text >= 0x20 && *text != 0x7f);
}

static void check_figures(const media_figures *figures)
{
    MUST(figures->extensions_required.count <= MEDIA__NAMES_MAX);
    for (size_t i = 0; i < figures->extensions_required.count; i++)
        check_text(figures->extensions_required.list[i], MEDIA_NAME_BYTES_MAX + 1);
    check_text(figures->vrm, sizeof figures->vrm);
    check_text(figures->licence, sizeof figures->licence);
    check_text(figures->prohibits, sizeof figures->prohibits);
}

static void check_again(const media_made *made)
{
    static media__answer again, more;
    media_made other = {0};
    const rpc_status ok = {.code = RPC_OK};
    media__answer_pack(&ok, made, &again);
    MUST(again.code == RPC_OK);
    MUST(media__answer_unpack(&again, &other, NULL) == RPC_OK);
    media__answer_pack(&ok, &other, &more);
    MUST(memcmp(&again, &more, sizeof again) == 0);
    done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static media__answer answer;
    media_made made = {0};
    memset(&answer, 0, sizeof answer);
    memcpy(&answer, data, size < sizeof answer ? size : sizeof answer);
    const rpc_code code = media__answer_unpack(&answer, &made, NULL);
    MUST(code == RPC_OK || code == RPC_INTERNAL);
    if (code == RPC_OK) {
        check_text(made.media_type, sizeof made.media_type);
        check_text(made.why, sizeof made.why);
        check_figures(&made.source);
        check_figures(&made.figures);
        check_again(&made);
    }
    done(&made);
    return 0;
}
