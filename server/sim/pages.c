/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* Colours hold WCAG AA in both schemes; focus is never hidden. */
static const char style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--back:#eef1f5;--edge:#d5dae1;"
    "--line:#6b7480;--mark:#0b57d0;--on-mark:#fff;--bad:#a50e0e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--paper:#1b1f24;--back:#10141a;"
    "--edge:#3a414a;--line:#9aa3ad;--mark:#8ab4f8;--on-mark:#10141a;--bad:#ffb4ab}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--back);color:var(--ink);font:1.125rem/1.5 sans-serif}"
    "main{max-width:28rem;margin:6vh auto;padding:2rem 1.75rem;background:var(--paper);"
    "border:1px solid var(--edge);border-radius:.6rem}"
    "@media(max-width:30rem){body{background:var(--paper)}"
    "main{margin:0;padding:1.5rem 1.25rem;border:0}}"
    "h1{font-size:1.75rem;line-height:1.2;margin:0 0 .75rem}"
    "p{margin:.75rem 0}"
    "ul{margin:.75rem 0;padding-left:1.5rem}"
    "label{display:block;margin:1rem 0 .25rem;font-weight:bold}"
    "input{width:100%;padding:.6rem;font:inherit;color:inherit;background:transparent;"
    "border:1px solid var(--line);border-radius:.3rem}"
    "button{margin:1.5rem .75rem 0 0;padding:.6rem 1.5rem;font:inherit;font-weight:bold;"
    "color:var(--on-mark);background:var(--mark);border:2px solid var(--mark);"
    "border-radius:.3rem;cursor:pointer}"
    "button.other{color:var(--mark);background:transparent}"
    ":focus-visible{outline:3px solid var(--mark);outline-offset:3px}"
    ".problem{color:var(--bad);font-weight:bold}"
    "li{margin:.4rem 0}"
    "code{font-size:.9em}"
    "code,strong{overflow-wrap:anywhere}";

