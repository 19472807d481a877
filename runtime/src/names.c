/**
 * Checking of names.
 *
 * Floor: db.
 */
#define _GNU_SOURCE
#include "names.h"

#include <string.h>

#include "mem_internal.h"
#include "render.h"
#include "status_internal.h"
#include "stele/gen/gen.h"
#include "text_internal.h"

#include "banned.h"

#define NAME_MAX_BYTES (STELE_NAME_SIZE - 1)

/* Letters as C and SQL have them, whatever the locale says. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static stele_status check_text(const char *what, const char *name, stele_error *err)
{
    size_t len = name != NULL ? strlen(name) : 0;
    int shown = 0; /* messages are one line of plain characters */
    while (shown < NAME_MAX_BYTES && name != NULL && name[shown] >= ' ' && name[shown] < 0x7f)
        shown++;
    stele_status st = STELE_OK;
    if (len > NAME_MAX_BYTES) {
        st = stele__fail(err, STELE_E_NAME, "%s \"%.*s…\" is %zu bytes long, PostgreSQL takes %d",
                         what, shown, name, len, NAME_MAX_BYTES);
        stele__error_hint(err, "shorten it; nothing is cut off silently");
        return st;
    }
    for (size_t i = 0; i < len && st == STELE_OK; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (is_letter(name[i]) || (i > 0 && is_digit(name[i])))
            continue;
        if (is_digit(name[i]))
            st = stele__fail(err, STELE_E_NAME, "%s \"%.*s\" starts with a digit", what, shown,
                             name);
        else if (byte > ' ' && byte < 0x7f)
            st = stele__fail(err, STELE_E_NAME, "%s \"%.*s\" has '%c' at byte %zu", what, shown,
                             name, name[i], i + 1);
        else
            st = stele__fail(err, STELE_E_NAME, "%s \"%.*s\" has byte 0x%02x at byte %zu", what,
                             shown, name, byte, i + 1);
        stele__error_hint(err, "use letters a to z, digits and underscores, a letter first");
    }
    return st;
}

