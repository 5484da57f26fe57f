// Work shared between threads. What a share computes never depends on how many there are: results are the same bits
// with 1 thread and with 64.
#pragma once

#include <algorithm>
#include <cstdint>

namespace soma {

// Less work than this (in floating-point operations, or memory accesses of about the same duration) is done by the
// caller alone: handing it over costs some microseconds.
constexpr double kWorkPerThread = 2e5;

// Threads that one op may use, the caller included: OMP_NUM_THREADS, else the processors this process may run on.
int threadCount();

// Calls run(context, share) once for every share 0 … count − 1, on any thread, and returns when all are done. The caller
// works through them itself; others help as they come. A thread that is not there in time (because something else
// runs on its core) is not waited for, unless it has begun a share.
void runShares(int64_t count, void (*run)(const void* context, int64_t share), const void* context);

inline int threadsFor(double work) {
  return static_cast<int>(std::max(1.0, std::min<double>(threadCount(), work / kWorkPerThread)));
}

template <class Body>
void eachShare(int64_t count, const Body& body) {
  runShares(
      count, [](const void* context, int64_t share) { (*static_cast<const Body*>(context))(share); }, &body);
}

// Calls body(begin, end) over contiguous parts of 0 … count: some for each thread, so that a late one leaves little undone.
template <class Body>
void parallelFor(int64_t count, double workPerItem, const Body& body) {
  const int threads = threadsFor(workPerItem * static_cast<double>(count));
  const int64_t shares = std::min<int64_t>(count, threads <= 1 ? 1 : 4 * threads);
  if (shares <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  eachShare(shares, [&](int64_t share) { body(count * share / shares, count * (share + 1) / shares); });
}

}  // namespace soma
