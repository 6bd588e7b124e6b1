/*
 * Times one case: smmu CASE ENTRIES MILLISECONDS. Prints, as JSON, nanoseconds per operation (the median over passes),
 * and checksum and number of walks of one pass.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "cases.h"

enum work { TRANSLATE, MIX, INVALIDATE_ADDRESS, INVALIDATE_CONTEXT, PROBE, READ, WRITE };
enum order { ONE, SEQUENTIAL, STREAM, RANDOM, PERMUTED, SPARSE, REGISTERS };

struct bench {
  const char *name;
  enum work work;
  enum order order;
  unsigned share; /* the case keeps to 1/share of the TLB; 0: to all pages that are mapped */
  struct mapping mapping;
};

#define SMALL {0, 65536, 0x10000000, 0x80000000}

static const struct bench benches[] = {
    {"hot one page", TRANSLATE, ONE, 0, SMALL},
    {"hot sequential", TRANSLATE, SEQUENTIAL, 2, SMALL},
    {"hot random", TRANSLATE, RANDOM, 2, SMALL},
    {"full TLB", TRANSLATE, RANDOM, 1, SMALL},
    {"hot stream", TRANSLATE, STREAM, 2, SMALL},
    {"cold sequential", TRANSLATE, SEQUENTIAL, 0, SMALL},
    {"cold random", TRANSLATE, PERMUTED, 0, SMALL},
    {"cold sparse", TRANSLATE, SPARSE, 0, {0, 1048576, 0, 0}},
    {"cold large pages", TRANSLATE, PERMUTED, 0, {1, 4096, 0x10000000, 0x80000000}},
    {"cold sections", TRANSLATE, PERMUTED, 0, {2, 1024, 0x10000000, 0x80000000}},
    {"cold supersections", TRANSLATE, PERMUTED, 0, {3, 256, 0, 0}},
    {"four banks", MIX, RANDOM, 8, SMALL},
    {"TLBIVA", INVALIDATE_ADDRESS, RANDOM, 2, SMALL},
    {"CTX_TLBIALL", INVALIDATE_CONTEXT, RANDOM, 2, SMALL},
    {"V2P hot", PROBE, RANDOM, 2, SMALL},
    {"V2P cold", PROBE, PERMUTED, 0, SMALL},
    {"register read", READ, REGISTERS, 0, SMALL},
    {"register write", WRITE, REGISTERS, 0, SMALL},
};

static struct smmu device;
static const uint32_t registers[4] = {R_TTBR0 * 4, R_TTBR1 * 4, R_CONTEXTIDR * 4, R_FAR * 4};

static void make_pattern(const struct bench *bench, unsigned entries) {
  const struct mapping *m = &bench->mapping;
  uint32_t pages = bench->share == 0 ? m->count : entries / bench->share;
  lcg = 1;
  if (bench->order == PERMUTED) permutation(m);
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    uint32_t page = 0;
    switch (bench->order) {
      case ONE:
        break;
      case SEQUENTIAL:
        page = i % pages;
        break;
      case STREAM:
        pattern[i] = m->va + (i * 64) % (pages * 4096);
        continue;
      case RANDOM:
        page = draw(pages);
        break;
      case PERMUTED:
        page = pattern[i];
        break;
      case SPARSE:
        page = draw(1024) * 1024;
        page += draw(1024);
        break;
      case REGISTERS:
        page = draw(BANKS);
        pattern[i] = page * 0x1000 + registers[draw(4)];
        continue;
    }
    pattern[i] = va_of(m, page) + draw(1024) * 4;
    if (bench->work == MIX) pattern[i] += draw(BANKS);
  }
}

static void attach(const struct bench *bench, unsigned entries) {
  tables = calloc(1, TABLE_BYTES);
  device.memory = tables;
  device.memory_base = TABLE_BASE;
  device.memory_size = TABLE_BYTES;
  device.set_mask = entries / WAYS - 1;
  device.holes = entries;
  for (unsigned mid = 0; mid < STREAMS; mid++) device.route[mid] = mid < BANKS ? (int16_t)mid : -1;
  for (unsigned i = 0; i < (bench->work == MIX ? BANKS : 1u); i++) map_pages(&bench->mapping, i);
  for (unsigned i = 0; i < BANKS; i++) {
    struct bank *b = &device.banks[i];
    b->split_shift = 32;
    for (unsigned class = 0; class < 64; class++) b->memory_table[class] = (class & 7) << MEMORY_SHIFT;
    write_register(&device, i * 0x1000 + R_CONTEXTIDR * 4, i + 1);
    write_register(&device, i * 0x1000 + R_TTBR0 * 4, FIRST_LEVEL(i));
    b->enabled = true;
  }
}

