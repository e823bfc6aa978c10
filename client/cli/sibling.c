/* SPDX-License-Identifier: Apache-2.0 */
#include "beside.h"
#include "cli.h"

dacm_code cli_sibling(const char *program, char *ret, size_t size, dacm_error *reterr)
{
    *reterr = (dacm_error){.code = DACM_LOCAL_FILE};
    if (!rpc_path_beside(program, ret, size)) {
        snprintf(reterr->message, sizeof reterr->message, "cannot find this program's own folder");
        return reterr->code;
    }
    if (access(ret, X_OK) == 0)
        return DACM_OK;
    snprintf(reterr->message, sizeof reterr->message,
        "there is no program '%.300s'; build the target %.40s", ret, program);
    return reterr->code;
}
