#include "ensure_lab.h"

#define PARTS(name, ...) static const stele_gen_part name[] = {__VA_ARGS__}
#define NAME(parts) .name = parts, .name_count = STELE_COUNT(parts)
#define CREATE(parts) .create = parts, .create_count = STELE_COUNT(parts)
#define BESIDE(parts) .create_concurrently = parts, .create_concurrently_count = STELE_COUNT(parts)

/* ---- tables ---- */

static const stele_gen_catalog_column things_columns[] = {
    {"id", "bigint", true, false},
    {"name", "character varying(40)", true, false},
    {"mood", "mood", false, true},
    {"moods", "mood[]", false, true},
    {"price", "numeric(12,2)", true, false},
    {"note", "text", false, false},
    {"deleted_at", "timestamp with time zone", false, false},
};

static const stele_gen_table things = {
    .name = "things", .columns = things_columns, .column_count = STELE_COUNT(things_columns)};

static const stele_gen_catalog_column pieces_columns[] = {
    {"thing_id", "bigint", true, false},
    {"no", "integer", true, false},
};

static const stele_gen_table pieces = {
    .name = "pieces", .columns = pieces_columns, .column_count = STELE_COUNT(pieces_columns)};

static const stele_gen_table *const lab_tables[] = {&things, &pieces};

/* ---- objects ---- */

PARTS(mood_name, STELE_PREFIX, STELE_SQL("mood"));
PARTS(mood_create, STELE_SQL("CREATE TYPE "), STELE_TABLE("mood"),
      STELE_SQL(" AS ENUM ('happy', 'so so', 'it''s bad')"));

PARTS(things_name, STELE_PREFIX, STELE_SQL("things"));
PARTS(things_create, STELE_SQL("CREATE TABLE "), STELE_TABLE("things"),
      STELE_SQL(" (id bigserial, name varchar(40) NOT NULL, mood "), STELE_TABLE("mood"),
      STELE_SQL(", moods "), STELE_TABLE("mood"),
      STELE_SQL("[], price numeric(12,2) NOT NULL, note text, deleted_at timestamptz,"
                " PRIMARY KEY (id))"));

PARTS(pieces_name, STELE_PREFIX, STELE_SQL("pieces"));
PARTS(pieces_create, STELE_SQL("CREATE TABLE "), STELE_TABLE("pieces"),
      STELE_SQL(" (thing_id bigint NOT NULL, no int NOT NULL, PRIMARY KEY (thing_id, no))"));

PARTS(active_name, STELE_PREFIX, STELE_SQL("things_active"));
PARTS(active_create, STELE_SQL("CREATE UNIQUE INDEX \""), STELE_PREFIX,
      STELE_SQL("things_active\"\n    ON "), STELE_TABLE("things"),
      STELE_SQL(" (name, mood)\n    WHERE deleted_at IS NULL"));
PARTS(active_beside, STELE_SQL("CREATE UNIQUE INDEX CONCURRENTLY \""), STELE_PREFIX,
      STELE_SQL("things_active\"\n    ON "), STELE_TABLE("things"),
      STELE_SQL(" (name, mood)\n    WHERE deleted_at IS NULL"));

/* The server writes IN as = ANY, and casts the name to text. */
PARTS(folded_name, STELE_PREFIX, STELE_SQL("things_folded"));
PARTS(folded_create, STELE_SQL("CREATE UNIQUE INDEX \""), STELE_PREFIX,
      STELE_SQL("things_folded\"\n    ON "), STELE_TABLE("things"),
      STELE_SQL(" ((lower(name)))\n    WHERE deleted_at IS NULL AND note IN ('a', 'b')"));

PARTS(price_name, STELE_PREFIX, STELE_SQL("things_price"));
PARTS(price_create, STELE_SQL("CREATE INDEX \""), STELE_PREFIX,
      STELE_SQL("things_price\"\n    ON "), STELE_TABLE("things"), STELE_SQL(" (price, id DESC)"));
PARTS(price_beside, STELE_SQL("CREATE INDEX CONCURRENTLY \""), STELE_PREFIX,
      STELE_SQL("things_price\"\n    ON "), STELE_TABLE("things"), STELE_SQL(" (price, id DESC)"));

PARTS(key_name, STELE_PREFIX, STELE_SQL("pieces_thing"));
PARTS(key_create, STELE_SQL("ALTER TABLE "), STELE_TABLE("pieces"),
      STELE_SQL("\n    ADD CONSTRAINT \""), STELE_PREFIX,
      STELE_SQL("pieces_thing\"\n    FOREIGN KEY (thing_id) REFERENCES "), STELE_TABLE("things"),
      STELE_SQL(" (id) ON DELETE CASCADE"));

PARTS(comment_create, STELE_SQL("COMMENT ON TABLE "), STELE_TABLE("things"),
      STELE_SQL(" IS 'What there is'"));

PARTS(guard_name, STELE_PREFIX, STELE_SQL("things_guard"));
PARTS(guard_create, STELE_SQL("CREATE FUNCTION "), STELE_TABLE("things_guard"),
      STELE_SQL("() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"));
PARTS(trigger_create, STELE_SQL("CREATE TRIGGER guard BEFORE UPDATE ON "), STELE_TABLE("things"),
      STELE_SQL(" FOR EACH ROW EXECUTE FUNCTION "), STELE_TABLE("things_guard"), STELE_SQL("()"));

static const stele_gen_object lab_objects[] = {
    {.kind = STELE_GEN_OBJECT_ENUM, NAME(mood_name), CREATE(mood_create)},
    {.kind = STELE_GEN_OBJECT_TABLE, .table = "things", NAME(things_name), CREATE(things_create)},
    {.kind = STELE_GEN_OBJECT_TABLE, .table = "pieces", NAME(pieces_name), CREATE(pieces_create)},
    {.kind = STELE_GEN_OBJECT_INDEX,
     .unique = true,
     .table = "things",
     NAME(active_name),
     CREATE(active_create),
     BESIDE(active_beside)},
    {.kind = STELE_GEN_OBJECT_INDEX,
     .unique = true,
     .table = "things",
     NAME(folded_name),
     CREATE(folded_create)},
    {.kind = STELE_GEN_OBJECT_INDEX,
     .table = "things",
     NAME(price_name),
     CREATE(price_create),
     BESIDE(price_beside)},
    {.kind = STELE_GEN_OBJECT_FOREIGN_KEY, .table = "pieces", NAME(key_name), CREATE(key_create)},
    {.kind = STELE_GEN_OBJECT_OTHER, .table = "things", NAME(things_name), CREATE(comment_create)},
    {.kind = STELE_GEN_OBJECT_OTHER, .table = "things", NAME(guard_name), CREATE(guard_create)},
    {.kind = STELE_GEN_OBJECT_OTHER, .table = "things", NAME(guard_name), CREATE(trigger_create)},
};

const stele_module lab_module = {
    .abi = &stele_gen_abi_1,
    .name = "lab",
    .tables = lab_tables,
    .objects = lab_objects,
    .table_count = STELE_COUNT(lab_tables),
    .object_count = STELE_COUNT(lab_objects),
    .longest_schema = 16,
    .longest_prefix = 16,
};
