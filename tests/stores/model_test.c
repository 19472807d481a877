/*
 * The store against a model of it: operations by chance, of the store and of a program that writes the
 * tables as the peer does, and after each of them what reads answer against what the model says.
 *
 * STELE_MODEL_SEED repeats one run, STELE_MODEL_RUNS makes that many from it on (or from 1),
 * STELE_MODEL_STEPS sets their length, STELE_MODEL_TRACE prints the operations.
 */
#include "session_model.h"

stele_sessions *tried;
static stele_sessions *stores[2]; /* as of two processes */

static void must_get(int key, const model_read *read, const stele_session_get_options *options)
{
    stele_session *session = NULL;
    stele_session_key k = model_key(key);
    stele_status st = stele_sessions_get(tried, &k, options, &session, &err);
    stele_status wanted = model_seen(key) != NULL ? STELE_OK : STELE_E_NOT_FOUND;
    if (st != wanted)
        mismatch("get of %d answers %s, not %s", key, stele_status_name(st),
                 stele_status_name(wanted));
    model.pending &= ~(1U << key);
    model_learn();
    if (st == STELE_OK)
        check_session(session, key, read);
    stele_session_free(session);
}

static void get_all(int key)
{
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.event_num = -1;
    must_get(key, &(model_read){.num = -1, .since = NO_TIME}, &options);
}

/* Around the times of events, their own and the tables', and around what they are looked at in. */
static stele_ts some_time(int key)
{
    static int events[EVENTS];
    size_t count = model_events(key, events);
    if (count == 0 || chance(10))
        return sql_now() + (chance(50) ? 60 : -60) * MINUTE;
    if (model.track_count > 0 && chance(30))
        for (int i = 0; i < 20; i++) {
            const model_track *track = &model.tracks[pick((uint32_t)model.track_count)];
            if (track->key == key && track->gone == 0)
                return track->at - pick(2);
        }
    /* Rather of one whose own time is later than its place. */
    const model_event *event = &model.events[events[pick((uint32_t)count)]];
    for (int i = 0; i < 4 && event->own <= event->at; i++)
        event = &model.events[events[pick((uint32_t)count)]];
    stele_ts near = event->own != NO_TIME && chance(60) ? event->own : event->at;
    static const int64_t moves[] = {0, 0, 0, 1, -1, SLACK + 1, -SLACK - 1, 2 * MINUTE, -2 * MINUTE};
    return near + moves[pick(9)];
}

static void choose_tracks(stele_session_get_options *options, model_read *read)
{
    static stele_str names[TRACKS + 1];
    if (chance(60))
        return;
    if (chance(30)) {
        options->no_tracks = read->no_tracks = true;
        return;
    }
    for (int i = 0; i < TRACKS; i++) {
        if (!chance(50))
            continue;
        names[options->track_count++] = text_of(track_names[i]);
        read->track_set |= 1U << i;
    }
    names[options->track_count++] = text_of("unheard of");
    read->track_set |= 1U << TRACKS;
    options->tracks = names;
}

static void try_get(int key)
{
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    model_read read = {.since = NO_TIME};
    settle();
    model_learn();
    if (chance(70))
        options.event_num = read.num = chance(15) ? -1 : 1 + (int)pick(chance(60) ? 3 : 20);
    if (chance(50)) {
        read.since = some_time(key);
        options.event_time = stele_ts_v(read.since);
    }
    options.only_meta = read.only_meta = chance(10);
    choose_tracks(&options, &read);
    log_op("get %d, %d events since %lld%s", key, read.num,
           read.since == NO_TIME ? 0LL : (long long)read.since, read.only_meta ? ", meta" : "");
    must_get(key, &read, &options);
}

static void try_page(int key)
{
    static int events[EVENTS];
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    model_read read = {.since = NO_TIME};
    options.page_limit = 1 + pick(12);
    read.page_limit = (int)options.page_limit;
    settle();
    model_learn();
    size_t count = model_events(key, events);
    if (count > 0 && chance(50)) {
        const model_event *before = &model.events[events[pick((uint32_t)count)]];
        options.before.created_at = read.before_at = before->at;
        options.before.row_id = read.before_row = before->row;
    } else {
        options.page_offset = chance(70) ? pick(20) : 0;
        read.page_offset = (int)options.page_offset;
    }
    choose_tracks(&options, &read);
    log_op("page of %d: %d after %d, before row %lld", key, read.page_limit, read.page_offset,
           (long long)read.before_row);
    must_get(key, &read, &options);
}

