// hopper.cpp: what the words of hopper.h do: mbarriers, tensor loads (TMA), warpgroup mma.
// Loads and products are done as late as they may be, by the async proxy: to TSan one more thread, which sees ordinary
// stores only after fence.proxy.async.
#include <cstring>

#include "cuda/emulator/scheduler.h"

namespace ringbench::emulated {
namespace {

// 8 bytes of shared memory. The phase ends when nobody and nothing is awaited any more.
struct MBarrier {
  uint16_t expected, pending;
  int32_t bytes : 31;
  uint32_t phase : 1;
};
static_assert(sizeof(MBarrier) == 8);

MBarrier& state(uint64_t* barrier) { return *reinterpret_cast<MBarrier*>(barrier); }
char* token(uint64_t* barrier, unsigned phase) { return reinterpret_cast<char*>(barrier) + phase; }

char proxy_done_token;

struct AsProxy {
  AsProxy() {
    tsan::switch_to(current_block->proxy);
    tsan::acquire(&proxy_token);
  }
  ~AsProxy() {
    tsan::release(&proxy_done_token);
    tsan::release(&done_token);
    tsan::switch_to(self->tsan);
  }
  AsProxy(const AsProxy&) = delete;
  AsProxy& operator=(const AsProxy&) = delete;
};

void settle(uint64_t* barrier) {
  MBarrier& b = state(barrier);
  if (b.pending != 0 || b.bytes != 0) return;
  b.phase ^= 1;
  b.pending = b.expected;
  for (Fiber& f : current_block->fibers)
    if (f.waiting_on == barrier) wake(f);
}

// 128-byte swizzle: which 16-byte unit of its 128-byte row a byte is in, xor the row's number modulo 8.
uintptr_t swizzled(uintptr_t address) { return address ^ (address >> 3 & 0x70); }

// Calls f(index in the box, global element or null where outside) for every element of the box, innermost first.
template <class F> void each_element(const TensorMap& map, const std::array<int, 4>& corner, F f) {
  int64_t size = 1;
  for (int d = 0; d < map.rank; ++d) size *= map.box[d];
  for (int64_t i = 0; i < size; ++i) {
    int64_t rest = i, at = 0;
    bool inside = true;
    for (int d = 0; d < map.rank; ++d) {
      const int64_t x = corner[static_cast<size_t>(d)] + rest % map.box[d];
      rest /= map.box[d];
      inside = inside && x >= 0 && x < map.extent[d];
      at += x * map.stride[d];
    }
    f(i, inside ? static_cast<const uint16_t*>(map.base) + at : nullptr);
  }
}

int box_bytes(const TensorMap& map) {
  int bytes = 2;
  for (int d = 0; d < map.rank; ++d) bytes *= map.box[d];
  return bytes;
}

bool perform_loads(uint64_t* barrier) {
  auto& loads = current_block->tensor_loads;
  bool any = false;
  for (size_t i = 0; i < loads.size();) {
    const TensorLoad load = loads[i];
    if (load.barrier != barrier) {
      ++i;
      continue;
    }
    {
      const tsan::Ignore ignore;
      loads.erase(loads.begin() + static_cast<ptrdiff_t>(i));
    }
    const AsProxy proxy;
    const auto to = reinterpret_cast<uintptr_t>(load.to);
    each_element(load.map, load.corner, [&](int64_t index, const uint16_t* from) {
      auto* element = reinterpret_cast<uint16_t*>(swizzled(to + static_cast<uintptr_t>(index) * 2));
      tsan::write(element, 2, load.pc);
      if (from != nullptr) tsan::read(from, 2, load.pc);
      *element = from != nullptr ? *from : uint16_t{0};
    });
    state(barrier).bytes -= box_bytes(load.map);
    tsan::release(token(barrier, state(barrier).phase));
    settle(barrier);
    any = true;
  }
  return any;
}

// The 8 consecutive elements at (mn, k): along k, or along mn where that is the contiguous dimension. Units of 16 bytes
// stay whole under the swizzle, which goes by the address in shared memory.
const uint16_t* unit(const SwizzledTile& tile, int mn, int k) {
  const int offset = tile.mn_major ? mn / 64 * tile.panel_bytes + k * 128 + mn % 64 * 2 : mn * 128 + k * 2;
  return reinterpret_cast<const uint16_t*>(
      swizzled(reinterpret_cast<uintptr_t>(tile.base) + static_cast<uintptr_t>(offset)));
}

// out[mn][k], or with `by_k` out[k][mn]; rows of `stride` values.
void read_tile(const SwizzledTile& tile, int first, int rows, float* out, int mn_stride, int k_stride, void* pc) {
  for (int mn = 0; mn < rows; mn += tile.mn_major ? 8 : 1) {
    for (int k = 0; k < 16; k += tile.mn_major ? 1 : 8) {
      const uint16_t* from = unit(tile, first + mn, k);
      tsan::read(from, 16, pc);
      for (int e = 0; e < 8; ++e)
        out[(mn + (tile.mn_major ? e : 0)) * mn_stride + (k + (tile.mn_major ? 0 : e)) * k_stride] = widen(from[e]);
    }
  }
}

InFlight* find_in_flight(Fiber& f, const float* d) {
  for (const auto& entry : f.in_flight)
    if (entry->d == d) return entry.get();
  return nullptr;
}

// One warp's 16 rows of one wgmma: D[16][columns] += A[16][16] B[16][columns].
// PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16": D and A lie in a warp's lanes as those of mma.m16n8k16.
void multiply(const Lanes& lanes, size_t index) {
  static float A[16][16], B[16][256], D[16][256];
  const Wgmma& w = static_cast<Fiber*>(lanes[0])->wgmmas[index];
  const int warp_row = static_cast<int>(self->index / 32 % 4) * 16;
  {
    const AsProxy proxy;
    if (w.a.base != nullptr) read_tile(w.a, warp_row, 16, &A[0][0], 16, 1, w.pc);
    read_tile(w.b, 0, w.columns, &B[0][0], 1, 256, w.pc);
  }
  for (unsigned t = 0; t < 32; ++t) {
    auto& f = *static_cast<Fiber*>(lanes[t]);
    const Wgmma& mine = f.wgmmas[index];
    const float* values = find_in_flight(f, mine.d)->values.data();
    for (int i = 0; i < w.columns / 2; ++i)
      D[t / 4 + static_cast<unsigned>(i) / 2 % 2 * 8][static_cast<unsigned>(i / 4 * 8 + i % 2) + t % 4 * 2] =
          w.accumulate ? values[i] : 0.0f;
    if (w.a.base != nullptr) continue;
    for (unsigned i = 0; i < 4; ++i)
      for (unsigned e = 0; e < 2; ++e)
        A[t / 4 + i % 2 * 8][t % 4 * 2 + i / 2 * 8 + e] = widen(mine.a_registers[i] >> 16 * e & 0xFFFF);
  }
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < w.columns; ++n) D[m][n] += A[m][k] * B[k][n];
  for (unsigned t = 0; t < 32; ++t) {
    auto& f = *static_cast<Fiber*>(lanes[t]);
    float* values = find_in_flight(f, f.wgmmas[index].d)->values.data();
    for (int i = 0; i < w.columns / 2; ++i)
      values[i] = D[t / 4 + static_cast<unsigned>(i) / 2 % 2 * 8][static_cast<unsigned>(i / 4 * 8 + i % 2) + t % 4 * 2];
  }
}

}  // namespace

