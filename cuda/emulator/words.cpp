// words.cpp: what the words of vocabulary.h do: shuffles, votes, shared arrays, cp.async, ldmatrix, mma.
#include <cstring>

#include "cuda/emulator/scheduler.h"

namespace ringbench::emulated {

void check_shared(const void* p, size_t bytes, const Location& where) {
  const auto* c = static_cast<const std::byte*>(p);
  if (c < current_block->shared || c + bytes > current_block->shared + current_block->slab_bytes)
    fail("not a shared-memory address", where);
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0) fail("misaligned shared-memory address", where);
}

namespace fiber {

uint64_t shuffle(unsigned mask, uint64_t value, int source, Location where) {
  struct Lane {
    uint64_t in, out;
    int source;
  } lane{value, 0, source};
  meet(mask, "shuffle", &lane, where, [](const Lanes& lanes) {
    for (void* p : lanes) {
      if (p == nullptr) continue;
      auto& l = *static_cast<Lane*>(p);
      const auto* from = static_cast<const Lane*>(lanes[static_cast<size_t>(l.source & 31)]);
      l.out = from != nullptr ? from->in : ~uint64_t{0};  // an absent lane's value is poison
    }
  });
  return lane.out;
}

unsigned ballot(unsigned mask, bool predicate, Location where) {
  struct Lane {
    bool in;
    unsigned out;
  } lane{predicate, 0};
  meet(mask, "vote", &lane, where, [](const Lanes& lanes) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 32; ++i)
      if (lanes[i] != nullptr && static_cast<Lane*>(lanes[i])->in) bits |= 1u << i;
    for (void* p : lanes)
      if (p != nullptr) static_cast<Lane*>(p)->out = bits;
  });
  return lane.out;
}

void* shared_take(size_t& cursor, size_t bytes, size_t align, Location where) {
  // cursor: bytes used as on the hardware (low half) and arrays taken (high half).
  const size_t offset = ((cursor & 0xFFFFFFFF) + align - 1) / align * align, arrays = (cursor >> 32) + 1;
  const size_t used = offset + bytes;
  if (used > current_block->shared_bytes) {
    fail("shared arrays take " + std::to_string(used) + " bytes, the launch gives " +
             std::to_string(current_block->shared_bytes),
         where);
  }
  if (arrays > max_shared_arrays) fail("too many shared arrays for the emulator", where);
  cursor = arrays << 32 | used;
  std::byte* p = current_block->shared + offset + arrays * redzone_bytes;
  asan::unpoison(p, bytes);
  return p;
}

// Until its group is waited for, a copy's destination holds poison: an early read sees NaN.
void cp_async(void* to, const void* from, int bytes, int valid, Location where) {
  check_shared(to, static_cast<size_t>(bytes), where);
  if (valid != 0 && reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes) != 0)
    fail("misaligned source of cp.async", where);
  std::array<std::byte, 16> probe;  // a source out of bounds is reported here
  std::memcpy(probe.data(), from, static_cast<size_t>(valid));
  tsan::write(to, static_cast<size_t>(bytes));
  std::memset(to, 0xFF, static_cast<size_t>(bytes));
  ++statistics.cp_async;
  self->copies.push_back({to, from, bytes, valid, where});
}

void cp_async_commit() { self->copy_groups.push_back(self->copies.size()); }

void cp_async_wait(int pending) {
  auto& copies = self->copies;
  auto& groups = self->copy_groups;
  if (static_cast<int>(groups.size()) <= pending) return;
  const ptrdiff_t retired = static_cast<ptrdiff_t>(groups.size()) - pending;
  const size_t end = groups[static_cast<size_t>(retired) - 1];
  for (size_t i = 0; i < end; ++i) {
    const Copy& c = copies[i];
    tsan::read(c.from, static_cast<size_t>(c.valid));
    tsan::write(c.to, static_cast<size_t>(c.bytes));
    std::memcpy(c.to, c.from, static_cast<size_t>(c.valid));
    std::memset(static_cast<std::byte*>(c.to) + c.valid, 0, static_cast<size_t>(c.bytes - c.valid));
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<ptrdiff_t>(end));
  groups.erase(groups.begin(), groups.begin() + retired);
  for (size_t& g : groups) g -= end;
}

