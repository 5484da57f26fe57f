// Weighted sums of rows, in their order.
#pragma once

#include "vector.h"

namespace soma {

// sum [width] = Σ weights[n] · row(n), in order; what weighs 0 is not read. Some vectors at a time stay in registers: kept
// in memory each would wait for the row before it to be stored.
template <class Row>
inline void addWeighted(int64_t count, const float* weights, const Row& row, int64_t width, float* sum) {
  constexpr int kAtOnce = 8;
  int64_t i = 0;
  for (; i + kAtOnce * kLanes <= width; i += kAtOnce * kLanes) {
    Floats sums[kAtOnce] = {};
    for (int64_t n = 0; n < count; n++) {
      const float w = weights[n];
      if (w == 0.f) continue;
      const float* from = row(n) + i;
#pragma GCC unroll 8
      for (int v = 0; v < kAtOnce; v++) sums[v] += w * load(from + v * kLanes);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kAtOnce; v++) store(sum + i + v * kLanes, sums[v]);
  }
  overRow(i, width, [&](int64_t at, int64_t here) {
    Floats total{};
    for (int64_t n = 0; n < count; n++) {
      if (weights[n] != 0.f) total += weights[n] * some(row(n) + at, here);
    }
    keep(sum + at, total, here);
  });
}

}  // namespace soma
