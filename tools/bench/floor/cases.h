/*
 * Tables and access patterns, made exactly as packages/smmu-hw/bench/tables.ts and patterns.ts make them: checksum and
 * number of walks of each case must be those of the model.
 */
#ifndef CASES_H
#define CASES_H
#include <stdlib.h>
#include "model.h"

enum { OPERATIONS = 65536 };

#define TABLE_BASE 0x40000000u
#define FIRST_LEVEL(bank) (TABLE_BASE + (bank) * 0x4000u)
#define SECOND_LEVEL_BASE (TABLE_BASE + 0x10000u)
#define TABLE_BYTES 0x800000u
#define VMID 0

static uint32_t pattern[OPERATIONS];
static uint8_t *tables;

/* The linear congruential generator of Numerical Recipes, and an integer below n (at most 65536) from it. */
static uint32_t lcg;
static uint32_t draw(uint32_t n) {
  lcg = lcg * 1664525u + 1013904223u;
  return ((lcg >> 16) * n) >> 16;
}

/* How the pages of a case are mapped. `count` is a power of two. */
struct mapping {
  unsigned size;
  uint32_t count, va, pa;
};

static uint32_t va_of(const struct mapping *m, uint32_t page) { return m->va + (page << page_shift[m->size]); }

/* Scattered: an odd factor permutes the numbers below a power of two. */
static uint32_t pa_of(const struct mapping *m, unsigned bank, uint32_t page) {
  return m->pa + bank * 0x10000000u + (((page * 40503u) & (m->count - 1)) << page_shift[m->size]);
}

static void store(uint32_t at, uint32_t word) { memcpy(tables + (at - TABLE_BASE), &word, 4); }

/* nG, AP full access, C and B set. */
static void map_pages(const struct mapping *m, unsigned bank) {
  for (uint32_t page = 0; page < m->count; page++) {
    uint32_t va = va_of(m, page), pa = pa_of(m, bank, page);
    uint32_t second = SECOND_LEVEL_BASE + bank * 0x40000u + ((va - m->va) >> 20) * 0x400u;
    uint32_t at = second + ((va >> 12) & 0xff) * 4;
    if (m->size < 2) store(FIRST_LEVEL(bank) + (va >> 20) * 4, second | 1);
    switch (m->size) {
      case 0:
        store(at, pa | 0x83e);
        break;
      case 1:
        for (unsigned i = 0; i < 16; i++) store(at + i * 4, pa | 0x83d);
        break;
      case 2:
        store(FIRST_LEVEL(bank) + (va >> 20) * 4, pa | 0x20c0e);
        break;
      default:
        for (unsigned i = 0; i < 16; i++) store(FIRST_LEVEL(bank) + (va >> 20) * 4 + i * 4, pa | 0x60c0e);
        break;
    }
  }
}

/* Every page once in random order, over and over. */
static void permutation(const struct mapping *m) {
  for (uint32_t i = 0; i < m->count; i++) pattern[i] = i;
  for (uint32_t i = m->count - 1; i > 0; i--) {
    uint32_t j = draw(i + 1), page = pattern[i];
    pattern[i] = pattern[j];
    pattern[j] = page;
  }
  for (uint32_t i = m->count; i < OPERATIONS; i++) pattern[i] = pattern[i - m->count];
}
#endif
