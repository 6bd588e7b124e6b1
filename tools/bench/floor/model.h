/*
 * What the System MMU does for an access, as a C programmer would write it: machine id to bank, 4-way TLB tagged with
 * VMID and ASID, walk of ARMv7 short descriptors over a byte array, rights. The yardstick of the model in JavaScript:
 * the same work and the same results, nothing of its structure.
 */
#ifndef MODEL_H
#define MODEL_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { WAYS = 4, MAX_ENTRIES = 256, BANKS = 4, STREAMS = 32 };

/* Attributes of a translation. */
enum { PRIV_READ = 1, PRIV_WRITE = 2, USER_READ = 4, USER_WRITE = 8, EXECUTE_NEVER = 16, NS = 32, SIZE_SHIFT = 6 };
enum { MEMORY_SHIFT = 8, NOT_GLOBAL = 1 << 12 };

/* Outcomes. */
enum { DONE, TRANSLATION, ACCESS_FLAG, PERMISSION, DECODE_ERROR, NOT_ROUTED, PARKED };

/* Tags; 0 is no entry. */
enum { VALID = 1 << 16, SIZE_IN_TAG = 14, GLOBAL = 1 << 13, VMID_IN_TAG = 8 };

/* A set of four is one cache line. */
struct entry {
  uint32_t page, tag, pa, attributes;
};

struct bank {
  bool enabled, blocked, access_flag, override_privilege, privileged;
  uint8_t asid, vmid;
  bool walk_disabled[2];
  unsigned split_shift;
  uint32_t table[2];
  uint32_t memory_table[64];
  uint32_t words[1024];
};

struct smmu {
  struct entry entries[MAX_ENTRIES];
  uint8_t next[MAX_ENTRIES / WAYS];
  unsigned set_mask, in_use[4], holes;
  uint64_t walks;
  const uint8_t *memory;
  uint32_t memory_base, memory_size;
  int16_t route[STREAMS]; /* bank, or -1 */
  uint8_t route_vmid[STREAMS];
  struct bank banks[BANKS];
  /* The result of translate. */
  uint32_t pa, attributes;
  int fault;
};

static const uint8_t page_shift[4] = {12, 16, 20, 24};
static const uint32_t page_mask[4] = {0xfffff000, 0xffff0000, 0xfff00000, 0xff000000};
static const uint8_t rights_by_ap[8] = {0, 3, 7, 15, 0, 1, 5, 5};

static inline bool load(const struct smmu *s, uint32_t at, uint32_t *word) {
  uint32_t offset = at - s->memory_base;
  if (offset > s->memory_size - 4) return false;
  memcpy(word, s->memory + offset, 4);
  return true;
}

static inline struct entry *set_of(struct smmu *s, uint32_t va, unsigned size) {
  return &s->entries[((va >> page_shift[size]) & s->set_mask) * WAYS];
}

static inline void drop(struct smmu *s, struct entry *e) {
  s->in_use[(e->tag >> SIZE_IN_TAG) & 3]--;
  e->tag = 0;
  s->holes++;
}

/* Loads a translation: into a way that is free, else round robin. */
static inline struct entry *insert(struct smmu *s, uint32_t va, uint32_t tag, uint32_t pa, uint32_t attributes,
                                   unsigned size) {
  if ((attributes & NOT_GLOBAL) == 0) tag = (tag & ~0xffu) | GLOBAL;
  struct entry *set = set_of(s, va, size), *victim = NULL;
  if (s->holes != 0) {
    for (unsigned way = 0; way < WAYS && victim == NULL; way++)
      if (set[way].tag == 0) victim = &set[way];
  }
  if (victim != NULL) {
    s->holes--;
    s->in_use[size]++;
  } else {
    uint8_t *next = &s->next[(set - s->entries) / WAYS];
    victim = &set[*next];
    *next = (*next + 1) % WAYS;
    unsigned old = (victim->tag >> SIZE_IN_TAG) & 3;
    if (old != size) {
      s->in_use[old]--;
      s->in_use[size]++;
    }
  }
  victim->page = va & page_mask[size];
  victim->tag = tag | size << SIZE_IN_TAG;
  victim->pa = pa;
  victim->attributes = attributes;
  return victim;
}

