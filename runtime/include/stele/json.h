/**
 * JSON columns through jansson. Rows show json and jsonb as text; parse only what you read.
 *
 * Floor: value.
 */
#ifndef STELE_JSON_H
#define STELE_JSON_H

#include <jansson.h>

#include "stele/value.h"

STELE_BEGIN_DECLS

/**
 * Parses the text of a json or jsonb column.
 *
 * Owns:   the caller, on success: json_decref(). SQL NULL gives STELE_OK and *ret_json NULL.
 * Units:  integers are exact within int64_t; larger ones become reals.
 * Errors: STELE_E_VALUE with line and column in the message; STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_json_load(stele_str text, json_t **ret_json,
                                                        stele_error *err);

STELE_END_DECLS

#endif
