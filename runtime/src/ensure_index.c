/**
 * Comparing indexes.
 *
 * Floor: migrate.
 */
#include <string.h>

#include "ensure_internal.h"
#include "run.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

typedef enum verdict { SAME, OTHER, UNSURE } verdict;

/* The index of ours that is being compared. */
typedef struct sought {
    const stele__wanted *wanted;
    const stele__cat_table *table;
    char *tail;             /* what follows the table's name in our statement */
    stele__index_def ours;  /* as written */
    stele__index_def asked; /* as the server writes it */
    bool is_asked;
    bool refused; /* the server could not be asked */
    char why[160];
} sought;

typedef struct columns_of {
    const stele__catalog *catalog;
    const char *table;
} columns_of;

static bool is_varchar(const void *ctx, const char *column)
{
    static const char varchar[] = "character varying";
    const columns_of *of = ctx;
    const stele__cat_column *found = stele__catalog_column(of->catalog, of->table, column);
    return found != NULL && strncmp(found->type, varchar, sizeof varchar - 1) == 0 &&
           strchr(found->type, '[') == NULL;
}

static bool read_server(stele__ensure *e, const sought *s, const char *create,
                        stele__index_def *ret_def)
{
    columns_of of = {&e->catalog, s->table->name};
    bool read = stele__index_def_of_server(&e->round, create, is_varchar, &of, ret_def);
    e->no_memory = e->no_memory || !read;
    return read;
}

/* ---- asking the server ---- */

static stele_status make_copy(stele__ensure *e, const sought *s, stele_error *err)
{
    stele__buf sql = {0};
    stele__buf_add_text(&sql, "CREATE TEMPORARY TABLE stele_compared (LIKE ");
    stele__buf_add_ident(&sql, s->table->schema, strlen(s->table->schema));
    stele__buf_add_char(&sql, '.');
    stele__buf_add_ident(&sql, s->table->name, strlen(s->table->name));
    stele__buf_add_text(&sql, ")");
    stele_status st = sql.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                                 : stele__ensure_run(e, stele__buf_text(&sql), err);
    stele__buf_reset(&sql);
    stele__buf_add_text(&sql, "CREATE INDEX stele_compared_key ON pg_temp.stele_compared");
    stele__buf_add_text(&sql, s->tail);
    if (st == STELE_OK)
        st = sql.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                        : stele__ensure_run(e, stele__buf_text(&sql), err);
    stele__buf_release(&sql);
    return st;
}

/*
 * What an expression means is known to the server alone: it resolves operators, adds casts and
 * unfolds IN and BETWEEN. So it is asked to write ours as it has written theirs: the index is made
 * on an empty temporary copy of the table, in a transaction that is rolled back. Comparing texts
 * instead would find differences where there are none, at every start.
 */
static stele_status ask(stele__ensure *e, sought *s, stele_error *err)
{
    static const char savepoint[] = "stele_compared";
    const char *create = NULL;
    s->is_asked = true;
    s->refused = true;
    if (!e->catalog.may_write) {
        (void)stele__copy_text(s->why, sizeof s->why,
                               "the role may not create a temporary table to compare with");
        return STELE_OK;
    }
    bool nested = stele_conn_in_transaction(e->conn);
    stele_status st =
        nested ? stele_tx_savepoint(e->conn, savepoint, err) : stele__ensure_begin(e, err);
    if (st == STELE_OK)
        st = make_copy(e, s, err);
    if (st == STELE_OK)
        st = stele__ensure_value(e,
                                 "SELECT pg_catalog.pg_get_indexdef("
                                 "'pg_temp.stele_compared_key'::pg_catalog.regclass)",
                                 NULL, &create, err);
    if (st == STELE_E_NOMEM || e->conn->link->broken ||
        (st != STELE_OK && stele__ensure_lost_race(err)))
        return st;
    stele_error undo;
    stele_status back = nested ? stele_tx_rollback_to(e->conn, savepoint, &undo)
                               : stele_tx_rollback(e->conn, &undo);
    if (back != STELE_OK) {
        *err = undo;
        return back;
    }
    if (st == STELE_OK) {
        s->refused = create == NULL || !read_server(e, s, create, &s->asked);
        return STELE_OK;
    }
    /* No right to do this, or the table lacks what the index needs, which is reported elsewhere. */
    (void)stele__copy_text(s->why, sizeof s->why, err->message);
    return STELE_OK;
}