/* From the newest back to the first. */
static void try_pages(int key)
{
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    model_read read = {.since = NO_TIME};
    stele_session_key k = model_key(key);
    options.page_limit = 1 + pick(7);
    read.page_limit = (int)options.page_limit;
    log_op("all pages of %d by %d", key, read.page_limit);
    for (int i = 0; model_seen(key) != NULL && i < 40; i++) {
        stele_session *session = NULL;
        if (stele_sessions_get(tried, &k, &options, &session, &err) != STELE_OK)
            mismatch("page: %s", err.message);
        model.pending &= ~(1U << key);
        model_learn();
        check_session(session, key, &read);
        bool more = session->event_count > 0;
        if (more) {
            options.before.created_at = read.before_at = session->events[0].created_at;
            options.before.row_id = read.before_row = session->events[0].row_id;
        }
        stele_session_free(session);
        if (!more)
            return;
    }
}

/* ---- lists ------------------------------------------------------------------------------------- */

static int newer(const void *a, const void *b)
{
    const model_state *left = model_seen(*(const int *)a);
    const model_state *right = model_seen(*(const int *)b);
    if (left->updated != right->updated)
        return left->updated > right->updated ? -1 : 1;
    return right->key - left->key; /* as their ids */
}

static size_t listed(int user, int *ret)
{
    size_t count = 0;
    for (int key = 0; key < KEYS; key++)
        if (model_user(key) == user && model_seen(key) != NULL)
            ret[count++] = key;
    qsort(ret, count, sizeof *ret, newer);
    return count;
}

static void check_list(const stele_session_list *list, int user, size_t offset, size_t limit,
                       const model_read *read)
{
    int keys[KEYS];
    size_t count = listed(user, keys);
    count = count > offset ? count - offset : 0;
    if (limit > 0 && count > limit)
        count = limit;
    if (list->count != count)
        mismatch("%zu sessions are listed, not %zu", list->count, count);
    for (size_t i = 0; i < count; i++) {
        if (list->items[i].status != STELE_OK)
            mismatch("session %zu of the list: %s", i, list->items[i].message);
        check_session(&list->items[i].session, keys[offset + i], read);
    }
}

static void try_list(int key)
{
    stele_session_list_options options = STELE_SESSION_LIST_OPTIONS_INIT;
    stele_session_user user = user_of(model_key(key).user_id.data);
    model_read read = {.since = NO_TIME};
    settle();
    model_learn();
    bool by_cursor = chance(40);
    options.limit = chance(60) ? 1 + pick(3) : 0;
    options.offset = by_cursor || chance(50) ? 0 : pick(4);
    options.only_meta = read.only_meta = chance(30);
    if (chance(50))
        options.event_num = read.num = chance(20) ? -1 : 1 + (int)pick(6);
    if (chance(20)) {
        read.since = some_time(key);
        options.event_time = stele_ts_v(read.since);
    }
    log_op("list of %s, %u after %u%s, %d events, since %lld", user.user_id.data, options.limit,
           options.offset, by_cursor ? " by cursor" : "", read.num,
           read.since == NO_TIME ? 0LL : (long long)read.since);
    for (size_t offset = options.offset;;) {
        stele_session_list *list = NULL;
        if (stele_sessions_list(tried, &user, &options, &list, &err) != STELE_OK)
            mismatch("list: %s", err.message);
        check_list(list, model_user(key), offset, options.limit, &read);
        offset += list->count;
        bool more = by_cursor && options.limit > 0 && list->count > 0;
        if (more) {
            const stele_session *last = &list->items[list->count - 1].session;
            options.after_updated_at.has = true;
            options.after_updated_at.v = last->updated_at;
            int keys[KEYS];
            (void)listed(model_user(key), keys);
            options.after_session_id = model_key(keys[offset - 1]).session_id;
        }
        stele_session_list_free(list);
        if (!more)
            return;
    }
}

