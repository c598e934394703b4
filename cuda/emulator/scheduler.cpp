// scheduler.cpp: fibers and their stacks, which of them runs next, and the grid's walk over its blocks.
#include "cuda/emulator/scheduler.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <random>

#include "cuda/gpu.h"

// fiber_switch(&from, to): saves the callee-saved registers and the stack pointer, and continues at `to`.
#if defined(__x86_64__) && !defined(RINGBENCH_EMULATOR_UCONTEXT)
extern "C" void ringbench_fiber_switch(void** from, void* to);
asm(R"(
.text
.type ringbench_fiber_switch,@function
.globl ringbench_fiber_switch
.hidden ringbench_fiber_switch
ringbench_fiber_switch:
  endbr64
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp,(%rdi)
  mov %rsi,%rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
.size ringbench_fiber_switch,.-ringbench_fiber_switch
)");
#else
#include <ucontext.h>
#endif

namespace ringbench::emulated {

std::unique_ptr<Block> current_block;
EmulatorStatistics statistics;
char done_token, proxy_token;

namespace {

EmulatorOptions options;
Fiber host;  // who called run_grid
void (*kernel_entry)(const void*) = nullptr;
const void* kernel_arguments = nullptr;
std::string error;  // of the first fiber that failed
std::mt19937 randomness;
bool running = false;
char fence_token;
#if defined(__SANITIZE_ADDRESS__)
const void* host_stack = nullptr;
size_t host_stack_bytes = 0;
bool came_from_host = false;
#endif

// --- stacks ---

// Stacks with a guard page each, for as many threads as have stopped halfway at one time.
class Stacks {
 public:
  std::byte* take() {
    const tsan::Ignore ignore;
    if (free_.empty()) grow();
    std::byte* stack = free_.back();
    free_.pop_back();
    asan::unpoison(stack, bytes_);  // frames of abandoned fibers left poison
    return stack;
  }
  void give(std::byte* stack) { free_.push_back(stack); }
  // All are free again. Unmapped under TSan, so that it forgets what the last block did there.
  void reset() {
    if (tsan::on || bytes_ != options.stack_bytes) {
      for (std::byte* slab : slabs_) munmap(slab, slab_stacks * (bytes_ + guard_bytes));
      slabs_.clear();
    }
    bytes_ = options.stack_bytes;
    free_.clear();
    for (std::byte* slab : slabs_) add(slab);
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t slab_stacks = 32, guard_bytes = 4096;

  void grow() {
    const size_t each = bytes_ + guard_bytes;
    void* p =
        mmap(nullptr, slab_stacks * each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    auto* slab = static_cast<std::byte*>(p);
    for (size_t i = 0; i < slab_stacks; ++i) mprotect(slab + i * each, guard_bytes, PROT_NONE);
    slabs_.push_back(slab);
    add(slab);
  }
  void add(std::byte* slab) {
    for (size_t i = slab_stacks; i-- > 0;) free_.push_back(slab + i * (bytes_ + guard_bytes) + guard_bytes);
  }

  size_t bytes_ = 0;
  std::vector<std::byte*> slabs_, free_;
};
Stacks stacks;

// --- switching ---

void fiber_main();

#if defined(__x86_64__) && !defined(RINGBENCH_EMULATOR_UCONTEXT)
void prepare(Fiber& f, std::byte* top) {
  constexpr int saved_registers = 6;
  auto** sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // where fiber_main would return to
  *--sp = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < saved_registers; ++i) *--sp = nullptr;
  f.sp = sp;
}
void machine_switch(Fiber& from, Fiber& to) { ringbench_fiber_switch(&from.sp, to.sp); }
#else
// Elsewhere by ucontext, at some 200 ns (a system call) instead of 10. The context lives at the stack's low end.
ucontext_t host_context;
void prepare(Fiber& f, std::byte* top) {
  auto* c = new (f.stack) ucontext_t;
  getcontext(c);
  c->uc_stack.ss_sp = f.stack + sizeof(ucontext_t);
  c->uc_stack.ss_size = static_cast<size_t>(top - f.stack) - sizeof(ucontext_t);
  makecontext(c, fiber_main, 0);
}
ucontext_t* context(Fiber& f) { return &f == &host ? &host_context : reinterpret_cast<ucontext_t*>(f.stack); }
void machine_switch(Fiber& from, Fiber& to) { swapcontext(context(from), context(to)); }
#endif

// The stack's top is shifted by a multiple of a cache line: tops at equal offsets in their pages would share few sets.
void give_stack(Fiber& f) {
  f.stack = stacks.take();
  prepare(f, f.stack + stacks.bytes() - f.index % 32 * 128);
}

void become(Fiber& f) {
  self = &f;
  threadIdx = f.thread;
  tsan::switch_to(f.tsan);
}

void switch_to(Fiber& to, [[maybe_unused]] bool finally = false) {
  Fiber& from = *self;
  ++statistics.switches;
  if (&to != &host && to.stack == nullptr) give_stack(to);
  become(to);
#if defined(__SANITIZE_ADDRESS__)
  came_from_host = &from == &host;
  __sanitizer_start_switch_fiber(finally ? nullptr : &from.fake_stack, &to == &host ? host_stack : to.stack,
                                 &to == &host ? host_stack_bytes : stacks.bytes());
#endif
  machine_switch(from, to);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// The next ready fiber: of the first warp in order that has one, the next lane after the current.
Fiber* pick() {
  const unsigned current = self->index;
  for (unsigned w : current_block->order) {
    const unsigned ready = current_block->warps[w].ready, from = w == current / 32 ? current % 32 : 0;
    if (ready != 0) {
      const auto lane = static_cast<unsigned>(std::countr_zero(std::rotr(ready, static_cast<int>(from)))) + from;
      return &current_block->fibers[w * 32 + lane % 32];
    }
  }
  return nullptr;
}

// A warp runs until it stops; which goes first changes at every barrier if there is a seed.
void reorder() {
  if (options.seed != 0) std::shuffle(current_block->order.begin(), current_block->order.end(), randomness);
}

unsigned& ready_bits(const Fiber& f) { return current_block->warps[f.index / 32].ready; }
void unready(const Fiber& f) { ready_bits(f) &= ~(1u << (f.index % 32)); }

std::string block_name() {
  return "block (" + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z) +
         ")";
}

[[noreturn]] void deadlock() {
  std::string text = "deadlock in " + block_name();
  const auto state = [](const Fiber& f) {
    return f.done ? std::string("exited") : std::string(f.doing) + " at " + place(f.where);
  };
  const auto& fibers = current_block->fibers;
  for (size_t i = 0, end; i < fibers.size(); i = end) {
    for (end = i + 1; end < fibers.size() && state(fibers[end]) == state(fibers[i]);) ++end;
    text += "; threads " + std::to_string(i) + ".." + std::to_string(end - 1) + ": " + state(fibers[i]);
  }
  throw GpuError(text);
}

void complete(Barrier& b) {
  b.arrived = 0;
  ++b.generation;
  for (Fiber& f : current_block->fibers)
    if (f.waiting_on == &b) wake(f);
  reorder();
}

void exit_thread(Fiber& f) {
  if (!f.copies.empty()) fail("exit before cp.async is waited for, issued", f.copies[0].where);
  if (!f.wgmmas.empty()) fail("exit before wgmma is waited for, issued", f.wgmmas[0].where);
  tsan::release(&done_token);
  f.done = true;
  unready(f);
  --current_block->alive;
  // An exited thread no longer holds up __syncthreads.
  if (Barrier& b = current_block->barriers[0]; b.arrived != 0 && current_block->alive == b.arrived) complete(b);
}

// Where every fiber begins. A thread that never stopped leaves its stack to the next that has not begun.
void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (came_from_host) {
    host_stack = bottom;
    host_stack_bytes = bytes;
  }
#endif
  Fiber* next = nullptr;
  for (;;) {
    Fiber& f = *self;
    try {
      kernel_entry(kernel_arguments);
      exit_thread(f);
      if (current_block->alive == 0) {
        next = &host;
      } else {
        next = pick();
        if (next == nullptr) deadlock();
      }
    } catch (const std::exception& e) {
      error = e.what();
      tsan::release(&done_token);
      next = &host;
    }
    // Not under TSan: to it, the next thread would race with this one on the stack.
    if (tsan::on || next == &host || next->stack != nullptr) break;
    next->stack = f.stack;
    f.stack = nullptr;
    become(*next);
  }
  if (!tsan::on) stacks.give(self->stack);  // whoever takes it writes to it only after the switch
  switch_to(*next, true);
  __builtin_trap();
}

// --- grids and blocks ---

void reset(Fiber& f) {
  f.stack = nullptr;
  f.done = false;
  f.copies.clear();
  f.copy_groups.clear();
  f.wgmmas.clear();
  f.wgmma_groups.clear();
  f.in_flight.clear();
  if (tsan::on) {
    f.tsan = tsan::create();
    tsan::name(f.tsan, block_name() + " thread " + std::to_string(f.index));
  }
  wake(f);
}

// Shared memory starts as 0xFF: NaN as bf16 and as float, a wild index as int.
void reset_shared(Block& b, size_t shared_bytes) {
  b.shared_bytes = shared_bytes;
  const size_t needed =
      shared_bytes == 0 ? 0 : (shared_bytes + (max_shared_arrays + 1) * redzone_bytes) / redzone_bytes * redzone_bytes;
  if (needed > b.slab_bytes) {
    std::free(b.shared);
    b.shared = static_cast<std::byte*>(std::aligned_alloc(redzone_bytes, needed));
    if (b.shared == nullptr) throw std::bad_alloc();
    b.slab_bytes = needed;
  }
  if (needed == 0) return;
  asan::unpoison(b.shared, b.slab_bytes);
  std::memset(b.shared, 0xFF, needed);
  asan::poison(b.shared, b.slab_bytes);
}

void shape_block(Block& b, dim3 shape) {
  const unsigned n = shape.x * shape.y * shape.z;
  b.fibers.resize(n);
  b.warps.resize((n + 31) / 32);
  b.order.resize(b.warps.size());
  for (unsigned i = 0; i < n; ++i) {
    b.fibers[i].index = i;
    b.fibers[i].thread = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
  }
}

void run_block(size_t shared_bytes) {
  Block& b = *current_block;
  std::iota(b.order.begin(), b.order.end(), 0u);
  reorder();
  b.alive = static_cast<int>(b.fibers.size());
  b.tensor_loads.clear();
  for (Barrier& barrier : b.barriers) barrier.arrived = 0;
  for (Warp& warp : b.warps) {
    warp.ready = 0;
    for (Meeting& meeting : warp.meetings) meeting.arrived = 0;
  }
  reset_shared(b, shared_bytes);
  for (Fiber& f : b.fibers) reset(f);
  b.proxy = tsan::create();
  switch_to(*pick());
  tsan::destroy(b.proxy);
  if (tsan::on)
    for (Fiber& f : b.fibers) tsan::destroy(f.tsan);
  if (error.empty() && !b.tensor_loads.empty())
    error = block_name() + " ends with a tensor load in flight, issued at " + place(b.tensor_loads[0].where);
}

struct Running {
  Running() { running = true; }
  ~Running() {
    running = false;
    self = &host;
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
};

}  // namespace

Fiber* self = &host;

Block::~Block() {
  asan::unpoison(shared, slab_bytes);
  std::free(shared);
}

void wake(Fiber& f) {
  f.waiting_on = nullptr;
  ready_bits(f) |= 1u << (f.index % 32);
}

void park(const void* on, const char* doing, const Location& where) {
  Fiber& f = *self;
  f.waiting_on = on;
  f.doing = doing;
  f.where = where;
  unready(f);
  Fiber* next = pick();
  if (next == nullptr) deadlock();
  switch_to(*next);
}

std::string place(const Location& where) {
  const std::string file = where.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
}

void fail(const std::string& what, const Location& where) {
  throw GpuError(block_name() + " thread " + std::to_string(self->index) + ": " + what + " at " + place(where));
}

EmulatorOptions& emulator_options() { return options; }
const EmulatorStatistics& emulator_statistics() { return statistics; }

void run_grid(dim3 grid, dim3 shape, size_t shared_bytes, void (*entry)(const void*), const void* arguments) {
  const uint64_t threads = uint64_t{shape.x} * shape.y * shape.z, blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (running) throw GpuError("the emulator runs one kernel at a time, and none from within another");
  if (threads == 0 || threads > 1024 || shape.z > 64 || blocks == 0 || grid.x > 0x7FFFFFFF || grid.y > 0xFFFF ||
      grid.z > 0xFFFF || blocks > 0xFFFFFFFF || shared_bytes > (227 << 10))
    throw GpuError("invalid launch: " + std::to_string(grid.x) + "x" + std::to_string(grid.y) + "x" +
                   std::to_string(grid.z) + " blocks of " + std::to_string(shape.x) + "x" + std::to_string(shape.y) +
                   "x" + std::to_string(shape.z) + " threads, " + std::to_string(shared_bytes) +
                   " bytes of shared memory");
  const Running guard;
  statistics = {};
  statistics.threads = threads * blocks;
  error.clear();
  kernel_entry = entry;
  kernel_arguments = arguments;
  gridDim = grid;
  blockDim = shape;
  randomness.seed(options.seed);
  std::vector<unsigned> order;
  if (options.seed != 0) {
    order.resize(blocks);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), randomness);
  }
  host.tsan = tsan::current();
  {
    const tsan::Ignore ignore;
    for (unsigned i = 0; i < blocks && error.empty(); ++i) {
      if (tsan::on || !current_block) current_block = std::make_unique<Block>();
      if (tsan::on || i == 0) {
        shape_block(*current_block, shape);
        stacks.reset();
      }
      const unsigned b = order.empty() ? i : order[i];
      blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
      run_block(shared_bytes);
    }
    if (tsan::on) current_block.reset();
  }
  tsan::acquire(&done_token);
  if (!error.empty()) throw GpuError(error);
}