/* Attributes of a leaf; where its bits stand depends on its size, and folds into constants. */
static inline uint32_t leaf(const struct bank *b, uint32_t word, unsigned size) {
  unsigned shift = size < 2 ? 0 : 6, tex_shift = size == 0 ? 6 : 12;
  unsigned never_shift = size == 0 ? 0 : size == 1 ? 15 : 4;
  unsigned ap = ((word >> (4 + shift)) & 3) | ((word >> (7 + shift)) & 4);
  unsigned class = ((word >> tex_shift) & 7) << 3 | ((word >> 1) & 6) | ((word >> (10 + shift)) & 1);
  return rights_by_ap[ap] | ((word >> never_shift) & 1) * EXECUTE_NEVER | b->memory_table[class] |
         size << SIZE_SHIFT | ((word >> (11 + shift)) & 1) * NOT_GLOBAL;
}

static inline struct entry *fault(struct smmu *s, int outcome) {
  s->fault = outcome;
  return NULL;
}

/* The entry that is loaded; NULL, with the reason in s->fault, if there is nothing to load. */
static __attribute__((noinline)) struct entry *walk(struct smmu *s, const struct bank *b, uint32_t va,
                                                    uint32_t tag) {
  s->walks++;
  unsigned upper = b->split_shift < 32 && va >> b->split_shift != 0;
  if (b->walk_disabled[upper]) return fault(s, TRANSLATION);
  uint32_t word;
  if (!load(s, b->table[upper] + (va >> 20) * 4, &word)) return fault(s, DECODE_ERROR);
  if ((word & 3) == 1) {
    uint32_t ns = ((word >> 3) & 1) * NS;
    if (!load(s, (word & 0xfffffc00) + ((va >> 12) & 0xff) * 4, &word)) return fault(s, DECODE_ERROR);
    if ((word & 3) == 0) return fault(s, TRANSLATION);
    if (b->access_flag && (word & 0x10) == 0) return fault(s, ACCESS_FLAG);
    if (word & 2) return insert(s, va, tag, word, leaf(b, word, 0) | ns, 0);
    return insert(s, va, tag, word, leaf(b, word, 1) | ns, 1);
  }
  if ((word & 3) != 2) return fault(s, TRANSLATION);
  if (b->access_flag && (word & 0x400) == 0) return fault(s, ACCESS_FLAG);
  uint32_t ns = ((word >> 19) & 1) * NS;
  if (word & 0x40000) return insert(s, va, tag, word, leaf(b, word, 3) | ns, 3);
  return insert(s, va, tag, word, leaf(b, word, 2) | ns, 2);
}

static inline struct entry *probe(struct smmu *s, uint32_t va, uint32_t tag, unsigned size) {
  uint32_t page = va & page_mask[size];
  tag |= size << SIZE_IN_TAG;
  struct entry *set = set_of(s, va, size);
  for (struct entry *e = set; e < set + WAYS; e++) {
    if (e->page == page && (e->tag == tag || e->tag == ((tag & ~0xffu) | GLOBAL))) return e;
  }
  return NULL;
}

/* The translation path that accesses and V2P share. Sizes that no entry has are not looked for. */
static inline __attribute__((always_inline)) int lookup(struct smmu *s, const struct bank *b, uint8_t vmid, uint32_t va, uint32_t right,
                         bool instruction) {
  uint32_t tag = VALID | (uint32_t)vmid << VMID_IN_TAG | b->asid;
  struct entry *e = NULL;
  if (s->in_use[0]) e = probe(s, va, tag, 0);
  if (e == NULL && s->in_use[1]) e = probe(s, va, tag, 1);
  if (e == NULL && s->in_use[2]) e = probe(s, va, tag, 2);
  if (e == NULL && s->in_use[3]) e = probe(s, va, tag, 3);
  if (e == NULL) {
    e = walk(s, b, va, tag);
    if (e == NULL) return s->fault;
  }
  uint32_t attributes = e->attributes;
  if ((attributes & right) == 0 || (instruction && (attributes & EXECUTE_NEVER))) return PERMISSION;
  uint32_t mask = page_mask[(attributes >> SIZE_SHIFT) & 3];
  s->pa = (e->pa & mask) | (va & ~mask);
  s->attributes = attributes;
  return DONE;
}

