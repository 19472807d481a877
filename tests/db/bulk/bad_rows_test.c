/*
 * Rows that cannot be stored: found by their index, whatever the way and wherever they stand; the mode
 * says whether the others are kept.
 */
#include "bulk_util.h"

enum { COUNT = 1500 };

static char names[COUNT][12];
static heaps_nodes_input rows[COUNT];

static stele_in_str named(const char *name)
{
    return stele_text_of((stele_str){name, strlen(name)});
}

/* Good rows, by default in batches of 700. */
static stele_bulk_options good_rows(stele_bulk_mode mode, uint32_t threshold)
{
    stele_bulk_options options = noting(mode);
    (void)clean_tables(NULL);
    options.copy_threshold = threshold;
    options.batch_rows = 700;
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%d", i);
        rows[i].id = stele_i64_v(i);
        rows[i].name = named(names[i]);
    }
    return options;
}

/* What is wrong with a row, and what is said of it. */
typedef struct fault {
    stele_status status;
    const char *sqlstate;
    const char *column;
    const char *constraint;
    const char *says;
    void (*make)(heaps_nodes_input *row);
} fault;

static void make_unset(heaps_nodes_input *row)
{
    row->name.tag = NULL;
}

static void make_pointer(heaps_nodes_input *row)
{
    row->name = stele_text_of((stele_str){NULL, 0});
}

static void make_long(heaps_nodes_input *row)
{
    row->name = named("thirteen char");
}

static void make_forbidden(heaps_nodes_input *row)
{
    row->name = named("forbidden");
}

static void make_latin(heaps_nodes_input *row)
{
    row->name = named("caf\xe9");
}

static void make_twin(heaps_nodes_input *row)
{
    row->name = named("taken");
}

static void make_orphan(heaps_nodes_input *row)
{
    row->parent_id = stele_i64_n_v(99999);
}

static const fault faults[] = {
    {STELE_E_INPUT, "", "name", "", "required", make_unset},
    {STELE_E_INPUT, "", "name", "", "NULL pointer", make_pointer},
    {STELE_E_VALUE, "22001", "name", "", "13 characters, at most 12 fit", make_long},
    {STELE_E_CHECK, "23514", "", "nodes_name_check", "", make_forbidden},
    {STELE_E_VALUE, "22021", "name", "", "not valid UTF-8", make_latin},
    {STELE_E_UNIQUE, "23505", "", "nodes_name", "", make_twin},
    {STELE_E_FOREIGN_KEY, "23503", "", "nodes_parent", "", make_orphan},
};
enum { FAULTS = sizeof faults / sizeof faults[0] };

static void check_fault(const fault *f, size_t row, const stele_error *why)
{
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "row %zu: ", row);
    assert_int_equal(why->status, f->status);
    assert_string_equal(why->sqlstate, f->sqlstate);
    assert_memory_equal(why->message, prefix, strlen(prefix));
    assert_contains(why->message, f->says);
    assert_string_equal(why->table, "nodes");
    if (f->column[0] != '\0')
        assert_string_equal(why->column, f->column);
    assert_contains(why->constraint, f->constraint);
}

static const uint32_t ways[] = {ARRAYS, COPY};
static const size_t places[] = {0, 699, 700, 1234, COUNT - 1};

static void a_taken_name(void)
{
    peer("INSERT INTO nodes (id, name) VALUES (-1, 'taken')");
}

static void one_bad_row_ends_the_call(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++)
        for (size_t f = 0; f < FAULTS; f++)
            for (size_t p = 0; p < 5; p += 2) {
                stele_bulk_options options = good_rows(STELE_BULK_ALL_OR_NOTHING, ways[w]);
                a_taken_name();
                faults[f].make(&rows[places[p]]);
                assert_int_equal(
                    heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err),
                    faults[f].status);
                check_fault(&faults[f], places[p], &err);
                assert_int_equal(report.bad, 1);
                assert_int_equal(report.first_bad, places[p]);
                assert_int_equal(report.inserted, 0);
                assert_int_equal(noted.bad_count, 1);
                assert_int_equal(number("SELECT count(*) FROM nodes"), 1);
                assert_false(stele_conn_in_transaction(conn));
            }
}

static void the_others_are_kept(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++)
        for (size_t f = 0; f < FAULTS; f++) {
            stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
            a_taken_name();
            for (size_t p = 0; p < 5; p++)
                faults[f].make(&rows[places[p]]);
            assert_ok(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err),
                      &err);
            for (size_t p = 0; p < 5; p++)
                check_fault(&faults[f], places[p], note_of(places[p]));
            assert_int_equal(noted.bad_count, 5);
            assert_int_equal(report.bad, 5);
            assert_int_equal(report.first_bad, 0);
            assert_int_equal(report.inserted, COUNT - 5);
            assert_int_equal(number("SELECT count(*) FROM nodes WHERE name = 'n' || id"),
                             COUNT - 5);
            assert_int_equal(noted.last_done, COUNT);
            assert_false(noted.fell);
        }
}

/* All kinds at once, with rows back: those of bad rows are zero. */
static void bad_rows_of_all_kinds(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        heaps_nodes_row *back = NULL;
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        a_taken_name();
        for (size_t f = 0; f < FAULTS; f++)
            faults[f].make(&rows[f * 200]);
        assert_ok(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, &back, &err), &err);
        for (size_t f = 0; f < FAULTS; f++)
            check_fault(&faults[f], f * 200, note_of(f * 200));
        assert_int_equal(report.inserted, COUNT - FAULTS);
        for (size_t i = 0; i < COUNT; i++) {
            bool bad = i % 200 == 0 && i / 200 < FAULTS;
            assert_true(bad == (back[i].name.data == NULL));
            if (!bad)
                assert_str(back[i].name, names[i]);
        }
        heaps_nodes_row_free(back);
    }
}