namespace fiber {

void mbarrier_init(uint64_t* barrier, int count, Location where) {
  check_shared(barrier, 8, where);
  tsan::write(barrier, 8);
  state(barrier) = {static_cast<uint16_t>(count), static_cast<uint16_t>(count), 0, 0};
}

void mbarrier_arrive(uint64_t* barrier, int expect_bytes, Location where) {
  check_shared(barrier, 8, where);
  MBarrier& b = state(barrier);
  if (b.pending == 0) fail("too many arrivals on an mbarrier", where);
  tsan::release(token(barrier, b.phase));
  b.bytes += expect_bytes;
  --b.pending;
  settle(barrier);
}

// Parity of the phase waited for: returns once the barrier is in the other.
void mbarrier_wait(uint64_t* barrier, int parity, Location where) {
  check_shared(barrier, 8, where);
  while (static_cast<int>(state(barrier).phase) == parity)
    if (!perform_loads(barrier)) park(barrier, "mbarrier wait", where);
  tsan::acquire(token(barrier, static_cast<unsigned>(parity)));
}

void tensor_load(void* to, const TensorMap* map, int rank, const int (&corner)[4], uint64_t* barrier, Location where) {
  check_shared(barrier, 8, where);
  if (map->rank != rank) fail("a tensor map of another rank", where);
  check_shared(to, 1024, where);  // a swizzled tile is laid out by its address
  void* pc = __builtin_return_address(0);
  const auto bytes = static_cast<size_t>(box_bytes(*map));
  tsan::write(to, bytes);
  std::memset(to, 0xFF, bytes);  // poison until it lands
  tsan::release(&proxy_token);   // the issue itself comes after what this thread did before
  ++statistics.tensor_loads;
  {
    const tsan::Ignore ignore;  // the map by value: it is a parameter of a thread that may have exited by then
    current_block->tensor_loads.push_back(
        {static_cast<std::byte*>(to), *map, std::to_array(corner), barrier, where, pc});
  }
  for (const Fiber& f : current_block->fibers) {
    if (f.waiting_on == barrier) {
      perform_loads(barrier);
      break;
    }
  }
}

void fence_proxy_async() { tsan::release(&proxy_token); }

void wgmma_issue(float* d, int columns, SwizzledTile a, const uint32_t* a_registers, SwizzledTile b, bool accumulate,
                 Location where) {
  void* pc = __builtin_return_address(0);
  for (const SwizzledTile& tile : {a, b})
    if (tile.base != nullptr) check_shared(tile.base, 16, where);
  Wgmma mine{d, columns, a, b, {}, accumulate, where, pc};
  if (a_registers != nullptr) std::copy_n(a_registers, 4, mine.a_registers);
  meet(~0u, "wgmma", &mine, where, [](const Lanes& lanes) {
    ++statistics.wgmma;
    const Wgmma& first = *static_cast<Wgmma*>(lanes[0]);
    for (void* p : lanes) {
      const Wgmma& w = *static_cast<Wgmma*>(p);
      if (w.a.base != first.a.base || w.b.base != first.b.base || w.accumulate != first.accumulate)
        fail("wgmma with operands that differ within a warp", w.where);
    }
  });
  InFlight* in_flight = find_in_flight(*self, d);
  if (in_flight == nullptr) {
    self->in_flight.push_back(std::make_unique<InFlight>());
    in_flight = self->in_flight.back().get();
    in_flight->d = d;
    in_flight->size = columns / 2;
    in_flight->uses = 0;
    std::copy_n(d, columns / 2, in_flight->values.begin());
    std::fill_n(d, columns / 2, std::bit_cast<float>(0xFFFFFFFFu));  // read before the wait, it is NaN
  }
  ++in_flight->uses;
  self->wgmmas.push_back(mine);
}

void wgmma_commit() { self->wgmma_groups.push_back(self->wgmmas.size()); }

void wgmma_wait(int pending, std::span<const float* const> accumulators, Location where) {
  auto& queue = self->wgmmas;
  auto& groups = self->wgmma_groups;
  const ptrdiff_t retired = static_cast<ptrdiff_t>(groups.size()) - pending;
  const size_t end = retired > 0 ? groups[static_cast<size_t>(retired) - 1] : 0;
  meet(~0u, "wgmma_wait", self, where, [end](const Lanes& lanes) {
    for (size_t i = 0; i < end; ++i) multiply(lanes, i);
  });
  tsan::acquire(&proxy_done_token);
  if (retired <= 0) return;
  for (size_t i = 0; i < end; ++i) {
    const auto entry =
        std::find_if(self->in_flight.begin(), self->in_flight.end(), [&](const auto& e) { return e->d == queue[i].d; });
    if (--(*entry)->uses > 0) continue;
    if (std::find(accumulators.begin(), accumulators.end(), (*entry)->d) == accumulators.end())
      fail("wgmma_wait does not name accumulators that it waits for", where);
    std::copy_n((*entry)->values.begin(), (*entry)->size, (*entry)->d);
    self->in_flight.erase(entry);
  }
  queue.erase(queue.begin(), queue.begin() + static_cast<ptrdiff_t>(end));
  groups.erase(groups.begin(), groups.begin() + retired);
  for (size_t& g : groups) g -= end;
}

}  // namespace fiber

}  // namespace ringbench::emulated