/* The address phase of an access. */
static inline int translate(struct smmu *s, unsigned mid, uint32_t va, bool write, bool privileged,
                            bool instruction) {
  if (mid >= STREAMS || s->route[mid] < 0) return NOT_ROUTED;
  const struct bank *b = &s->banks[s->route[mid]];
  if (!b->enabled) {
    s->pa = va;
    s->attributes = 0;
    return DONE;
  }
  if (b->blocked) return PARKED;
  if (b->override_privilege) privileged = b->privileged;
  uint32_t right = privileged ? (write ? PRIV_WRITE : PRIV_READ) : (write ? USER_WRITE : USER_READ);
  return lookup(s, b, s->route_vmid[mid], va, right, instruction);
}

/* TLBIVA: the entries of one page, of an ASID or global. */
static inline void invalidate_address(struct smmu *s, const struct bank *b, uint32_t data) {
  for (unsigned size = 0; size < 4; size++) {
    if (s->in_use[size] == 0) continue;
    uint32_t page = data & page_mask[size];
    uint32_t any = VALID | size << SIZE_IN_TAG | (uint32_t)b->vmid << VMID_IN_TAG;
    struct entry *set = set_of(s, data, size);
    for (struct entry *e = set; e < set + WAYS; e++) {
      if (e->page == page && (e->tag == (any | (data & 0xff)) || e->tag == (any | GLOBAL))) drop(s, e);
    }
  }
}

/* CTX_TLBIALL: the entries of a VMID. */
static inline void invalidate_context(struct smmu *s, const struct bank *b) {
  for (struct entry *e = s->entries; e < s->entries + (s->set_mask + 1) * WAYS; e++) {
    if (e->tag != 0 && ((e->tag >> VMID_IN_TAG) & 0x1f) == b->vmid) drop(s, e);
  }
}

/* Registers that the benchmark uses, as word numbers in a bank's page. */
enum { R_SCTLR, R_ACTLR, R_CONTEXTIDR, R_TTBR0 = 4, R_TTBR1, R_TTBCR, R_PAR, R_FSR, R_FAR = 10 };
enum { R_CTX_TLBIALL = 0x800 / 4, R_TLBIVA = 0x808 / 4, R_V2PPR = 0x810 / 4 };

static inline uint32_t read_register(const struct smmu *s, uint32_t offset) {
  unsigned bank = offset >> 12;
  if (bank >= BANKS) return 0;
  return s->banks[bank].words[(offset & 0xfff) / 4]; /* a register that cannot be read holds 0 */
}

static inline void write_register(struct smmu *s, uint32_t offset, uint32_t value) {
  unsigned index = offset >> 12;
  if (index >= BANKS) return;
  struct bank *b = &s->banks[index];
  unsigned word = (offset & 0xfff) / 4;
  switch (word) {
    case R_CTX_TLBIALL:
      invalidate_context(s, b);
      return;
    case R_TLBIVA:
      invalidate_address(s, b, value);
      return;
    case R_V2PPR:
      /* PAR: the page, and below it what it is like, or why not. */
      if (lookup(s, b, b->vmid, value & 0xfffff000, PRIV_READ, false) == DONE)
        b->words[R_PAR] = (s->pa & 0xfffff000) | ((s->attributes >> MEMORY_SHIFT) & 7) << 4;
      else
        b->words[R_PAR] = 1;
      return;
    case R_CONTEXTIDR:
      b->asid = value & 0xff;
      break;
    case R_TTBR0:
      b->table[0] = value & 0xffffc000;
      break;
    case R_TTBR1:
      b->table[1] = value & 0xffffc000;
      break;
    default:
      break;
  }
  b->words[word] = value;
}
#endif
