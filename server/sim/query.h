/* SPDX-License-Identifier: Apache-2.0 */
/** What OAuth adds to queries and forms: nothing twice, lists of words, and writing them. Pure. */
#ifndef SIM_QUERY_H
#define SIM_QUERY_H

#include "http.h"

#define SIM_QUERY_BYTES_MAX 16384u

/** Readable, and no parameter there twice (RFC 6749 3.1, 3.2)? */
bool sim_params_sound(const host_params *params);
/** NULL when it is absent, or not there exactly once; also when it is empty, which RFC 6749 3.1
 *  takes for absent. */
const char *sim_param(const host_params *params, const char *name);

/** Percent-encodes text as a value; returns its bytes, and writes them, without a NUL, when ret is
 *  not NULL. */
size_t sim_percent_encode(const char *text, char *ret);
/** uri with parameters behind it: &name=value, ?name=value where it has no query yet. pairs: names
 *  and values in turn, NULL-terminated; a NULL value leaves its name out. free() it; NULL when
 *  memory is short. */
char *sim_uri_with(const char *uri, const char *const *pairs);

/** Lists of words with blanks between, as `scope`. */
bool sim_words_have(const char *words, const char *word);
/** Is each word of words one of those in all? */
bool sim_words_within(const char *words, const char *all);
/** The next word from *at on, which moves behind it; size 0: there is none. */
rpc_bytes sim_words_next(const char **at);
/** The words with one blank between, each once, in their order; false when they do not fit. */
RPC_MUST_USE bool sim_words_copy(const char *words, char *ret, size_t room);

#endif
