/* SPDX-License-Identifier: Apache-2.0 */
/* dacm user …: who may log in at the SIM-S. */
#include "sims.h"

#include "sim/v1/admin.pb-c.h"

#include <string.h>

enum { OPTION_NAME = 512, OPTION_GPSI, OPTION_NO_PASSWORD };

typedef struct user_arguments {
    operator_calls s;
    sims_password_source password;
    bool takes_gpsis, takes_nobody;
    char *username;
    const char *name;
    bool no_password;
    sims_list gpsis;
    size_t spelled; /* of gpsis: those that are ours to free */
} user_arguments;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    user_arguments *user = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &user->s;
        if (state->root_argp->children[1].argp)
            state->child_inputs[1] = &user->password;
        return 0;
    case OPTION_NAME:
        user->name = argument;
        return 0;
    case OPTION_GPSI:
        sims_add(&user->gpsis, argument, state);
        return 0;
    case OPTION_NO_PASSWORD:
        user->no_password = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!user->username && !user->takes_nobody)
            user->username = argument;
        else if (user->takes_gpsis)
            sims_add(&user->gpsis, argument, state);
        else
            argp_error(state, "what is '%s'?", argument);
        return 0;
    case ARGP_KEY_END:
        if (!user->username && !user->takes_nobody)
            argp_error(state, "which user?");
        if (user->takes_gpsis && user->gpsis.count == 0)
            argp_error(state, "which GPSI?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&operator_sims.argp, 0, NULL, 10}, {0}, {0}};
static const struct argp_child password_children[] = {
    {&operator_sims.argp, 0, NULL, 10}, {&sims_password_argp, 0, NULL, 5}, {0}};

static void print_user(const cli_context *cli, const Sim__V1__User *user)
{
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:o, s:b, s:b, s:I}", "username", user->username,
            "sub", user->sub, "name", user->name, "gpsis",
            operator_strings_json(user->gpsis, user->n_gpsis), "disabled", user->disabled,
            "has_password", user->has_password, "created_at", (json_int_t)user->created_at));
        return;
    }
    char at[32];
    cli_time_text(user->created_at, at);
    operator_print_line("user", user->username);
    operator_print_line("name", user->name);
    operator_print_line("sub", user->sub);
    operator_print_list("gpsi", user->gpsis, user->n_gpsis);
    operator_print_word("login", user->disabled       ? "disabled"
                                 : user->has_password ? "by password"
                                                      : "not before a password is set");
    operator_print_word("since", at);
}

/* External IDs are written as the GPSI that they mean. */
static int spell_gpsis(user_arguments *user)
{
    for (size_t i = 0; i < user->gpsis.count; i++) {
        char *gpsi = cli_gpsi_of(user->gpsis.texts[i]);
        if (!gpsi)
            return cli_fail_text(user->s.cli, DACM_RESOURCE_EXHAUSTED, "no memory");
        user->gpsis.texts[i] = gpsi;
        user->spelled = i + 1;
    }
    return CLI_EXIT_OK;
}

static int end(user_arguments *user, int code)
{
    for (size_t i = 0; i < user->spelled; i++)
        free(user->gpsis.texts[i]);
    operator_done(&user->s);
    return code;
}

static int update(user_arguments *user, const Sim__V1__UpdateUserRequest *request)
{
    Sim__V1__User *reply = NULL;
    int code = operator_call(
        &user->s, "UpdateUser", &request->base, &sim__v1__user__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_user(user->s.cli, reply);
    return end(user, code);
}

int cli_user_add(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"name", OPTION_NAME, "TEXT", 0, "what people call the user", 1},
        {"gpsi", OPTION_GPSI, "GPSI", 0, "is this UE's (or local@domain); may be repeated", 1},
        {"no-password", OPTION_NO_PASSWORD, NULL, 0, "none yet: the user cannot log in", 1}, {0}};
    static const struct argp argp = {options, parse, "USERNAME",
        "Adds a user, who may then log in.\vThe password is asked for on the terminal, or read "
        "from where an option says; it never stands in the command line.",
        password_children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    char none[] = "", *password = NULL;
    int code = cli_parse(&argp, "dacm user add", argc, argv, &user);
    if (code >= 0)
        return code;
    if ((code = spell_gpsis(&user)) != CLI_EXIT_OK ||
        (!user.no_password &&
            (code = sims_password(cli, &user.password, user.username, &password)) != CLI_EXIT_OK))
        return end(&user, code);
    Sim__V1__CreateUserRequest request = SIM__V1__CREATE_USER_REQUEST__INIT;
    Sim__V1__User *reply = NULL;
    request.username = user.username;
    request.name = user.name ? (char *)(uintptr_t)user.name : none;
    request.password = password ? password : none;
    request.gpsis = user.gpsis.texts;
    request.n_gpsis = user.gpsis.count;
    code = operator_call(&user.s, "CreateUser", &request.base, &sim__v1__user__descriptor, &reply);
    sims_wipe(password);
    if (code == CLI_EXIT_OK)
        print_user(cli, reply);
    return end(&user, code);
}