/* ---- events around one, tracks, summaries -------------------------------------------------------- */

static bool is_message(const model_event *event, unsigned roles)
{
    return (event->kind == KIND_USER && (roles & 1) != 0) ||
           (event->kind == KIND_ASSISTANT && (roles & 2) != 0);
}

static void try_window(int key)
{
    static int events[EVENTS];
    static int wanted[EVENTS];
    settle();
    model_learn();
    size_t count = model_events(key, events);
    const model_state *state = model_seen(key);
    for (size_t i = 0; i < count; i++)
        if (model.events[events[i]].kind >= KIND_DELTA_USER)
            return; /* whether these are messages is not told */
    unsigned roles = chance(60) ? 3 : 1 + pick(2);
    stele_str names[2];
    size_t role_count = 0;
    if (roles != 3 || chance(50)) {
        if (roles & 1)
            names[role_count++] = text_of("user");
        if (roles & 2)
            names[role_count++] = text_of("assistant");
    }
    uint32_t before = pick(6);
    uint32_t after = pick(6);
    size_t at = count > 0 ? pick((uint32_t)count) : 0;
    for (int i = 0; count > 0 && i < 3 && !is_message(&model.events[events[at]], roles); i++)
        at = pick((uint32_t)count);
    const model_event *anchor = count > 0 ? &model.events[events[at]] : NULL;
    const char *id = anchor != NULL && anchor->id[0] != '\0' ? anchor->id : "nothing";
    bool found = state != NULL && strcmp(id, "nothing") != 0 && is_message(anchor, roles);
    size_t messages = 0;
    size_t place = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_message(&model.events[events[i]], roles))
            continue;
        place = i == at ? messages : place;
        wanted[messages++] = events[i];
    }
    log_op("window of %d around \"%s\", %u before, %u after, roles %u", key, id, before, after,
           roles);
    stele_session_events *got = NULL;
    size_t got_place = 0;
    stele_session_key k = model_key(key);
    stele_status st = stele_sessions_window(tried, &k, text_of(id), before, after, names,
                                            role_count, &got, &got_place, &err);
    if (st != (found ? STELE_OK : STELE_E_NOT_FOUND))
        mismatch("window answers %s", stele_status_name(st));
    if (!found)
        return;
    size_t first = place > before ? place - before : 0;
    size_t end = messages - place - 1 > after ? place + after + 1 : messages;
    check_events("window", got->events, got->count, wanted + first, end - first);
    if (got_place != place - first)
        mismatch("the anchor is at %zu, not %zu", got_place, place - first);
    stele_session_events_free(got);
}

static void try_get_track(int key)
{
    static int wanted[EVENTS];
    int track = (int)pick(TRACKS);
    uint32_t limit = chance(50) ? pick(5) : 0;
    stele_opt_ts after = {0};
    stele_session_key k = model_key(key);
    stele_session_events *got = NULL;
    for (size_t i = 0; i < model.track_count && chance(90); i++)
        if (model.tracks[i].key == key && chance(20))
            after = (stele_opt_ts){true, model.tracks[i].at - pick(2)};
    log_op("track %d of %d, the last %u after %lld", track, key, limit, (long long)after.v);
    stele_status st =
        stele_sessions_get_track(tried, &k, text_of(track_names[track]), after, limit, &got, &err);
    if (st != STELE_OK)
        mismatch("get_track: %s", err.message);
    model.pending &= ~(1U << key);
    model_learn();
    size_t count = model_tracks(key, track, after.has ? after.v : NO_TIME, (int)limit, wanted);
    check_tracks("get_track", got->events, got->count, wanted, count);
    stele_session_events_free(got);
}

static const model_summary *find_summary(int key, int filter)
{
    const model_state *state = model_seen(key);
    for (size_t i = 0; state != NULL && i < model.summary_count; i++) {
        const model_summary *summary = &model.summaries[i];
        if (summary->key == key && summary->gone == 0 && summary->filter == filter &&
            summary->updated >= state->created)
            return summary;
    }
    return NULL;
}

