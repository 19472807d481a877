/**
 * Names of schemas and prefixes: the rules, folding, pins, and the 63 bytes.
 *
 * Floor: db.
 */
#ifndef STELE_NAMES_H
#define STELE_NAMES_H

#include "pool.h"
#include "stele/db.h"
#include "stele/gen/gen.h"

/** "table", "index", …; "object" for what has no kind of its own. For messages. */
const char *stele__kind_text(stele_gen_object_kind kind);

/** What a set of names is made of. */
typedef struct stele__names_input {
    const stele_module *const *modules;
    size_t module_count;
    const stele__pinned *pins; /* as stele__names_pin made them */
    size_t pin_count;
    stele_names names;
    bool soft_delete;
} stele__names_input;

/** Checks a pin and folds it as its module asks. Errors: STELE_E_NAME, STELE_E_INPUT. */
stele_status stele__names_pin(const stele_pin *pin, stele__pinned *ret_pinned, stele_error *err);

/**
 * Checks, folds and hashes; every name that the modules make of them is known to fit afterwards.
 *
 * A module that folds among others that do not gets a pin of its own where folding matters; those
 * stand after the `pin_count` pins of the input.
 * Owns: the caller, with one reference: stele__pool_detach(), or stele__free() before a pool
 * knows them. Errors: STELE_E_NAME, STELE_E_NOMEM.
 */
stele_status stele__names_new(const stele__names_input *input, stele__names_box **ret_box,
                              stele_error *err);

#endif