int cli_user_show(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse, "USERNAME", "What the SIM-S knows of a user.", children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm user show", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__GetUserRequest request = SIM__V1__GET_USER_REQUEST__INIT;
    Sim__V1__User *reply = NULL;
    request.username = user.username;
    code = operator_call(&user.s, "GetUser", &request.base, &sim__v1__user__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_user(cli, reply);
    return end(&user, code);
}

static void list_user(const cli_context *cli, const Sim__V1__User *user)
{
    if (cli->json) {
        print_user(cli, user);
        return;
    }
    rpc_text_printable(user->username);
    printf("%-20s %-9s", user->username,
        user->disabled       ? "disabled"
        : user->has_password ? ""
                             : "no login");
    for (size_t i = 0; i < user->n_gpsis; i++) {
        rpc_text_printable(user->gpsis[i]);
        printf(" %s", user->gpsis[i]);
    }
    putchar('\n');
}

int cli_user_ls(cli_context *cli, int argc, char **argv)
{
    enum { PAGE = 1000 };
    static const struct argp argp = {NULL, parse, NULL, "Lists users.", children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}, .takes_nobody = true};
    char after[256] = "";
    int code = cli_parse(&argp, "dacm user ls", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__ListUsersRequest request = SIM__V1__LIST_USERS_REQUEST__INIT;
    request.after = after;
    request.page_size = PAGE;
    for (bool more = true; more;) {
        Sim__V1__ListUsersResponse *reply = NULL;
        code = operator_call(
            &user.s, "ListUsers", &request.base, &sim__v1__list_users_response__descriptor, &reply);
        if (code != CLI_EXIT_OK)
            break;
        for (size_t i = 0; i < reply->n_users; i++)
            list_user(cli, reply->users[i]);
        more = reply->more && reply->n_users &&
               rpc_text_copy(after, sizeof after, reply->users[reply->n_users - 1]->username);
        rpc_arena_reset(user.s.arena);
    }
    return end(&user, code);
}

int cli_user_passwd(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME",
        "Sets a user's password, and logs the user out everywhere.", password_children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    char *password = NULL;
    int code = cli_parse(&argp, "dacm user passwd", argc, argv, &user);
    if (code >= 0)
        return code;
    if ((code = sims_password(cli, &user.password, user.username, &password)) != CLI_EXIT_OK)
        return code;
    Sim__V1__UpdateUserRequest request = SIM__V1__UPDATE_USER_REQUEST__INIT;
    request.username = user.username;
    request.password = password;
    code = update(&user, &request);
    sims_wipe(password);
    return code;
}

int cli_user_map(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME GPSI...",
        "The user is the one of these UEs: avatars are given to GPSIs.", children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}, .takes_gpsis = true};
    int code = cli_parse(&argp, "dacm user map", argc, argv, &user);
    if (code >= 0)
        return code;
    if ((code = spell_gpsis(&user)) != CLI_EXIT_OK)
        return end(&user, code);
    Sim__V1__UpdateUserRequest request = SIM__V1__UPDATE_USER_REQUEST__INIT;
    request.username = user.username;
    request.map_gpsis = user.gpsis.texts;
    request.n_map_gpsis = user.gpsis.count;
    return update(&user, &request);
}

int cli_user_unmap(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME GPSI...",
        "The user is no longer the one of these UEs, and is logged out everywhere.", children, NULL,
        NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}, .takes_gpsis = true};
    int code = cli_parse(&argp, "dacm user unmap", argc, argv, &user);
    if (code >= 0)
        return code;
    if ((code = spell_gpsis(&user)) != CLI_EXIT_OK)
        return end(&user, code);
    Sim__V1__UpdateUserRequest request = SIM__V1__UPDATE_USER_REQUEST__INIT;
    request.username = user.username;
    request.unmap_gpsis = user.gpsis.texts;
    request.n_unmap_gpsis = user.gpsis.count;
    return update(&user, &request);
}

int cli_user_disable(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME",
        "The user cannot log in until enabled again; what is under way ends.", children, NULL,
        NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm user disable", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__UpdateUserRequest request = SIM__V1__UPDATE_USER_REQUEST__INIT;
    request.username = user.username;
    request.disabled = SIM__V1__SWITCH__SWITCH_ON;
    return update(&user, &request);
}

int cli_user_enable(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse, "USERNAME", "The user may log in again.", children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm user enable", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__UpdateUserRequest request = SIM__V1__UPDATE_USER_REQUEST__INIT;
    request.username = user.username;
    request.disabled = SIM__V1__SWITCH__SWITCH_OFF;
    return update(&user, &request);
}

static int tell_done(const user_arguments *user, const char *what)
{
    if (user->s.cli->json)
        cli_print_json(json_pack("{s:s, s:s}", "username", user->username, "done", what));
    else
        printf("%s: %s\n", user->username, what);
    return CLI_EXIT_OK;
}

int cli_user_logout(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME",
        "Ends the user's sessions and grants, and revokes the tokens; the user may log in again.",
        children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm user logout", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__EndSessionsRequest request = SIM__V1__END_SESSIONS_REQUEST__INIT;
    Sim__V1__EndSessionsResponse *reply = NULL;
    request.username = user.username;
    code = operator_call(
        &user.s, "EndSessions", &request.base, &sim__v1__end_sessions_response__descriptor, &reply);
    return end(&user, code == CLI_EXIT_OK ? tell_done(&user, "logged out") : code);
}

int cli_user_rm(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "USERNAME",
        "Removes a user for good: a later user of that name is another one.", children, NULL, NULL};
    user_arguments user = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm user rm", argc, argv, &user);
    if (code >= 0)
        return code;
    Sim__V1__DeleteUserRequest request = SIM__V1__DELETE_USER_REQUEST__INIT;
    Sim__V1__DeleteUserResponse *reply = NULL;
    request.username = user.username;
    code = operator_call(
        &user.s, "DeleteUser", &request.base, &sim__v1__delete_user_response__descriptor, &reply);
    return end(&user, code == CLI_EXIT_OK ? tell_done(&user, "removed") : code);
}
