/*
 * Times one case of packages/backend-msm/bench: table WORK PAGE_BYTES PAGES TABLES MILLISECONDS. Prints, as JSON,
 * nanoseconds per operation (the median over passes) and a checksum of one pass. What a pass undoes again, so that the
 * next finds the same, is not timed.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "table.h"

enum { DRAWS = 8192, LOOKUPS = 65536, LIST = 256, SAMPLE_STEP = 1024, BLOCK = 255 };

static struct table *tables;
static uint32_t page_bytes, pages, table_count;
static uint64_t iova_base;
static uint32_t pa_base;
static uint32_t *pattern, *frames;

/* Draws as cases.h has it. */
static uint32_t lcg = 1;
static uint32_t draw(uint32_t n) {
  lcg = lcg * 1664525u + 1013904223u;
  return ((lcg >> 16) * n) >> 16;
}

static void fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static void must(bool done) {
  if (!done) fail("a map failed");
}

static uint64_t iova_of(uint32_t page) { return iova_base + (uint64_t)page * page_bytes; }
static uint32_t pa_of(uint32_t page) { return pa_base + page * page_bytes; }

static uint32_t samples(void) {
  uint32_t sum = 0;
  for (uint32_t t = 0; t < table_count; t++)
    for (uint32_t page = 0; page < pages; page += SAMPLE_STEP) sum += leaf_at(&tables[t], iova_of(page));
  return sum;
}

/* All pages in one call a table. */
static uint32_t map_all(void) {
  for (uint32_t t = 0; t < table_count; t++) must(map(&tables[t], iova_base, pa_base, page_bytes, pages));
  return samples();
}

static uint32_t unmap_all(void) {
  uint32_t sum = 0;
  for (uint32_t t = 0; t < table_count; t++) sum += unmap(&tables[t], iova_base, (uint64_t)pages * page_bytes);
  return sum + samples();
}

static uint32_t map_and_unmap(void) {
  uint32_t sum = 0;
  for (uint32_t t = 0; t < table_count; t++) {
    must(map(&tables[t], iova_base, pa_base, page_bytes, pages));
    sum += leaf_at(&tables[t], iova_base);
    sum += unmap(&tables[t], iova_base, (uint64_t)pages * page_bytes);
  }
  return sum;
}

/* The last page of each MiB stays mapped; a call maps what is before it. `pages` counts MiB here. */
static void keep_last_pages(void) {
  for (uint32_t i = 0; i < pages; i++)
    must(map(tables, iova_base + (uint64_t)i * SECTION + BLOCK * 0x1000, pa_base, 0x1000, 1));
}

static uint32_t map_blocks(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages; i++) must(map(tables, iova_base + i * SECTION, pa_base + i * SECTION, 0x1000, BLOCK));
  for (uint32_t i = 0; i < pages; i += 64) sum += leaf_at(tables, iova_base + i * SECTION);
  return sum;
}

static uint32_t unmap_blocks(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages; i++) sum += unmap(tables, iova_base + i * SECTION, BLOCK * 0x1000);
  return sum;
}

/* A call a page. */
static uint32_t map_each(void) {
  for (uint32_t i = 0; i < pages; i++) must(map(tables, iova_of(i), pa_of(i), page_bytes, 1));
  return samples();
}

static uint32_t unmap_each(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages; i++) sum += unmap(tables, iova_of(i), page_bytes);
  return sum;
}

/* One of the pages that are mapped goes and comes back. */
static uint32_t remap_drawn(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < DRAWS; i++) {
    uint32_t page = pattern[i];
    sum += unmap(tables, iova_of(page), page_bytes);
    must(map(tables, iova_of(page), pa_of(page), page_bytes, 1));
  }
  return sum;
}

/* Buffers of LIST scattered pages, one a MiB. */
static bool map_list(struct table *t, uint64_t iova, const uint32_t *list, uint32_t count) {
  static uint32_t fresh[FIRST_LEVEL_WORDS];
  uint64_t end = iova + (uint64_t)count * 0x1000, at = iova;
  if (!is_vacant(t, iova, end, true) || !allocate_missing(t, iova, end, fresh)) return false;
  for (uint32_t i = 0, done = 0; at < end; i++) {
    uint64_t stop = least(end, end_of_section(at));
    uint32_t section = at >> 20, entry = fresh[i] != 0 ? fresh[i] : t->first[section];
    uint32_t *to = &second_level(entry)[(at >> 12) & 0xff];
    unsigned words = (stop - at) >> 12;
    for (unsigned j = 0; j < words; j++) to[j] = list[done + j] | SMALL_BITS;
    t->live[section] += words;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    t->first[section] = entry;
    done += words;
    at = stop;
  }
  return true;
}

