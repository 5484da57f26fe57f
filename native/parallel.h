// Work shared between threads. What a share computes never depends on how many there are: results are the same bits
// with 1 thread and with 64.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace soma {

// Waking another thread costs some microseconds: less work than this (in floating-point operations, or memory
// accesses of about the same duration) is done by the caller alone.
constexpr double kWorkPerThread = 2e5;

inline int threadsFor(double work) {
#ifdef _OPENMP
  const double most = static_cast<double>(omp_get_max_threads());
  return static_cast<int>(std::max(1.0, std::min(most, work / kWorkPerThread)));
#else
  (void)work;
  return 1;
#endif
}

// Calls body(begin, end) over contiguous shares of 0 … count, one per thread.
template <class Body>
void parallelFor(int64_t count, double workPerItem, Body body) {
  const int threads = static_cast<int>(
      std::min<int64_t>(count, threadsFor(workPerItem * static_cast<double>(count))));
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static)
#endif
  for (int share = 0; share < threads; share++) {
    body(count * share / threads, count * (share + 1) / threads);
  }
}

}  // namespace soma