static uint32_t fail(void) {
  fputs("a translation failed\n", stderr);
  exit(1);
}

/* Each of these does OPERATIONS operations. They stay apart, so that each is compiled for its own loop. */
static __attribute__((noinline)) uint32_t translate_all(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    if (translate(s, 0, pattern[i], false, false, false) != DONE) return fail();
    sum += s->pa;
  }
  return sum;
}

static __attribute__((noinline)) uint32_t translate_mix(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    if (translate(s, pattern[i] & 3, pattern[i] & ~3u, false, false, false) != DONE) return fail();
    sum += s->pa;
  }
  return sum;
}

static __attribute__((noinline)) uint32_t invalidate_one(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    if (i % 16 == 0) write_register(s, R_TLBIVA * 4, (pattern[i] & 0xfffff000) | 1);
    if (translate(s, 0, pattern[i], false, false, false) != DONE) return fail();
    sum += s->pa;
  }
  return sum;
}

static __attribute__((noinline)) uint32_t invalidate_all(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    if (i % 64 == 0) write_register(s, R_CTX_TLBIALL * 4, 0);
    if (translate(s, 0, pattern[i], false, false, false) != DONE) return fail();
    sum += s->pa;
  }
  return sum;
}

static __attribute__((noinline)) uint32_t probe_all(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) {
    write_register(s, R_V2PPR * 4, pattern[i] & 0xfffff000);
    uint32_t par = read_register(s, R_PAR * 4);
    if (par & 1) return fail();
    sum += par & 0xfffff000;
  }
  return sum;
}

static __attribute__((noinline)) uint32_t read_all(struct smmu *s) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < OPERATIONS; i++) sum += read_register(s, pattern[i]);
  return sum;
}

static __attribute__((noinline)) uint32_t write_all(struct smmu *s) {
  for (uint32_t i = 0; i < OPERATIONS; i++) write_register(s, pattern[i], i << 14);
  uint32_t sum = 0;
  for (unsigned bank = 0; bank < BANKS; bank++)
    for (unsigned i = 0; i < 4; i++) sum += read_register(s, bank * 0x1000 + registers[i]);
  return sum;
}

static uint32_t (*const works[])(struct smmu *) = {
    [TRANSLATE] = translate_all,
    [MIX] = translate_mix,
    [INVALIDATE_ADDRESS] = invalidate_one,
    [INVALIDATE_CONTEXT] = invalidate_all,
    [PROBE] = probe_all,
    [READ] = read_all,
    [WRITE] = write_all,
};

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

int main(int argc, char **argv) {
  const struct bench *bench = NULL;
  for (size_t i = 0; argc == 4 && i < sizeof benches / sizeof *benches; i++)
    if (strcmp(benches[i].name, argv[1]) == 0) bench = &benches[i];
  unsigned entries = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
  if (bench == NULL || (entries != 64 && entries != 256)) {
    fputs("usage: smmu CASE 64|256 MILLISECONDS\n", stderr);
    return 2;
  }
  attach(bench, entries);
  make_pattern(bench, entries);
  uint32_t (*work)(struct smmu *) = works[bench->work];
  if (bench->work == READ) write_all(&device);
  work(&device); /* settles the TLB */
  uint64_t walks = device.walks;
  uint32_t checksum = work(&device);
  walks = device.walks - walks;

  double budget = atof(argv[3]) * 1e6;
  for (double start = now(); now() - start < budget / 4;) work(&device);
  enum { MOST = 100000 };
  double *samples = malloc(MOST * sizeof *samples);
  size_t count = 0;
  for (double start = now(); count < MOST && (count < 5 || now() - start < budget);) {
    double before = now();
    if (work(&device) != checksum) return fail();
    samples[count++] = now() - before;
  }
  qsort(samples, count, sizeof *samples, ascending);
  printf("{\"ns\": %.4f, \"checksum\": %u, \"walks\": %llu}\n", samples[count / 2] / OPERATIONS, checksum,
         (unsigned long long)walks);
  return 0;
}
