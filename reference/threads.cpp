// threads.cpp: core count from the kernel's topology files, thread count for OpenMP where the build has it.
#include "reference/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace ringbench {

int physical_cores() {
  static const int usable = [] {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    std::set<std::string> siblings;  // one entry a core: the list of its hyper-threads
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      std::string list;
      siblings.insert(std::getline(file, list) ? list : "cpu" + std::to_string(cpu));
    }
    // A container may own less time than it has cores: "QUOTA PERIOD" in microseconds, or "max PERIOD".
    double quota = 0, period = 0, cores = static_cast<double>(siblings.size());
    if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period && period > 0)
      cores = std::min(cores, std::ceil(quota / period));
    return std::max(1, static_cast<int>(cores));
  }();
  return usable;
}

void set_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads > 0 ? threads : physical_cores());
#endif
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

}  // namespace ringbench
