// fake_nvml.h: what the management library that tests load in place of NVIDIA's will answer. The library holds one such
// struct, by its symbol fake_gpu; whoever has loaded it may change it while it is in use.
#pragma once

struct FakeGpu {
  int init_status = 0;  // of nvmlInit; 9: driver not loaded
  unsigned count = 1;
  unsigned sm_mhz = 1755, mem_mhz = 2619, temp_c = 61;
  unsigned power_mw = 300000, power_limit_mw = 700000, power_default_mw = 700000;
  unsigned long long energy_mj = 5000;        // at the first question
  unsigned long long energy_step_mj = 30000;  // added by every further one
  unsigned long long throttle = 0;
  unsigned ecc = 1, mig = 0, persistence = 1;
  int major = 9, minor = 0, cuda = 13000;
  unsigned pcie_width = 16;
  unsigned long long memory_total = 80ull << 30, memory_free = 79ull << 30;
  unsigned pids[4] = {0, 0, 0, 0};
  unsigned pid_count = 0;
};
