#include "sessions_call.h"

#include "banned.h"

static stele_status require(stele_str text, const char *name, stele_error *err)
{
    if (text.data != NULL && text.len > 0)
        return STELE_OK;
    return stele__store_fail(err, STELE_E_INPUT, "%s is required", name);
}

/* A key in a message: not more of it than a line can show. */
static int shown(stele_str text)
{
    return (int)(text.len < 60 ? text.len : 60);
}

stele_status stele__sessions_missing(const stele_session_key *key, stele_error *err)
{
    stele_str session = key->session_id;
    stele_str user = key->user_id;
    stele_str app = key->app_name;
    stele_status st = stele__store_fail(err, STELE_E_NOT_FOUND, "session not found");
    stele__store_hint(err, "\"%.*s\" of user \"%.*s\", application \"%.*s\": create it first",
                      shown(session), session.data, shown(user), user.data, shown(app), app.data);
    return st;
}

stele_status stele__sessions_check_app(stele_str app_name, stele_error *err)
{
    return require(app_name, "appName", err);
}

stele_status stele__sessions_check_user(const stele_session_user *user, stele_error *err)
{
    if (user == NULL)
        return stele__store_fail(err, STELE_E_INPUT, "user is NULL");
    stele_status st = require(user->app_name, "appName", err);
    return st == STELE_OK ? require(user->user_id, "userID", err) : st;
}

stele_status stele__sessions_check_key(const stele_session_key *key, stele_error *err)
{
    if (key == NULL)
        return stele__store_fail(err, STELE_E_INPUT, "key is NULL");
    stele_session_user user = {key->app_name, key->user_id};
    stele_status st = stele__sessions_check_user(&user, err);
    return st == STELE_OK ? require(key->session_id, "sessionID", err) : st;
}

stele_status stele__sessions_copy_key(stele__store_arena *arena, const stele_session_key *key,
                                      stele_session_key *ret_key, stele_error *err)
{
    ret_key->app_name = stele__store_copy(arena, key->app_name);
    ret_key->user_id = stele__store_copy(arena, key->user_id);
    ret_key->session_id = stele__store_copy(arena, key->session_id);
    if (ret_key->app_name.data == NULL || ret_key->user_id.data == NULL ||
        (key->session_id.data != NULL && ret_key->session_id.data == NULL))
        return stele__store_no_memory(err);
    return STELE_OK;
}
