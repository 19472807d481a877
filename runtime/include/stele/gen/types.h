/**
 * The types a descriptor names: shared by generated code and the codec, which knows no connection.
 *
 * A weaker promise than the rest of stele/; see stele/gen/gen.h, which includes it.
 *
 * Floor: value.
 */
#ifndef STELE_GEN_TYPES_H
#define STELE_GEN_TYPES_H

#include "stele/value.h"

STELE_BEGIN_DECLS

/* name, C type of a value, OID, OID of its array */
#define STELE_GEN_TYPE_MAP(X)                                                                      \
    X(BOOL, bool, 16, 1000)                                                                        \
    X(INT2, int16_t, 21, 1005)                                                                     \
    X(INT4, int32_t, 23, 1007)                                                                     \
    X(INT8, int64_t, 20, 1016)                                                                     \
    X(FLOAT4, float, 700, 1021)                                                                    \
    X(FLOAT8, double, 701, 1022)                                                                   \
    X(NUMERIC, stele_str, 1700, 1231)                                                              \
    X(TEXT, stele_str, 25, 1009)                                                                   \
    X(BPCHAR, stele_str, 1042, 1014)                                                               \
    X(BYTEA, stele_bytes, 17, 1001)                                                                \
    X(UUID, stele_uuid, 2950, 2951)                                                                \
    X(DATE, stele_date, 1082, 1182)                                                                \
    X(TIME, stele_time, 1083, 1183)                                                                \
    X(TIMESTAMP, stele_ts, 1114, 1115)                                                             \
    X(TIMESTAMPTZ, stele_ts, 1184, 1185)                                                           \
    X(INTERVAL, stele_interval, 1186, 1187)                                                        \
    X(JSON, stele_str, 114, 199)                                                                   \
    X(JSONB, stele_str, 3802, 3807)                                                                \
    X(INET, stele_inet, 869, 1041)                                                                 \
    X(ENUM, int, 0, 0)                                                                             \
    X(OPAQUE, stele_str, 0, 0)

typedef enum stele_gen_type {
#define STELE_GEN_TYPE_ENUM(name, type, oid, array_oid) STELE_GEN_##name,
    STELE_GEN_TYPE_MAP(STELE_GEN_TYPE_ENUM)
#undef STELE_GEN_TYPE_ENUM
        STELE_GEN_TYPE_COUNT
} stele_gen_type;

/** Added to a type: a one-dimensional array of it. */
#define STELE_GEN_ARRAY 0x40

/** Labels of an enum in declared order; C value i + 1 stands for labels[i], 0 for an unknown one. */
typedef struct stele_gen_enum {
    const char *type_name;
    const char *const *labels;
    size_t count;
} stele_gen_enum;

/** Label of an enum value, NULL for 0 or a value out of range. */
STELE_API const char *stele_gen_enum_label(const stele_gen_enum *labels, int value);

/** Value of a label; 0 if there is none such. */
STELE_API int stele_gen_enum_value(const stele_gen_enum *labels, stele_str label);

/** One column of a result and the field of the row that takes it. */
typedef struct stele_gen_column {
    const char *name;
    uint8_t type; /* stele_gen_type, | STELE_GEN_ARRAY */
    bool nullable;
    uint32_t offset; /* in the row */
    const stele_gen_enum *labels;
} stele_gen_column;

STELE_END_DECLS

#endif