namespace fiber {

unsigned lane() { return self->index % 32; }

namespace {
void arrive(Barrier& b, int expected, bool wait, const char* doing, const Location& where) {
  if (b.arrived == 0) {
    b.where = where;
    ++statistics.barriers;
  }
  char* token = &b.token[b.generation & 1];
  tsan::release(token);
  if (++b.arrived == expected) {
    complete(b);
  } else if (wait) {
    park(&b, doing, where);
  }
  if (wait) tsan::acquire(token);
}
}  // namespace

void block_barrier(Location where) {
  Barrier& b = current_block->barriers[0];
  if (b.arrived != 0 && b.where.line != where.line) fail("__syncthreads while others wait at " + place(b.where), where);
  arrive(b, current_block->alive, true, "__syncthreads", where);
}

void named_barrier(int id, int threads, bool wait, Location where) {
  if (id < 1 || id > 15 || threads < 32 || threads % 32 != 0) fail("invalid named barrier", where);
  Barrier& b = current_block->barriers[static_cast<size_t>(id)];
  if (b.arrived != 0 && b.expected != threads)
    fail("named barrier with another count than at " + place(b.where), where);
  b.expected = threads;
  arrive(b, threads, wait, "named barrier", where);
}

void warp_barrier(unsigned mask, Location where) {
  meet(
      mask, "__syncwarp", self, where, [](const Lanes&) {}, true);
}

// Orders everything against every other fence: more than CUDA promises, so that some missing fences are not seen.
void thread_fence() {
  tsan::release(&fence_token);
  tsan::acquire(&fence_token);
}

}  // namespace fiber

}  // namespace ringbench::emulated
