/* SPDX-License-Identifier: Apache-2.0 */
/** Files through the sandboxed worker, one after the other, as dacm adapt and inspect need it. */
#ifndef DACM_CLI_MEDIA_WORK_H
#define DACM_CLI_MEDIA_WORK_H

#include "cli.h"
#include "media_worker.h"

/** --timeout, --memory; its input is the media_workers_options. */
extern const struct argp cli_media_argp;
/** Defaults of a command that a person waits for. */
media_workers_options cli_media_defaults(void);

/** With the program dacm-media beside this one. Exit code; media_workers_stop() *ret. */
int cli_media_start(const cli_context *cli, media_workers_options *options, media_workers **ret);
/** What the worker makes of a file. recipe NULL: inspects. Exit code; media_made_free() *ret. */
int cli_media_run(const cli_context *cli, media_workers *workers, const char *file,
    const char *recipe, media_made **ret);

/** Figures as JSON, and as a table: columns of one or two files. */
json_t *cli_figures_json(const media_figures *figures);
void cli_figures_print(const char *const *names, const media_figures *const *figures, size_t count);
/** What --animations and --morph-targets may name: as JSON, NULL where a worker lied about them,
 * and for people. file NULL: there is one only. */
json_t *cli_names_json(const media_made *made);
void cli_names_print(const media_made *made, const char *file);
/** What a manifest says of an adapted copy, its figures and licence in JSON (or empty), for people.
 */
void cli_variant_print(const char *figures, const char *licence);

#endif
