/* A small module that has one object of each kind, for the tests of stele_db_ensure. */
#ifndef STELE_TESTS_ENSURE_LAB_H
#define STELE_TESTS_ENSURE_LAB_H

#include "stele/gen/gen.h"

extern const stele_module lab_module;

#endif
