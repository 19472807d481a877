/*
 * What a fuzz target offers; replay.c and libFuzzer call it.
 */
#ifndef STELE_TESTS_FUZZ_H
#define STELE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