static void copy_folded(char dst[STELE_NAME_SIZE], const char *src, bool fold)
{
    (void)stele__copy_text(dst, STELE_NAME_SIZE, src);
    for (char *c = dst; fold && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
}

static void pin_module(stele__pinned *pin, const stele_module *module, const stele_names *names)
{
    pin->module = module->name;
    copy_folded(pin->schema, names->schema, module->fold_lower);
    copy_folded(pin->prefix, names->prefix, module->fold_lower);
}

stele_status stele__names_pin(const stele_pin *pin, stele__pinned *ret_pinned, stele_error *err)
{
    char what[2 * STELE_NAME_SIZE];
    if (pin->module == NULL)
        return stele__fail(err, STELE_E_INPUT, "a pin names no module");
    stele__buf text = {0};
    stele__buf_addf(&text, "pinned schema of module %s,", pin->module->name);
    (void)stele__copy_text(what, sizeof what, stele__buf_text(&text));
    stele_status st = check_text(what, pin->names.schema, err);
    stele__buf_reset(&text);
    stele__buf_addf(&text, "pinned prefix of module %s,", pin->module->name);
    (void)stele__copy_text(what, sizeof what, stele__buf_text(&text));
    stele__buf_release(&text);
    if (st == STELE_OK)
        st = check_text(what, pin->names.prefix, err);
    if (st == STELE_OK)
        pin_module(ret_pinned, pin->module, &pin->names);
    return st;
}

/* ---- length of what modules make of them ---- */

const char *stele__kind_text(stele_gen_object_kind kind)
{
    switch (kind) {
    case STELE_GEN_OBJECT_ENUM:
        return "enum";
    case STELE_GEN_OBJECT_TABLE:
        return "table";
    case STELE_GEN_OBJECT_INDEX:
        return "index";
    case STELE_GEN_OBJECT_FOREIGN_KEY:
        return "foreign key";
    case STELE_GEN_OBJECT_OTHER:
        break;
    }
    return "object";
}

static stele_status too_long(const char *kind, const char *name, const char *table,
                             const char *schema, const char *prefix, stele_error *err)
{
    size_t len = strlen(name);
    stele_status st = stele__fail(err, STELE_E_NAME,
                                  "the %s \"%.200s\" would have %zu bytes, PostgreSQL takes %d",
                                  kind, name, len, NAME_MAX_BYTES);
    stele__error_hint(err, "take %zu bytes off the prefix \"%s\" or the schema \"%s\"",
                      len - NAME_MAX_BYTES, prefix, schema);
    stele__error_place(err, table, NULL);
    return st;
}

static stele_status check_objects(const stele_module *module, const stele__names *names,
                                  stele__buf *name, stele_error *err)
{
    const char *schema;
    const char *prefix;
    stele__names_of(names, module->name, &schema, &prefix);
    for (size_t i = 0; i < module->object_count; i++) {
        const stele_gen_object *object = &module->objects[i];
        stele__buf_reset(name);
        stele__render_name(object->name, object->name_count, module, names, name);
        if (name->len > NAME_MAX_BYTES)
            return too_long(stele__kind_text(object->kind), stele__buf_text(name), object->table,
                            schema, prefix, err);
    }
    for (size_t i = 0; i < module->table_count; i++) {
        const char *table = module->tables[i]->name;
        stele__buf_reset(name);
        stele__buf_add_text(name, prefix);
        stele__buf_add_text(name, table);
        if (name->len > NAME_MAX_BYTES)
            return too_long("table", stele__buf_text(name), table, schema, prefix, err);
    }
    return STELE_OK;
}

/* The generator has checked names up to the lengths that the schema declares. */
static bool is_known_to_fit(const stele_module *module, const stele__names *names)
{
    const char *schema;
    const char *prefix;
    stele__names_of(names, module->name, &schema, &prefix);
    bool declared = module->longest_schema != 0 || module->longest_prefix != 0;
    return declared && strlen(schema) <= module->longest_schema &&
           strlen(prefix) <= module->longest_prefix;
}

static stele_status check_lengths(const stele__names_input *in, const stele__names *names,
                                  stele_error *err)
{
    stele__buf name = {0};
    stele_status st = STELE_OK;
    for (size_t i = 0; i < in->module_count && st == STELE_OK; i++)
        if (!is_known_to_fit(in->modules[i], names))
            st = check_objects(in->modules[i], names, &name, err);
    if (st == STELE_OK && name.failed)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory while checking names");
    stele__buf_release(&name);
    return st;
}

/* ---- making ---- */

static bool all_fold(const stele__names_input *in)
{
    for (size_t i = 0; i < in->module_count; i++)
        if (!in->modules[i]->fold_lower)
            return false;
    return in->module_count > 0;
}

static bool is_pinned(const stele__names_input *in, const stele_module *module)
{
    for (size_t i = 0; i < in->pin_count; i++)
        if (strcmp(in->pins[i].module, module->name) == 0)
            return true;
    return false;
}

/* Modules that fold among others that do not, where it makes a difference. */
static size_t pin_folding(const stele__names_input *in, const stele__names *names,
                          stele__pinned *pins)
{
    size_t count = 0;
    stele__pinned pin;
    for (size_t i = 0; i < in->module_count; i++) {
        const stele_module *module = in->modules[i];
        if (!module->fold_lower || is_pinned(in, module))
            continue;
        pin_module(&pin, module, &in->names);
        if (strcmp(pin.schema, names->schema) != 0 || strcmp(pin.prefix, names->prefix) != 0)
            pins[count++] = pin;
    }
    return count;
}

static uint64_t hash_text(uint64_t seed, const char *text)
{
    return stele__hash64(seed, text, strlen(text) + 1);
}

/* The sum makes the order of the pins irrelevant. */
static uint64_t hash_names(const stele__names *names)
{
    uint64_t id = hash_text(names->soft_delete ? 2 : 1, names->schema);
    uint64_t pins = 0;
    id = hash_text(id, names->prefix);
    for (size_t i = 0; i < names->pin_count; i++) {
        uint64_t pin = hash_text(3, names->pins[i].module);
        pins += hash_text(hash_text(pin, names->pins[i].schema), names->pins[i].prefix);
    }
    id = stele__hash64(id, &pins, sizeof pins);
    return id != 0 ? id : 1; /* 0 is a link that nobody has used */
}

stele_status stele__names_new(const stele__names_input *input, stele__names_box **ret_box,
                              stele_error *err)
{
    stele_status st = check_text("schema", input->names.schema, err);
    if (st == STELE_OK)
        st = check_text("prefix", input->names.prefix, err);
    if (st != STELE_OK)
        return st;
    size_t most = input->pin_count + input->module_count;
    stele__names_box *box = stele__calloc(1, sizeof *box + most * sizeof(stele__pinned));
    if (box == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while taking names");
    stele__names *names = &box->names;
    bool fold = all_fold(input);
    copy_folded(names->schema, input->names.schema, fold);
    copy_folded(names->prefix, input->names.prefix, fold);
    names->soft_delete = input->soft_delete;
    if (input->pin_count > 0)
        memcpy(box->pins, input->pins, input->pin_count * sizeof *box->pins);
    names->pins = box->pins;
    names->pin_count = input->pin_count;
    names->pin_count += fold ? 0 : pin_folding(input, names, box->pins + input->pin_count);
    st = check_lengths(input, names, err);
    if (st != STELE_OK) {
        stele__free(box);
        return st;
    }
    names->id = hash_names(names);
    box->refs = 1;
    box->fixed_pins = input->pin_count;
    *ret_box = box;
    return STELE_OK;
}
