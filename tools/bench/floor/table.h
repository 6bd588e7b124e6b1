/*
 * ARMv7 short-descriptor tables as a C programmer would write them: a 16 KiB first level, 1 KiB second levels from a
 * free list, how many entries of each are live, everything checked before anything is written. The yardstick of mapping
 * through the IOMMU API: the same descriptors, and nothing else of what the API does (no journal, no registers).
 */
#ifndef TABLE_H
#define TABLE_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SECTION = 0x100000, SECOND_LEVEL_WORDS = 256, FIRST_LEVEL_WORDS = 4096, POOL_TABLES = 8192 };

/* Read-write, cached as io-pgtable-arm-v7s.c has it without IOMMU_CACHE: TEX[0] C B = 100; shareable, nG, AF. */
enum { SMALL_BITS = 0xc72, LARGE_BITS = 0x1c31, SECTION_BITS = 0x31c02, SUPERSECTION_BITS = 0x71c02 };

struct table {
  uint32_t first[FIRST_LEVEL_WORDS];
  uint16_t live[FIRST_LEVEL_WORDS];
};

/* Second-level tables; a first-level entry holds the number of one, times 1024. */
static uint32_t (*pool)[SECOND_LEVEL_WORDS];
static uint32_t free_tables[POOL_TABLES], free_count;

static void make_pool(void) {
  pool = calloc(POOL_TABLES, sizeof *pool);
  for (uint32_t i = 0; i < POOL_TABLES; i++) free_tables[free_count++] = POOL_TABLES - 1 - i;
}

static inline uint32_t *second_level(uint32_t entry) { return pool[entry >> 10]; }

static inline uint64_t end_of_section(uint64_t iova) { return (iova | (SECTION - 1)) + 1; }

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool is_vacant(const struct table *t, uint64_t iova, uint64_t end, bool is_second) {
  for (; iova < end; iova = end_of_section(iova)) {
    uint32_t entry = t->first[iova >> 20];
    if ((entry & 3) == 0) continue;
    if (!is_second || (entry & 3) != 1) return false;
    const uint32_t *words = second_level(entry);
    unsigned last = ((least(end, end_of_section(iova)) - 1) >> 12) & 0xff;
    for (unsigned i = (iova >> 12) & 0xff; i <= last; i++)
      if ((words[i] & 3) != 0) return false;
  }
  return true;
}

/* Gives each MiB of the range a table, or none of them. */
static bool allocate_missing(struct table *t, uint64_t iova, uint64_t end, uint32_t *fresh) {
  uint32_t count = 0, first = iova >> 20, last = (end - 1) >> 20;
  for (uint32_t i = first; i <= last; i++) count += t->live[i] == 0;
  if (count > free_count) return false;
  for (uint32_t i = first; i <= last; i++) {
    fresh[i - first] = 0;
    if (t->live[i] != 0) continue;
    uint32_t number = free_tables[--free_count];
    memset(pool[number], 0, sizeof *pool);
    fresh[i - first] = number << 10 | 1;
  }
  return true;
}

static inline void write_leaves(uint32_t *to, unsigned words, uint32_t word, uint32_t bytes, unsigned replicas) {
  for (unsigned i = 0; i < words; i += replicas, word += bytes)
    for (unsigned j = 0; j < replicas; j++) to[i + j] = word;
}

/* Maps `count` pages of `bytes`. False, with nothing changed, where something is mapped or memory is out. */
static __attribute__((noinline)) bool map(struct table *t, uint64_t iova, uint32_t pa, uint32_t bytes, uint32_t count) {
  static uint32_t fresh[FIRST_LEVEL_WORDS];
  uint64_t end = iova + (uint64_t)bytes * count;
  bool is_second = bytes < SECTION;
  if (!is_vacant(t, iova, end, is_second)) return false;
  if (!is_second) {
    bool is_super = bytes > SECTION;
    write_leaves(&t->first[iova >> 20], (end - iova) >> 20, pa | (is_super ? SUPERSECTION_BITS : SECTION_BITS), bytes,
                 is_super ? 16 : 1);
    return true;
  }
  if (!allocate_missing(t, iova, end, fresh)) return false;
  bool is_large = bytes > 0x1000;
  for (uint32_t i = 0; iova < end; i++) {
    uint64_t stop = least(end, end_of_section(iova));
    uint32_t section = iova >> 20, entry = fresh[i] != 0 ? fresh[i] : t->first[section];
    unsigned words = (stop - iova) >> 12;
    write_leaves(&second_level(entry)[(iova >> 12) & 0xff], words, pa | (is_large ? LARGE_BITS : SMALL_BITS), bytes,
                 is_large ? 16 : 1);
    t->live[section] += words;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* filled before it is linked */
    t->first[section] = entry;
    pa += stop - iova;
    iova = stop;
  }
  return true;
}

/* Removes up to the first hole; leaves that stick out go whole. Tables that became empty are freed at the end. */
static __attribute__((noinline)) uint64_t unmap(struct table *t, uint64_t iova, uint64_t bytes) {
  static uint32_t emptied[FIRST_LEVEL_WORDS];
  uint32_t emptied_count = 0;
  uint64_t start = iova, end = iova + bytes;
  while (iova < end) {
    uint32_t section = iova >> 20, entry = t->first[section];
    if ((entry & 3) == 0) break;
    if ((entry & 3) == 2) {
      unsigned words = entry & 0x40000 ? 16 : 1;
      section &= -words;
      for (unsigned i = 0; i < words; i++) t->first[section + i] = 0;
      iova = (uint64_t)(section + words) << 20;
      continue;
    }
    uint64_t stop = least(end, end_of_section(iova));
    uint32_t *words = second_level(entry);
    unsigned removed = 0;
    while (iova < stop) {
      unsigned index = (iova >> 12) & 0xff;
      uint32_t word = words[index];
      if ((word & 3) == 0) break;
      unsigned run = word & 2 ? 1 : 16;
      index &= -run;
      for (unsigned i = 0; i < run; i++) words[index + i] = 0;
      removed += run;
      iova = ((uint64_t)section << 20) + ((uint64_t)(index + run) << 12);
    }
    t->live[section] -= removed;
    if (t->live[section] == 0) {
      t->first[section] = 0;
      emptied[emptied_count++] = entry >> 10;
    }
    if (iova < stop) break;
  }
  __atomic_thread_fence(__ATOMIC_SEQ_CST); /* here the TLB is told */
  while (emptied_count > 0) free_tables[free_count++] = emptied[--emptied_count];
  return iova - start;
}

/* The word that maps `iova`; 0: nothing does. */
static inline uint32_t leaf_at(const struct table *t, uint32_t iova) {
  uint32_t entry = t->first[iova >> 20];
  return (entry & 3) == 1 ? second_level(entry)[(iova >> 12) & 0xff] : entry;
}

static inline uint32_t lookup(const struct table *t, uint32_t iova) {
  uint32_t entry = t->first[iova >> 20];
  if ((entry & 3) == 0) return UINT32_MAX;
  uint32_t mask;
  if ((entry & 3) == 1) {
    entry = second_level(entry)[(iova >> 12) & 0xff];
    if ((entry & 3) == 0) return UINT32_MAX;
    mask = entry & 2 ? 0xfff : 0xffff;
  } else {
    mask = entry & 0x40000 ? 0xffffff : 0xfffff;
  }
  return (entry & ~mask) | (iova & mask);
}
#endif
