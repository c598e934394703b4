// threads.h: how many threads the reference uses.
#pragma once

namespace ringbench {

// Cores this process may run on, counting hyper-threads of one core once, and not more than its cgroup has time for.
int physical_cores();

// For the calling thread's parallel loops from now on; 0: physical_cores().
void set_threads(int threads);

bool has_openmp();  // in this build; without it there is one thread

}  // namespace ringbench
