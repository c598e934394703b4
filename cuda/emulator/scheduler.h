// scheduler.h: inside the emulator: fibers, who runs next, how a warp's lanes meet, and what sanitizers are told.
// Under TSan the emulator itself is compiled without -fsanitize=thread and with RINGBENCH_EMULATOR_TSAN: it moves data
// between fibers on purpose, and declares by hand what it does to a kernel's memory.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "cuda/emulator/emulator.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(RINGBENCH_EMULATOR_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_set_fiber_name(void*, const char*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void __tsan_read_range_pc(const void*, unsigned long, void* pc);
void __tsan_write_range_pc(const void*, unsigned long, void* pc);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}
#endif

namespace ringbench::emulated {

// What TSan is told; nothing elsewhere.
namespace tsan {
#if defined(RINGBENCH_EMULATOR_TSAN)
inline constexpr bool on = true;
inline void* current() { return __tsan_get_current_fiber(); }
inline void* create() { return __tsan_create_fiber(0); }
inline void destroy(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void name(void* fiber, const std::string& text) { __tsan_set_fiber_name(fiber, text.c_str()); }
inline void switch_to(void* fiber) { __tsan_switch_to_fiber(fiber, 1); }  // 1: the switch itself orders nothing
inline void acquire(void* token) { __tsan_acquire(token); }
inline void release(void* token) { __tsan_release(token); }
// Accesses to a kernel's memory, in the name of the line `pc`: that which called the function that calls these.
inline void read(const void* p, size_t bytes, void* pc = __builtin_return_address(0)) {
  __tsan_read_range_pc(p, bytes, pc);
}
inline void write(const void* p, size_t bytes, void* pc = __builtin_return_address(0)) {
  __tsan_write_range_pc(p, bytes, pc);
}
inline void ignore_begin() { __tsan_ignore_thread_begin(); }
inline void ignore_end() { __tsan_ignore_thread_end(); }
#else
inline constexpr bool on = false;
inline void* current() { return nullptr; }
inline void* create() { return nullptr; }
inline void destroy(void*) {}
inline void name(void*, const std::string&) {}
inline void switch_to(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
inline void read(const void*, size_t, void* = nullptr) {}
inline void write(const void*, size_t, void* = nullptr) {}
inline void ignore_begin() {}
inline void ignore_end() {}
#endif

// Around the emulator's bookkeeping that fibers share: memmove and operator new are intercepted all the same.
struct Ignore {
  Ignore() { ignore_begin(); }
  ~Ignore() { ignore_end(); }
  Ignore(const Ignore&) = delete;
  Ignore& operator=(const Ignore&) = delete;
};
}  // namespace tsan

namespace asan {
#if defined(__SANITIZE_ADDRESS__)
inline void poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif
}  // namespace asan

// A cp.async in flight.
struct Copy {
  void* to;
  const void* from;
  int bytes, valid;
  Location where;
};

// A wgmma in flight, as one thread sees it.
struct Wgmma {
  float* d;
  int columns;
  SwizzledTile a, b;
  uint32_t a_registers[4];
  bool accumulate;
  Location where;
  void* pc;
};
// Accumulators in flight: NaN where the kernel has them, their values here until all that use them are waited for.
struct InFlight {
  float* d;
  int size, uses;
  std::array<float, 128> values;
};

struct Fiber {
  void* sp = nullptr;
  std::byte* stack = nullptr;  // null until it first runs, and after
  void* tsan = nullptr;
  void* fake_stack = nullptr;  // ASan's
  uint3 thread{};
  unsigned index = 0;
  bool done = false;
  const void* waiting_on = nullptr;  // a Barrier, a Meeting or an mbarrier
  const char* doing = "";
  Location where;
  std::vector<Copy> copies;         // oldest first
  std::vector<size_t> copy_groups;  // end of each committed group in copies
  std::vector<Wgmma> wgmmas;
  std::vector<size_t> wgmma_groups;
  std::vector<std::unique_ptr<InFlight>> in_flight;
};

// TSan's tokens alternate by generation: a fast thread's next arrival must not leak into this one.
struct Barrier {
  int arrived = 0, expected = 0;
  unsigned generation = 0;
  Location where;
  char token[2];
};

using Lanes = std::array<void*, 32>;  // per lane: its argument, null if it takes no part

struct Meeting {
  unsigned mask = 0, arrived = 0, generation = 0;
  const char* what = "";
  Location where;
  Lanes lanes{};
  char token[2];
};

struct Warp {
  unsigned ready = 0;
  std::array<Meeting, 32> meetings;  // by the mask's lowest lane
};

// A tensor load issued and not yet performed.
struct TensorLoad {
  std::byte* to;
  TensorMap map;
  std::array<int, 4> corner;
  uint64_t* barrier;
  Location where;
  void* pc;
};

// Kept from block to block, except under TSan, which would take what it remembers of the last for this one's.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned> order;  // of warps, by priority
  std::array<Barrier, 16> barriers{};
  std::vector<TensorLoad> tensor_loads;
  int alive = 0;
  std::byte* shared = nullptr;
  size_t shared_bytes = 0, slab_bytes = 0;
  void* proxy = nullptr;  // the async proxy, as one more TSan thread
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block();
};

// Arrays keep the hardware's offset modulo the redzone (banks, swizzles); one redzone lies before each.
inline constexpr size_t redzone_bytes = 1024, max_shared_arrays = 64;

extern std::unique_ptr<Block> current_block;
extern Fiber* self;  // who runs
extern EmulatorStatistics statistics;
extern char done_token, proxy_token;  // TSan's: what the host sees at the end, what the async proxy has been shown

void wake(Fiber&);
void park(const void* on, const char* doing, const Location&);  // until somebody wakes this fiber
// Unwinds this fiber and gives up the grid: launch() throws GpuError.
[[noreturn]] void fail(const std::string& what, const Location&);
std::string place(const Location&);
void check_shared(const void* p, size_t bytes, const Location&);
inline float widen(uint32_t bf16_bits) { return std::bit_cast<float>(bf16_bits << 16); }

// The lanes of `mask` meet; the last one to come runs act over every lane's argument. `fence`: memory is ordered too.
template <class Act>
void meet(unsigned mask, const char* what, void* mine, const Location& where, Act act, bool fence = false) {
  const unsigned lane = self->index % 32, first = self->index - lane;
  const unsigned lanes = static_cast<unsigned>(std::min<size_t>(32, current_block->fibers.size() - first));
  if (lanes < 32) mask &= (1u << lanes) - 1;
  if ((mask >> lane & 1) == 0) fail(std::string(what) + " by a lane outside its own mask", where);
  Meeting& m = current_block->warps[first / 32].meetings[static_cast<size_t>(std::countr_zero(mask))];
  if (m.arrived == 0) {
    m.mask = mask;
    m.what = what;
    m.where = where;
    m.lanes = {};
    ++statistics.collectives;
  }
  if (m.mask != mask || m.what != what || m.where.line != where.line)
    fail(std::string(what) + " does not match its warp's " + m.what + " at " + place(m.where), where);
  char* token = &m.token[m.generation & 1];
  if (fence) tsan::release(token);
  m.lanes[lane] = mine;
  m.arrived |= 1u << lane;
  if (m.arrived == mask) {
    act(m.lanes);
    m.arrived = 0;
    ++m.generation;
    for (unsigned i = 0; i < lanes; ++i)
      if (i != lane && (mask >> i & 1)) wake(current_block->fibers[first + i]);
  } else {
    park(&m, what, where);
  }
  if (fence) tsan::acquire(token);
}

}  // namespace ringbench::emulated