/* ---- one index of theirs ---- */

static stele_status judge(stele__ensure *e, sought *s, const stele__cat_index *index,
                          stele__index_def *ret_theirs, verdict *ret_verdict, stele_error *err)
{
    *ret_verdict = UNSURE;
    if (!read_server(e, s, index->create, ret_theirs))
        return STELE_OK;
    if (stele__index_def_equal(&s->ours, ret_theirs)) {
        *ret_verdict = SAME;
        return STELE_OK;
    }
    if (s->ours.plain) {
        *ret_verdict = OTHER;
        return STELE_OK;
    }
    stele_status st = s->is_asked ? STELE_OK : ask(e, s, err);
    if (st == STELE_OK && !s->refused)
        *ret_verdict = stele__index_def_equal(&s->asked, ret_theirs) ? SAME : OTHER;
    return st;
}

/* A deferrable constraint keeps rows unique, but cannot tell an upsert which row is in the way. */
static bool is_usable(const stele__cat_index *index, bool unique)
{
    return index->valid && index->unique == unique && !(unique && index->deferrable);
}

/* The same index under another name: what an upsert or a query needs is there. */
static stele_status find_elsewhere(stele__ensure *e, sought *s, bool *ret_found, bool *ret_unsure,
                                   stele_error *err)
{
    stele_status st = STELE_OK;
    *ret_found = false;
    for (size_t i = 0; i < e->catalog.index_count && st == STELE_OK && !*ret_found; i++) {
        const stele__cat_index *index = &e->catalog.indexes[i];
        stele__index_def theirs;
        verdict v;
        if (strcmp(index->table, s->table->name) != 0 ||
            strcmp(index->name, s->wanted->name) == 0 ||
            !is_usable(index, s->wanted->object->unique))
            continue;
        st = judge(e, s, index, &theirs, &v, err);
        *ret_found = st == STELE_OK && v == SAME;
        *ret_unsure = *ret_unsure || v == UNSURE;
    }
    return st;
}

/* ---- telling ---- */

static const char *rows_of(const char *predicate)
{
    return predicate[0] == '\0' ? "all rows" : predicate;
}

/* An expression over a column of another type is written with other casts: one thing, told once. */
static bool follows_from_columns(const stele__ensure *e, const sought *s)
{
    for (size_t i = 0; s->is_asked && i < e->difference_count; i++)
        if (strcmp(e->differences[i].table, s->table->name) == 0 &&
            stele__catalog_column(&e->catalog, s->table->name, e->differences[i].object) != NULL)
            return true;
    return false;
}

static void report(stele__ensure *e, const sought *s, const stele__index_def *theirs)
{
    const char *table = s->table->name;
    const char *name = s->wanted->name;
    /* What the server made of ours is nearest to what it says of theirs. */
    const stele__index_def *ours = s->is_asked && !s->refused ? &s->asked : &s->ours;
    if (strcmp(theirs->method, ours->method) != 0)
        stele__ensure_differ(e, false, table, name,
                             "table \"%s\": index \"%s\" uses %s, the schema says %s", table, name,
                             theirs->method, ours->method);
    if (strcmp(theirs->keys, ours->keys) != 0)
        stele__ensure_differ(e, false, table, name,
                             "table \"%s\": index \"%s\" is on %s, the schema says %s", table, name,
                             theirs->keys, ours->keys);
    if (strcmp(theirs->predicate, ours->predicate) != 0)
        stele__ensure_differ(e, false, table, name,
                             "table \"%s\": index \"%s\" covers %s, the schema says %s", table,
                             name, rows_of(theirs->predicate), rows_of(ours->predicate));
}

static void report_unsure(stele__ensure *e, const sought *s)
{
    stele__ensure_differ(e, true, s->table->name, s->wanted->name,
                         "table \"%s\": index \"%s\" cannot be compared: %s", s->table->name,
                         s->wanted->name, s->why);
}