void sim_page_style_hash(char ret[64])
{
    uint8_t digest[32];
    char text[48];
    trust_sha256(rpc_bytes_str(style), digest);
    sodium_bin2base64(text, sizeof text, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
    snprintf(ret, 64, "'sha256-%s'", text);
}

/* Where a redirect URI leads, as a source of CSP; "" for what begins with no scheme. Addresses of
 * IPv6 are none there: any host of that port stands for them. */
static void source_of(const char *uri, char *ret, size_t room)
{
    size_t scheme = strspn(
        uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    *ret = '\0';
    if (uri[scheme] != ':')
        return;
    bool web = strncmp(uri, "http://", 7) == 0 || strncmp(uri, "https://", 8) == 0;
    const char *host = uri + scheme + 3;
    size_t size = web ? strcspn(host, "/?#") : 0;
    const char *bracket = web ? memchr(host, ']', size) : NULL;
    if (bracket) {
        size -= (size_t)(bracket + 1 - host);
        host = bracket + 1;
    }
    if (!web ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") < size)
        snprintf(ret, room, "%.*s:", (int)scheme, uri);
    else
        snprintf(ret, room, "%.*s://%s%.*s", (int)scheme, uri, bracket ? "*" : "", (int)size, host);
}

void sim_page_csp(const char *style_hash, const char *redirect_uri, char ret[SIM_CSP_MAX])
{
    char source[SIM_REDIRECT_MAX + 8] = "";
    if (redirect_uri)
        source_of(redirect_uri, source, sizeof source);
    snprintf(ret, SIM_CSP_MAX,
        "default-src 'none'; style-src %s; form-action 'self'%s%s; base-uri 'none'; "
        "frame-ancestors 'none'",
        style_hash, *source ? " " : "", source);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

typedef struct page {
    FILE *out;
    char *text;
    size_t size;
} page;

static void put(page *p, const char *html)
{
    if (p->out)
        fputs(html, p->out);
}

/* Foreign text, in an element or in a double-quoted attribute. */
static void put_text(page *p, const char *text)
{
    for (; p->out && *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", p->out);
            break;
        case '<':
            fputs("&lt;", p->out);
            break;
        case '>':
            fputs("&gt;", p->out);
            break;
        case '"':
            fputs("&quot;", p->out);
            break;
        case '\'':
            fputs("&#39;", p->out);
            break;
        default:
            fputc(*text, p->out);
        }
    }
}

static void put_strong(page *p, const char *text)
{
    put(p, "<strong>");
    put_text(p, text);
    put(p, "</strong>");
}

static void put_code(page *p, const char *text)
{
    put(p, "<code>");
    put_text(p, text);
    put(p, "</code>");
}

static void begin(page *p, const char *title)
{
    *p = (page){0};
    p->out = open_memstream(&p->text, &p->size);
    put(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta name=\"robots\" content=\"noindex\">\n<title>");
    put_text(p, title);
    put(p, "</title>\n<style>");
    put(p, style);
    put(p, "</style>\n</head>\n<body>\n<main>\n<h1>");
    put_text(p, title);
    put(p, "</h1>\n");
}

static char *end(page *p)
{
    put(p, "</main>\n</body>\n</html>\n");
    if (!p->out)
        return NULL;
    bool whole = !ferror(p->out);
    if (fclose(p->out) == 0 && whole)
        return p->text;
    free(p->text);
    return NULL;
}

static void put_hidden(page *p, const char *name, const char *value)
{
    if (!value)
        return;
    put(p, "<input type=\"hidden\" name=\"");
    put(p, name);
    put(p, "\" value=\"");
    put_text(p, value);
    put(p, "\">\n");
}

static void begin_form(page *p, const sim_form *form)
{
    put(p, "<form method=\"post\" action=\"");
    put_text(p, form->action);
    put(p, "\">\n");
    put_hidden(p, "request", form->query);
    put_hidden(p, "at", form->at);
    put_hidden(p, "csrf", form->csrf);
}

/* ---- pages ------------------------------------------------------------------------------------
 */

char *sim_page_message(const char *title, const char *text)
{
    page p;
    begin(&p, title);
    put(&p, "<p role=\"status\">");
    put_text(&p, text);
    put(&p, "</p>\n");
    return end(&p);
}

char *sim_page_login(
    const sim_form *form, const char *client_name, const char *username, const char *problem)
{
    page p;
    begin(&p, "Log in");
    put(&p, "<p>to continue to ");
    put_strong(&p, client_name);
    put(&p, "</p>\n<div id=\"problem\" role=\"alert\" aria-live=\"assertive\">");
    if (problem) {
        put(&p, "<p class=\"problem\">");
        put_text(&p, problem);
        put(&p, "</p>");
    }
    put(&p, "</div>\n");
    begin_form(&p, form);
    const char *marks = problem ? " aria-invalid=\"true\" aria-describedby=\"problem\"" : "";
    put(&p, "<label for=\"username\">User name</label>\n"
            "<input id=\"username\" name=\"username\" autocomplete=\"username\" required "
            "autocapitalize=\"none\" autocorrect=\"off\" spellcheck=\"false\" value=\"");
    put_text(&p, username);
    put(&p, *username ? "\"" : "\" autofocus");
    put(&p, marks);
    put(&p, ">\n<label for=\"password\">Password</label>\n"
            "<input id=\"password\" name=\"password\" type=\"password\" "
            "autocomplete=\"current-password\" required");
    put(&p, *username ? " autofocus" : "");
    put(&p, marks);
    put(&p, ">\n<button type=\"submit\">Log in</button>\n</form>\n");
    return end(&p);
}

static void put_scope(page *p, rpc_bytes scope)
{
    static const struct {
        const char *scope, *words;
    } known[] = {
        {"openid", "recognise you when you come back"},
        {"profile", "see your name"},
        {"offline_access", "go on while you are away"},
        {"seal.da", "use the avatars that you may use"},
        {"seal.km", "fetch key material for you"},
        {"seal.kp", "provide key material for you"},
    };
    put(p, "<li>");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!rpc_bytes_equal(scope, rpc_bytes_str(known[i].scope)))
            continue;
        put(p, known[i].words);
        put(p, "</li>\n");
        return;
    }
    put(p, "use ");
    char name[SIM_SCOPE_BYTES_MAX + 1];
    memcpy(name, scope.data, scope.size);
    name[scope.size] = '\0';
    put_code(p, name);
    put(p, "</li>\n");
}

static void put_details(page *p, const sim_details *details)
{
    static const char *const words[SIM_ACTIONS_MAX] = {"add", "find", "get", "change", "delete"};
    bool first = true;
    put(p, "<li>");
    for (unsigned i = 0; i < SIM_ACTIONS_MAX; i++) {
        if (!(details->actions & 1u << i))
            continue;
        put(p, first ? "" : ", ");
        put(p, words[i]);
        first = false;
    }
    if (*details->asset_id) {
        put(p, " the avatar ");
        put_code(p, details->asset_id);
        put(p, " and no other");
    } else {
        put(p, " any of the avatars that you may use");
    }
    put(p, "</li>\n");
}

char *sim_page_consent(const sim_form *form, const char *client_name, const char *user_name,
    const sim_auth_request *asked)
{
    page p;
    begin(&p, "Allow access?");
    put(&p, "<p>You are logged in as ");
    put_strong(&p, user_name);
    put(&p, ".</p>\n<p id=\"what\">");
    put_strong(&p, client_name);
    put(&p, " asks to:</p>\n<ul aria-labelledby=\"what\">\n");
    const char *at = asked->scope;
    for (rpc_bytes word = sim_words_next(&at); word.size; word = sim_words_next(&at))
        if (!asked->digital_asset || !rpc_bytes_equal(word, rpc_bytes_str("seal.da")))
            put_scope(&p, word); /* else the details say it more exactly */
    if (asked->digital_asset)
        put_details(&p, &asked->details);
    put(&p, "</ul>\n");
    begin_form(&p, form);
    put(&p, "<button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\n"
            "<button type=\"submit\" name=\"decision\" value=\"deny\" class=\"other\">Deny"
            "</button>\n</form>\n");
    return end(&p);
}

char *sim_page_logout(const sim_form *form, const char *user_name)
{
    page p;
    begin(&p, "Log out?");
    put(&p, "<p>You are logged in as ");
    put_strong(&p, user_name);
    put(&p, ".</p>\n");
    begin_form(&p, form);
    put(&p, "<button type=\"submit\">Log out</button>\n</form>\n");
    return end(&p);
}

void sim_answer_page(
    host_request *request, unsigned status, char *html, const char *csp, const sim_headers *headers)
{
    host_reply reply = {.status = html ? status : 0,
        .content_type = "text/html; charset=utf-8",
        .csp = csp,
        .body = html,
        .size = html ? strlen(html) : 0};
    if (headers) {
        reply.headers = headers->at;
        reply.header_count = headers->count;
    }
    host_request_answer(request, &reply);
}