// PTX ISA, "ldmatrix": lanes 8m..8m+7 give the rows of matrix m; thread t gets elements 2(t%4), 2(t%4)+1 of row t/4,
// transposed: rows 2(t%4), 2(t%4)+1 of column t/4.
void ldmatrix(uint32_t* registers, int matrices, const void* row, bool transpose, Location where) {
  const auto count = static_cast<size_t>(matrices);
  if (self->index % 32 < 8 * count) check_shared(row, 16, where);
  // The lanes exchange addresses of rows; each then reads its own elements, for sanitizers to see.
  struct Lane {
    const void* row;
    std::array<const uint16_t*, 8> elements;
  } lane{row, {}};
  const auto act = [transpose, count](const Lanes& lanes) {
    ++statistics.ldmatrix;
    std::array<const uint16_t*, 32> rows;
    for (size_t i = 0; i < 32; ++i) rows[i] = static_cast<const uint16_t*>(static_cast<Lane*>(lanes[i])->row);
    for (size_t t = 0; t < 32; ++t) {
      for (size_t m = 0; m < count; ++m) {
        for (size_t e = 0; e < 2; ++e) {
          static_cast<Lane*>(lanes[t])->elements[2 * m + e] =
              transpose ? rows[8 * m + t % 4 * 2 + e] + t / 4 : rows[8 * m + t / 4] + t % 4 * 2 + e;
        }
      }
    }
    for (size_t m = 0; m < count; ++m) {
      unsigned used = 0;
      for (size_t i = 0; i < 8; ++i) used |= 1u << (reinterpret_cast<uintptr_t>(rows[8 * m + i]) / 16 % 8);
      statistics.ldmatrix_conflicts += static_cast<unsigned>(8 - std::popcount(used));
    }
  };
  meet(~0u, transpose ? "ldmatrix.trans" : "ldmatrix", &lane, where, act);
  for (size_t m = 0; m < count; ++m) {
    tsan::read(lane.elements[2 * m], 2);
    tsan::read(lane.elements[2 * m + 1], 2);
    registers[m] = *lane.elements[2 * m] | static_cast<uint32_t>(*lane.elements[2 * m + 1]) << 16;
  }
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16": with g = lane / 4 and c = lane % 4 * 2, register i of A holds row
// g + 8 (i % 2), columns c + 8 (i / 2) and the next; of B rows c + 8 i and the next, column g; of D row g + 8 (i / 2),
// column c + i % 2.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location where) {
  struct Lane {
    float* d;
    const uint32_t *a, *b;
  } lane{d, a, b};
  meet(~0u, "mma.m16n8k16", &lane, where, [](const Lanes& lanes) {
    ++statistics.mma;
    float A[16][16], B[16][8], D[16][8];
    for (unsigned t = 0; t < 32; ++t) {
      const Lane& l = *static_cast<Lane*>(lanes[t]);
      const unsigned g = t / 4, c = t % 4 * 2;
      for (unsigned e = 0; e < 2; ++e) {
        for (unsigned i = 0; i < 4; ++i) A[g + i % 2 * 8][c + i / 2 * 8 + e] = widen(l.a[i] >> 16 * e & 0xFFFF);
        for (unsigned i = 0; i < 2; ++i) B[c + i * 8 + e][g] = widen(l.b[i] >> 16 * e & 0xFFFF);
      }
      for (unsigned i = 0; i < 4; ++i) D[g + i / 2 * 8][c + i % 2] = l.d[i];
    }
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < 16; ++k)
        for (int n = 0; n < 8; ++n) D[m][n] += A[m][k] * B[k][n];
    for (unsigned t = 0; t < 32; ++t)
      for (unsigned i = 0; i < 4; ++i) static_cast<Lane*>(lanes[t])->d[i] = D[t / 4 + i / 2 * 8][t % 4 * 2 + i % 2];
  });
}

}  // namespace fiber

}  // namespace ringbench::emulated