/* ---- the index that has our name ---- */

static const stele__cat_index *find_named(const stele__ensure *e, const sought *s)
{
    for (size_t i = 0; i < e->catalog.index_count; i++) {
        const stele__cat_index *index = &e->catalog.indexes[i];
        if (strcmp(index->table, s->table->name) == 0 && strcmp(index->name, s->wanted->name) == 0)
            return index;
    }
    return NULL;
}

/* A concurrent build that failed leaves an index that no query uses and every write pays for. */
static void meet_invalid(stele__ensure *e, const sought *s, size_t object)
{
    if (e->options.build_indexes && !e->options.verify_only &&
        s->wanted->object->create_concurrently_count > 0)
        e->actions[object] = STELE__REBUILD;
    else
        stele__ensure_differ(e, false, s->table->name, s->wanted->name,
                             "table \"%s\": index \"%s\" is not valid, as a concurrent build of it "
                             "failed or is still at work",
                             s->table->name, s->wanted->name);
}

static stele_status compare_named(stele__ensure *e, sought *s, size_t object,
                                  const stele__cat_index *named, stele_error *err)
{
    bool unique = s->wanted->object->unique;
    bool found = false;
    bool unsure = false;
    stele__index_def theirs;
    verdict v = SAME;
    stele_status st = STELE_OK;
    e->actions[object] = STELE__KEEP;
    /* One that only makes queries fast is taken by its name, as peers do. */
    if (unique)
        st = judge(e, s, named, &theirs, &v, err);
    if (st != STELE_OK || e->no_memory || (v == SAME && is_usable(named, unique)) ||
        (!unique && named->valid))
        return st;
    st = find_elsewhere(e, s, &found, &unsure, err);
    if (st != STELE_OK || found)
        return st;
    if (!named->valid) {
        meet_invalid(e, s, object);
        return STELE_OK;
    }
    if (unique && !named->unique)
        stele__ensure_differ(e, false, s->table->name, s->wanted->name,
                             "table \"%s\": index \"%s\" is not unique, the schema says unique",
                             s->table->name, s->wanted->name);
    if (unique && named->unique && named->deferrable)
        stele__ensure_differ(
            e, false, s->table->name, s->wanted->name,
            "table \"%s\": index \"%s\" is that of a deferrable constraint, so that "
            "no upsert can use it",
            s->table->name, s->wanted->name);
    if (v == OTHER && !follows_from_columns(e, s))
        report(e, s, &theirs);
    if (v == UNSURE)
        report_unsure(e, s);
    return STELE_OK;
}

/* ---- the whole ---- */

/* Our statement after the table's name. */
static char *render_tail(const stele__ensure *e, const stele_gen_object *object)
{
    uint16_t i = 0;
    while (i < object->create_count && object->create[i].kind != STELE_GEN_TABLE)
        i++;
    if (i < object->create_count)
        i++;
    return stele__target_render(&e->target, object->create + i,
                                (uint16_t)(object->create_count - i));
}

stele_status stele__ensure_compare_index(stele__ensure *e, size_t object, stele_error *err)
{
    sought s = {.wanted = &e->target.wanted[object]};
    columns_of of = {&e->catalog, s.wanted->table};
    bool found = false;
    bool unsure = false;
    stele_status st;
    s.table = stele__catalog_table(&e->catalog, s.wanted->table);
    s.tail = render_tail(e, s.wanted->object);
    if (s.tail == NULL || !stele__index_def_of_tail(&e->round, s.tail, is_varchar, &of, &s.ours)) {
        stele__free(s.tail);
        e->no_memory = true;
        return STELE_OK;
    }
    const stele__cat_index *named = find_named(e, &s);
    if (named != NULL) {
        st = compare_named(e, &s, object, named, err);
    } else {
        st = find_elsewhere(e, &s, &found, &unsure, err);
        e->actions[object] = found || unsure ? STELE__KEEP : STELE__MISSING;
        if (st == STELE_OK && !found && unsure)
            report_unsure(e, &s);
    }
    stele__free(s.tail);
    return st;
}