static uint32_t map_lists(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages / LIST; i++)
    must(map_list(tables, iova_base + (uint64_t)i * SECTION, &frames[i * LIST], LIST));
  for (uint32_t i = 0; i < pages / LIST; i++) sum += leaf_at(tables, iova_base + i * SECTION + 0x1000);
  return sum;
}

static uint32_t unmap_lists(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages / LIST; i++)
    sum += unmap(tables, iova_base + (uint64_t)i * SECTION, LIST * 0x1000);
  return sum;
}

static uint32_t look_up(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < LOOKUPS; i++) sum += lookup(tables, pattern[i]);
  return sum;
}

static void make_frames(void) {
  frames = malloc(pages * sizeof *frames);
  for (uint32_t i = 0; i < pages; i++) frames[i] = 0x80000000u + ((i * 40503u) & 0xffff) * 0x1000;
}

static void make_draws(void) {
  pattern = malloc(DRAWS * sizeof *pattern);
  for (uint32_t i = 0; i < DRAWS; i++) {
    uint32_t high = pages > 65536 ? draw(pages / 65536) * 65536 : 0;
    pattern[i] = high + draw(pages > 65536 ? 65536 : pages);
  }
  must(map_each() != 0);
}

static void make_addresses(void) {
  pattern = malloc(LOOKUPS * sizeof *pattern);
  must(map_all() != 0);
  for (uint32_t i = 0; i < LOOKUPS; i++) {
    uint32_t page = draw(pages);
    pattern[i] = iova_of(page) + draw(1024) * 4;
  }
}

struct work {
  const char *name;
  void (*prepare)(void);
  uint32_t (*before)(void); /* not timed */
  uint32_t (*run)(void);
  uint32_t (*after)(void); /* not timed */
};

static const struct work works[] = {
    {"map", NULL, NULL, map_all, unmap_all},
    {"unmap", NULL, map_all, unmap_all, NULL},
    {"map and unmap", NULL, NULL, map_and_unmap, NULL},
    {"map blocks", keep_last_pages, NULL, map_blocks, unmap_blocks},
    {"unmap blocks", keep_last_pages, map_blocks, unmap_blocks, NULL},
    {"map each", NULL, NULL, map_each, unmap_each},
    {"unmap each", NULL, map_each, unmap_each, NULL},
    {"remap drawn", make_draws, NULL, remap_drawn, NULL},
    {"map lists", make_frames, NULL, map_lists, unmap_lists},
    {"unmap lists", make_frames, map_lists, unmap_lists, NULL},
    {"look up", make_addresses, NULL, look_up, NULL},
};

static double operations(const struct work *work) {
  if (strstr(work->name, "blocks") != NULL) return (double)pages * BLOCK;
  if (work->run == remap_drawn) return DRAWS;
  if (work->run == look_up) return LOOKUPS;
  return (double)pages * table_count;
}

/* Time this process has had on a core. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double pass(const struct work *work, uint32_t *checksum) {
  if (work->before != NULL) work->before();
  double start = now();
  *checksum = work->run();
  double taken = now() - start;
  if (work->after != NULL) work->after();
  return taken;
}

int main(int argc, char **argv) {
  const struct work *work = NULL;
  for (size_t i = 0; argc == 6 && i < sizeof works / sizeof *works; i++)
    if (strcmp(works[i].name, argv[1]) == 0) work = &works[i];
  if (work == NULL) {
    fputs("usage: table WORK PAGE_BYTES PAGES TABLES MILLISECONDS\n", stderr);
    return 2;
  }
  page_bytes = strtoul(argv[2], NULL, 0);
  pages = strtoul(argv[3], NULL, 0);
  table_count = strtoul(argv[4], NULL, 0);
  iova_base = (uint64_t)page_bytes * pages > 0xe0000000u ? 0 : 0x10000000;
  pa_base = iova_base + page_bytes; /* not congruent modulo the next larger size of page */
  tables = calloc(table_count, sizeof *tables);
  make_pool();
  if (work->prepare != NULL) work->prepare();

  uint32_t checksum, again;
  pass(work, &checksum);
  double budget = atof(argv[5]) * 1e6;
  for (double spent = 0; spent < budget / 4;) spent += pass(work, &again);
  enum { MOST = 100000 };
  double *taken = malloc(MOST * sizeof *taken), spent = 0;
  size_t count = 0;
  for (; count < MOST && (count < 5 || spent < budget); count++) {
    taken[count] = pass(work, &again);
    spent += taken[count];
    if (again != checksum) fail("the passes do not do the same");
  }
  qsort(taken, count, sizeof *taken, ascending);
  printf("{\"ns\": %.4f, \"checksum\": %u}\n", taken[count / 2] / operations(work), checksum);
  return 0;
}