static void every_row_is_bad(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        for (int i = 0; i < 40; i++)
            make_forbidden(&rows[i]);
        assert_ok(heaps_nodes_insert_many(conn, rows, 40, &options, &report, NULL, &err), &err);
        assert_int_equal(report.bad, 40);
        assert_int_equal(report.inserted, 0);
        assert_int_equal(number("SELECT count(*) FROM nodes"), 0);
    }
}

/* Of two rows with one key the second is bad, also when the first came in another batch. */
static void twins_in_one_call(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        rows[5].name = rows[4].name;
        rows[1400].name = rows[3].name;
        assert_ok(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err), &err);
        assert_int_equal(report.bad, 2);
        assert_int_equal(note_of(5)->status, STELE_E_UNIQUE);
        assert_int_equal(note_of(1400)->status, STELE_E_UNIQUE);
    }
}

/* A row that refers to one before it, and one that refers to a bad one. */
static void rows_that_refer_to_each_other(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        for (int i = 0; i < COUNT; i++)
            rows[i].parent_id = i > 0 ? stele_i64_n_v(i - 1) : stele_i64_n_null();
        assert_ok(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, COUNT);
        (void)clean_tables(NULL);
        options = noting(STELE_BULK_KEEP_GOOD);
        options.copy_threshold = ways[w];
        make_forbidden(&rows[30]);
        assert_ok(heaps_nodes_insert_many(conn, rows, 33, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 30);
        assert_int_equal(note_of(30)->status, STELE_E_CHECK);
        assert_int_equal(note_of(31)->status, STELE_E_FOREIGN_KEY);
        assert_int_equal(note_of(32)->status, STELE_E_FOREIGN_KEY);
    }
}

/* What is only checked at COMMIT is nobody's row in particular. */
static void a_deferred_constraint(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_ALL_OR_NOTHING, ways[w]);
        rows[900].late_id = stele_i64_n_v(99999);
        assert_int_equal(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err),
                         STELE_E_FOREIGN_KEY);
        assert_string_equal(err.constraint, "nodes_late");
        assert_int_equal(number("SELECT count(*) FROM nodes"), 0);
        rows[900].late_id = stele_i64_n_v(901);
        assert_ok(heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err), &err);
    }
}

static void a_value_that_cannot_be_encoded(void **state)
{
    (void)state;
    static heaps_scalars_input in[COUNT];
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        memset(in, 0, sizeof in);
        for (int i = 0; i < COUNT; i++)
            in[i] = (heaps_scalars_input){.id = stele_i64_v(i),
                                          .n_numeric = stele_text_n_v("1.5"),
                                          .n_enum = heaps_size_n_v(HEAPS_SIZE_SMALL)};
        in[7].n_enum = heaps_size_n_v((heaps_size)77);
        in[8].n_numeric = stele_text_n_v("1,5");
        in[1499].n_numeric = stele_text_n_v("");
        assert_ok(heaps_scalars_insert_many(conn, in, COUNT, &options, &report, NULL, &err), &err);
        assert_int_equal(report.bad, 3);
        assert_string_equal(note_of(7)->column, "n_enum");
        assert_string_equal(note_of(8)->column, "n_numeric");
        assert_string_equal(note_of(1499)->column, "n_numeric");
        assert_int_equal(number("SELECT count(*) FROM scalars"), COUNT - 3);
    }
}

/* Errors that are no row's fault end the call at once. */
static void errors_of_no_row(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        peer("ALTER TABLE nodes RENAME TO gone");
        stele_status st = heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err);
        peer("ALTER TABLE gone RENAME TO nodes");
        assert_int_equal(st, STELE_E_SCHEMA);
        assert_string_equal(err.sqlstate, "42P01");
        assert_int_equal(noted.bad_count, 0);
        assert_true(report.first_bad == STELE_BULK_NO_ROW);
    }
}

/* Triggers that raise, and that leave rows out. */
static void triggers(void **state)
{
    (void)state;
    peer("CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " IF NEW.id = 10 THEN RAISE 'ten is not allowed'; END IF;"
         " IF NEW.id = 20 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
         "CREATE TRIGGER judge BEFORE INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION judge()");
    for (size_t w = 0; w < 2; w++) {
        heaps_nodes_row *back = NULL;
        stele_bulk_options options = good_rows(STELE_BULK_KEEP_GOOD, ways[w]);
        assert_ok(heaps_nodes_insert_many(conn, rows, 100, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 98);
        assert_int_equal(report.skipped, 1);
        assert_contains(note_of(10)->message, "ten is not allowed");
        (void)clean_tables(NULL);
        assert_int_equal(
            heaps_nodes_insert_many(conn, rows + 20, 50, &options, &report, &back, &err),
            STELE_E_UNSUPPORTED);
        assert_null(back);
    }
    peer("DROP TRIGGER judge ON nodes; DROP FUNCTION judge()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAPED(one_bad_row_ends_the_call), HEAPED(the_others_are_kept),
        HEAPED(bad_rows_of_all_kinds),     HEAPED(every_row_is_bad),
        HEAPED(twins_in_one_call),         HEAPED(rows_that_refer_to_each_other),
        HEAPED(a_deferred_constraint),     HEAPED(a_value_that_cannot_be_encoded),
        HEAPED(errors_of_no_row),          HEAPED(triggers),
    };
    return RUN_HEAPS(tests);
}
