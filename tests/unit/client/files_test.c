/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned entries_in(const char *folder)
{
    unsigned count = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream));)
        count += entry->d_name[0] != '.';
    closedir(stream);
    return count;
}

TEST(output_that_is_not_committed_leaves_nothing)
{
    char path[4096];
    const char *folder = test_tmpdir();
    snprintf(path, sizeof path, "%s/out", folder);
    client_output output = {.fd = -1};
    assert_int_equal(client__output_open(&output, path, 10, NULL), DACM_OK);
    assert_int_equal(client__output_write(&output, 5, rpc_bytes_str("abc"), NULL), DACM_OK);
    client__output_done(&output);
    assert_int_equal(entries_in(folder), 0);
}

TEST(output_replaces_the_old_file_only_at_commit_and_is_private)
{
    char path[4096], text[8] = "";
    const char *folder = test_tmpdir();
    struct stat found;
    snprintf(path, sizeof path, "%s/out", folder);
    assert_int_equal(client__write_file(path, rpc_bytes_str("old"), NULL), DACM_OK);
    client_output output = {.fd = -1};
    assert_int_equal(client__output_open(&output, path, 3, NULL), DACM_OK);
    assert_int_equal(client__output_write(&output, 0, rpc_bytes_str("new"), NULL), DACM_OK);
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(text, 1, 7, file), 3);
    fclose(file);
    assert_string_equal(text, "old");
    assert_int_equal(client__output_commit(&output, NULL), DACM_OK);
    client__output_done(&output);
    file = fopen(path, "r");
    assert_int_equal(fread(text, 1, 7, file), 3);
    fclose(file);
    assert_string_equal(text, "new");
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(entries_in(folder), 1);
}

TEST(output_in_a_folder_that_is_not_there_is_a_local_file_error)
{
    client_output output = {.fd = -1};
    dacm_error error;
    assert_int_equal(client__output_open(&output, "/nowhere/at/all", 1, &error), DACM_LOCAL_FILE);
    assert_int_equal(error.code, DACM_LOCAL_FILE);
    assert_int_equal(output.fd, -1);
}

static dacm_client make_client(char *folder)
{
    dacm_client client = {.state_dir = folder};
    pthread_mutex_init(&client.state_lock, NULL);
    return client;
}

TEST(version_below_the_highest_seen_is_refused_and_nothing_changes)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/state", test_tmpdir());
    dacm_client client = make_client(folder);
    dacm_error error;
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 5, NULL), DACM_OK);
    assert_int_equal(
        client__state_advance(&client, "https://a/", "x", 4, &error), DACM_BAD_SIGNATURE);
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 5, NULL), DACM_OK);
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 6, NULL), DACM_OK);
    assert_int_equal(
        client__state_advance(&client, "https://a/", "x", 5, NULL), DACM_BAD_SIGNATURE);
}

TEST(versions_of_other_assets_and_issuers_are_their_own)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/state", test_tmpdir());
    dacm_client client = make_client(folder);
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 5, NULL), DACM_OK);
    assert_int_equal(client__state_advance(&client, "https://a/", "y", 1, NULL), DACM_OK);
    assert_int_equal(client__state_advance(&client, "https://b/", "x", 1, NULL), DACM_OK);
}

TEST(damaged_version_file_is_an_error_not_a_fresh_start)
{
    char folder[4096], path[8192];
    snprintf(folder, sizeof folder, "%s/state", test_tmpdir());
    dacm_client client = make_client(folder);
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 5, NULL), DACM_OK);
    DIR *stream = opendir(folder);
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (strstr(entry->d_name, ".version")) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            assert_int_equal(client__write_file(path, rpc_bytes_str("5x\n"), NULL), DACM_OK);
        }
    closedir(stream);
    assert_int_equal(client__state_advance(&client, "https://a/", "x", 9, NULL), DACM_LOCAL_FILE);
}

TEST(external_id_is_told_from_a_gpsi)
{
    bool external = true;
    assert_int_equal(client__check_user("msisdn-4915112345678", &external, NULL), DACM_OK);
    assert_false(external);
    assert_int_equal(client__check_user("ann@example.com", &external, NULL), DACM_OK);
    assert_true(external);
    assert_int_equal(client__check_user("extid-ann@example.com", &external, NULL), DACM_OK);
    assert_false(external);
    assert_int_equal(client__check_user("ann", &external, NULL), DACM_INVALID_ARGUMENT);
    assert_int_equal(client__check_user(NULL, &external, NULL), DACM_INVALID_ARGUMENT);
}