static void try_summary_text(int key)
{
    int filter = (int)pick(FILTERS);
    char *text = NULL;
    char wanted[32];
    stele_session_key k = model_key(key);
    const model_summary *summary = find_summary(key, filter);
    if (summary == NULL)
        summary = find_summary(key, 0);
    log_op("summary of %d under \"%s\"", key, filter_keys[filter]);
    stele_status st = stele_sessions_get_summary_text(tried, &k, filter_keys[filter], &text, &err);
    if (st != (summary != NULL ? STELE_OK : STELE_E_NOT_FOUND))
        mismatch("get_summary_text answers %s", stele_status_name(st));
    if (summary != NULL) {
        snprintf(wanted, sizeof wanted, "text %d", summary->mark);
        if (strcmp(text, wanted) != 0)
            mismatch("the summary is \"%s\", not \"%s\"", text, wanted);
    }
    stele_free(text);
}

/* ---- runs --------------------------------------------------------------------------------------- */

static void one_step(int key)
{
    static const struct {
        uint32_t weight;
        void (*run)(int key);
        bool silent; /* nothing is read afterwards, so that appends may wait in their lane */
    } steps[] = {
        {5, try_create, false},      {5, try_get_or_create, false}, {26, try_append, true},
        {7, try_append_track, true}, {8, try_update_state, false},  {5, try_shared_state, true},
        {5, try_delete, false},      {6, try_restore, false},       {6, try_truncate_after, false},
        {1, try_truncate, false},    {18, try_get, true},           {8, try_page, true},
        {3, try_pages, true},        {8, try_list, true},           {8, try_window, true},
        {4, try_get_track, true},    {3, try_summary_text, true},   {1, try_refused, true},
    };
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        sum += steps[i].weight;
    uint32_t what = pick(sum + 30);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (what < steps[i].weight) {
            steps[i].run(key);
            if (!steps[i].silent || chance(40))
                get_all(key);
            return;
        }
        what -= steps[i].weight;
    }
    if (chance(90)) {
        settle();
        model_learn();
        peer_writes(key);
    } else {
        try_cleanup();
    }
    model_learn();
    for (int i = 0; i < KEYS; i++)
        get_all(i);
    if (chance(30))
        try_list(key);
}

static void run(uint64_t seed, int steps)
{
    seed_chance(seed);
    begin_log(seed);
    memset(&model, 0, sizeof model);
    stele_sessions_options options = world_options();
    model.soft = world_is_soft();
    model.ttl = chance(30) ? 60 * MINUTE : 0;
    options.session_ttl_ms = model.ttl / 1000;
    options.lazy_ttl = chance(50);
    options.strict = model.strict = chance(25);
    options.idempotent_events = model.idempotent = chance(35);
    options.event_limit = chance(50) ? 0 : chance(30) ? -1 : 1 + (int)pick(12);
    model.event_limit = options.event_limit == 0 ? 1000 : options.event_limit;
    options.event_id_index = chance(30);
    options.recent_index = chance(30);
    options.undeleted_index = chance(30);
    for (int i = 0; i < 2; i++)
        stores[i] = open_store(&options);
    tried = stores[0];
    open_sql();
    log_op("ttl %d%s, strict %d, idempotent %d, limit %d", model.ttl != 0,
           options.lazy_ttl ? " lazy" : "", model.strict, model.idempotent, model.event_limit);
    for (int step = 1; step <= steps; step++) {
        log_step(step);
        if (!world_is_async()) /* there the other one has queues of its own */
            tried = stores[pick(2)];
        one_step((int)pick(KEYS));
    }
    settle();
    for (int key = 0; key < KEYS; key++)
        get_all(key);
    close_sql();
    close_store(stores[0]);
    close_store(stores[1]);
}

static uint64_t asked(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_model(void **state)
{
    (void)state;
    bool one = getenv("STELE_MODEL_SEED") != NULL && getenv("STELE_MODEL_RUNS") == NULL;
    uint64_t first = asked("STELE_MODEL_SEED", 1);
    uint64_t runs = one ? 1 : asked("STELE_MODEL_RUNS", 6);
    for (uint64_t seed = first; seed < first + runs; seed++) {
        assert_int_equal(clean_store(NULL), 0);
        run(seed, (int)asked("STELE_MODEL_STEPS", 400));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {STORED(test_model)};
    dbtest_require_server();
    return RUN_STORED(tests);
}
