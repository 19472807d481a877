#include "sessions_internal.h"

#include "banned.h"

static stele_status require(stele_str text, const char *name, stele_error *err)
{
    if (text.data != NULL && text.len > 0)
        return STELE_OK;
    return stele__store_fail(err, STELE_E_INPUT, "%s is required", name);
}

stele_status stele__sessions_check_app(stele_str app_name, stele_error *err)
{
    return require(app_name, "appName", err);
}

stele_status stele__sessions_check_user(const stele_session_user *user, stele_error *err)
{
    stele_status st = require(user->app_name, "appName", err);
    return st == STELE_OK ? require(user->user_id, "userID", err) : st;
}

stele_status stele__sessions_check_key(const stele_session_key *key, stele_error *err)
{
    stele_session_user user = {key->app_name, key->user_id};
    stele_status st = stele__sessions_check_user(&user, err);
    return st == STELE_OK ? require(key->session_id, "sessionID", err) : st;
}
