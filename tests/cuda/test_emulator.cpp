// test_emulator.cpp: the emulator catches what it should catch, in each build, and counts what it should count.
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <set>

#include "cuda/hopper.h"
#include "tests/catch.h"

namespace ringbench::emulated {
namespace {

// --- planted bugs: what emulator_bugs.cu does about them, run as a program of its own ---

enum class Build { plain, address, thread };
#if defined(__SANITIZE_ADDRESS__)
constexpr Build build = Build::address;
#elif defined(__SANITIZE_THREAD__)
constexpr Build build = Build::thread;
#else
constexpr Build build = Build::plain;
#endif

struct Outcome {
  int code;  // of the shell: 128 + n after signal n
  std::string output;
};

Outcome run_bug(const std::string& name, unsigned seed = 0) {
  const std::string command = RINGBENCH_EMULATOR_BUGS " '" + name + "' " + std::to_string(seed) + " 2>&1";
  FILE* pipe = popen(("sh -c \"" + command + "\"; echo \"code $?\"").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome{-1, ""};
  char text[4096];
  for (size_t n; (n = fread(text, 1, sizeof text, pipe)) > 0;) outcome.output.append(text, n);
  pclose(pipe);
  const size_t at = outcome.output.rfind("code ");
  REQUIRE(at != std::string::npos);
  outcome.code = std::stoi(outcome.output.substr(at + 5));
  outcome.output.resize(at);
  return outcome;
}

// What must be in the output; nothing: right results and exit code 0, for what this build cannot see.
struct Caught {
  const char *plain, *address, *thread;
};
const char* const kRace = "ThreadSanitizer: data race";
const char* const kWrong = "wrong";

void check_bug(const std::string& name, const Caught& caught) {
  CAPTURE(name);
  const char* expected = build == Build::plain     ? caught.plain
                         : build == Build::address ? caught.address
                                                   : caught.thread;
  const Outcome outcome = run_bug(name);
  CAPTURE(outcome.output, outcome.code);
  if (*expected == '\0') {
    CHECK(outcome.code == 0);
    return;
  }
  CHECK(outcome.code != 0);
  if (*expected == '#') {  // a crash, without a word
    CHECK(outcome.code > 128);
    return;
  }
  CHECK(outcome.output.find(expected) != std::string::npos);
  if (expected != kWrong) CHECK(outcome.output.find("emulator_bugs.cu:") != std::string::npos);  // it says where
}

TEST_CASE("emulator: correct kernels pass, whatever the order") {
  for (const unsigned seed : {0u, 1u, 2u}) {
    const Outcome outcome = run_bug("right", seed);
    CAPTURE(seed, outcome.output);
    CHECK(outcome.code == 0);
  }
}

TEST_CASE("emulator: catches missing barriers and waits") {
  check_bug("no chunk barrier", {kWrong, kWrong, kRace});
  check_bug("no state barrier", {kWrong, kWrong, kRace});
  check_bug("early wait", {kWrong, kWrong, kRace});
  const char* skipped = "__syncthreads while others wait at emulator_bugs.cu:";
  check_bug("barrier skipped", {skipped, skipped, skipped});
  check_bug("no syncwarp", {"", "", kRace});
  check_bug("shuffle as fence", {"", "", kRace});
  check_bug("no fence", {"", "", kRace});
}

TEST_CASE("emulator: missing barriers give wrong results in random orders too") {
  if (build != Build::plain) return;
  for (const char* name : {"no chunk barrier", "no state barrier", "early wait", "uninitialised shared"})
    for (unsigned seed = 1; seed <= 10; ++seed) CHECK(run_bug(name, seed).code == 1);
}

TEST_CASE("emulator: catches memory out of bounds, misaligned and uninitialised") {
  check_bug("shared past end", {"", "AddressSanitizer: use-after-poison", kRace});
  check_bug("next array", {"", "AddressSanitizer: use-after-poison", ""});
  check_bug("global past end", {"", "AddressSanitizer: heap-buffer-overflow", ""});
  if (build == Build::address) check_bug("block too many", {"", "AddressSanitizer: heap-buffer-overflow", ""});
  check_bug("uninitialised shared", {kWrong, kWrong, kWrong});
  check_bug("misaligned", {"", "misaligned address", ""});
  const char* misaligned = "misaligned shared-memory address at emulator_bugs.cu:";
  check_bug("misaligned ldmatrix", {misaligned, misaligned, misaligned});
  const char* too_much = "shared arrays take 400 bytes, the launch gives 128 at emulator_bugs.cu:";
  check_bug("too much shared", {too_much, too_much, too_much});
  check_bug("index overflow", {"", "signed integer overflow", ""});
  check_bug("stack overflow", {"#", "AddressSanitizer: stack-overflow", "ThreadSanitizer: stack-overflow"});
}

TEST_CASE("emulator: catches races between blocks") {
  check_bug("blocks overlap", {"", "", kRace});
  check_bug("threads overlap", {"", "", kRace});
}

TEST_CASE("emulator: catches lanes that do not meet") {
  const char* deadlock = "deadlock in block (0,0,0); threads 0..19: shuffle at emulator_bugs.cu:";
  check_bug("partial shuffle", {deadlock, deadlock, deadlock});
  const char* different = "thread 16: vote does not match its warp's shuffle at emulator_bugs.cu:";
  check_bug("different collectives", {different, different, different});
  const char* outside = "thread 16: shuffle by a lane outside its own mask at emulator_bugs.cu:";
  check_bug("outside mask", {outside, outside, outside});
  const char* named = "deadlock in block (0,0,0); threads 0..63: named barrier at emulator_bugs.cu:";
  check_bug("named deadlock", {named, named, named});
}

TEST_CASE("emulator: catches what goes wrong between mbarriers, tensor loads and wgmma") {
  const char* arrivals = "too many arrivals on an mbarrier at emulator_bugs.cu:";
  check_bug("no empty wait", {arrivals, arrivals, kRace});
  check_bug("no full wait", {arrivals, arrivals, kRace});
  const char* deadlock = "mbarrier wait at emulator_bugs.cu:";
  check_bug("wrong expect", {deadlock, deadlock, deadlock});
  check_bug("early arrive", {"", "", kRace});    // the results are right
  check_bug("no proxy fence", {"", "", kRace});  // the results are right
  const char* accumulators = "wgmma_wait does not name accumulators that it waits for at emulator_bugs.cu:";
  check_bug("other accumulators", {accumulators, accumulators, accumulators});
  check_bug("early read", {kWrong, kWrong, kWrong});
  const char* in_flight = "ends with a tensor load in flight, issued at emulator_bugs.cu:";
  check_bug("load in flight", {in_flight, in_flight, in_flight});
}

// --- what it counts, and what it promises ---

__global__ void one_of_each(float* out, const bf16* x) {
  SharedArena arena;
  bf16* tile = arena.take<bf16>(16 * 64);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 4; ++i) cp_async16(tile + (lane * 4 + i) * 8, x + (lane * 4 + i) * 8);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  uint32_t a[4], b[2];
  ldmatrix_x4(a, tile + lane % 16 * 64 + lane / 16 * 8);  // rows 128 bytes apart: all in one bank group
  ldmatrix_x2(b, tile + lane % 8 * 8);                    // rows 16 bytes apart: all bank groups
  float d[4] = {};
  mma_m16n8k16(d, a, b);
  mma_m16n8k16(d, a, b);
  out[blockIdx.x * 32 + threadIdx.x] = d[0];
}

TEST_CASE("emulator: counts instructions and bank conflicts") {
  const DeviceBuffer<bf16> x(16 * 64);
  const DeviceBuffer<float> out(3 * 32);
  launch(one_of_each, dim3(3), dim3(32), 16 * 64 * sizeof(bf16), {}, out.data(), x.data());
  const EmulatorStatistics& s = emulator_statistics();
  CHECK(s.threads == 96);
  CHECK(s.cp_async == 3 * 32 * 4);
  CHECK(s.ldmatrix == 3 * 2);
  CHECK(s.ldmatrix_conflicts == 3 * 4 * 7);
  CHECK(s.mma == 3 * 2);
  CHECK(s.barriers == 3);
}

__global__ void reads_before_waiting(uint32_t* out, const uint32_t* x) {
  SharedArena arena;
  uint32_t* copy = arena.take<uint32_t>(4);
  for (int i = 0; i < 4; ++i) copy[i] = 1;
  cp_async16(copy, x);
  cp_async_commit();
  for (int i = 0; i < 4; ++i) out[i] = copy[i];
  cp_async_wait<0>();
  for (int i = 0; i < 4; ++i) out[4 + i] = copy[i];
}

TEST_CASE("emulator: what cp.async copies is NaN until waited for") {
  const DeviceBuffer<uint32_t> x(4), out(8);
  for (int i = 0; i < 4; ++i) x.data()[i] = 7;
  launch(reads_before_waiting, dim3(1), dim3(1), 16, {}, out.data(), x.data());
  for (int i = 0; i < 8; ++i) CHECK(out.data()[i] == (i < 4 ? 0xFFFFFFFF : 7));
}

__global__ void indices(uint3* out) {
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[b * blockDim.x * blockDim.y * blockDim.z + t] = {t, b, threadIdx.z * 100 + blockIdx.z};
}

TEST_CASE("emulator: every thread of every block runs once, from one thread to 1024") {
  const unsigned seed = emulator_options().seed;
  for (const auto& [grid, shape] : {std::pair{dim3(1), dim3(1)},
                                    {dim3(2, 3, 2), dim3(5, 3, 2)},
                                    {dim3(1, 1, 2), dim3(1024)},
                                    {dim3(1, 2), dim3(1, 1, 64)}}) {
    for (const unsigned s : {0u, 7u}) {
      emulator_options().seed = s;
      const unsigned threads = shape.x * shape.y * shape.z, blocks = grid.x * grid.y * grid.z;
      const DeviceBuffer<uint3> out(threads * blocks);
      launch(indices, grid, shape, 0, {}, out.data());
      for (unsigned i = 0; i < threads * blocks; ++i) {
        const uint3 v = out.data()[i];
        CHECK((v.x == i % threads && v.y == i / threads));
        CHECK(v.z == i % threads / (shape.x * shape.y) * 100 + i / threads / (grid.x * grid.y));
      }
    }
  }
  emulator_options().seed = seed;
}

__global__ void order_of_warps(int* order, int* next) {
  for (int round = 0; round < 3; ++round) {
    __syncthreads();
    if (threadIdx.x % 32 == 0) order[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x / 32);
  }
}

TEST_CASE("emulator: a seed gives one order of warps, another seed another") {
  const auto order = [](unsigned seed) {
    const DeviceBuffer<int> out(3 * 8), next(1);
    set_zero(next.data(), 1, {});
    emulator_options().seed = seed;
    launch(order_of_warps, dim3(1), dim3(256), 0, {}, out.data(), next.data());
    emulator_options().seed = 0;
    return std::vector<int>(out.data(), out.data() + out.size());
  };
  CHECK(order(5) == order(5));
  CHECK(order(5) != order(6));
  std::vector<int> in_order(24);
  for (size_t i = 0; i < in_order.size(); ++i) in_order[i] = static_cast<int>(i % 8);
  CHECK(std::is_permutation(in_order.begin(), in_order.end(), order(5).begin()));
}

__global__ void nothing() {}
__global__ void shared_bits(uint32_t* out) {
  SharedArena arena;
  const uint32_t* s = arena.take<uint32_t>(8);
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void fails(int block) {
  if (static_cast<int>(blockIdx.x) == block) barrier_sync(0, 32);
  __syncthreads();
}

TEST_CASE("emulator: fresh memory is 0xFF, on the device and in every block's shared memory") {
  const DeviceBuffer<uint32_t> out(8);
  for (int i = 0; i < 8; ++i) CHECK(out.data()[i] == 0xFFFFFFFF);
  launch(shared_bits, dim3(1), dim3(8), 32, {}, out.data());
  for (int i = 0; i < 8; ++i) CHECK(out.data()[i] == 0xFFFFFFFF);
  CHECK(DeviceBuffer<float>(0).data() == nullptr);
}

TEST_CASE("emulator: refuses launches that a GPU would refuse") {
  CHECK_THROWS_AS(launch(nothing, dim3(0), dim3(32), 0, {}), GpuError);
  CHECK_THROWS_AS(launch(nothing, dim3(1), dim3(0), 0, {}), GpuError);
  CHECK_THROWS_AS(launch(nothing, dim3(1), dim3(1025), 0, {}), GpuError);
  CHECK_THROWS_AS(launch(nothing, dim3(1), dim3(1, 1, 65), 0, {}), GpuError);
  CHECK_THROWS_AS(launch(nothing, dim3(1, 65536), dim3(32), 0, {}), GpuError);
  CHECK_THROWS_AS(launch(nothing, dim3(1), dim3(32), (227 << 10) + 1, {}), GpuError);
  launch(nothing, dim3(build == Build::thread ? 1 : 65536), dim3(1), 0, {});
  launch(nothing, dim3(1), dim3(1), 227 << 10, {});
}

TEST_CASE("emulator: a failed launch leaves nothing behind") {
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(launch(fails, dim3(4), dim3(64), 0, {}, 2), GpuError);
    launch(fails, dim3(4), dim3(64), 0, {}, -1);
  }
}

__global__ void add_one(int* x) { x[threadIdx.x] += 1; }

TEST_CASE("gpu.h: buffers, copies, events and graphs of the emulator") {
  const Stream stream = make_stream();
  DeviceBuffer<int> a(4), b;
  HostBuffer<int> host(4);
  std::iota(host.data(), host.data() + 4, 10);
  copy_to_device(a.data(), host.data(), a.size(), stream);
  const Graph graph = Graph::capture(stream, [&] {
    launch(add_one, dim3(1), dim3(4), 0, stream, a.data());
    launch(add_one, dim3(1), dim3(2), 0, stream, a.data());
  });
  CHECK(a.data()[0] == 10);  // nothing is done at capture
  Event begin, end;
  begin.record(stream);
  graph.launch(stream);
  graph.launch(stream);
  end.record(stream);
  synchronize(stream);
  CHECK(end.seconds_since(begin) >= 0);
  b = std::move(a);
  CHECK((a.data() == nullptr || a.size() == 0));
  set_zero(b.data() + 3, 1, stream);
  copy_to_host(host.data(), b.data(), 4, stream);
  synchronize(stream);
  CHECK((host.data()[0] == 14 && host.data()[1] == 15 && host.data()[2] == 14 && host.data()[3] == 0));
  CHECK(b.bytes() == 16);
  const Device device = current_device();
  CHECK((device.compute_capability == 90 && device.sm_count > 0 && device.memory_bytes >= device.free_bytes));
}

}  // namespace
}  // namespace ringbench::emulated
