// One row of a softmax, shared by what attends and what classifies.
#pragma once

#include <cmath>
#include <limits>

#include "vector.h"

namespace soma {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a row's weights were made with: weight = exp((score - most) * scale) / total.
struct RowSum {
  float most;   // the largest visible score
  float total;  // infinity if nothing is visible: all weights are 0 then
};

// scores [C] → softmax(scale · scores) over the visible columns, in place. scale > 0.
// Nothing is added to a score but the largest one, with which it cancels: scores of any size keep all their digits.
inline RowSum softmaxRow(float* scores, int64_t C, float scale, const float* visible) {
  Floats peak = fill(-kInfinity);
  overRow(0, C, [&](int64_t n, int64_t count) {
    Floats s = some(scores + n, count);
    if (visible != nullptr) {
      s = select(some(visible + n, count) > 0.f, s, fill(-kInfinity));
      keep(scores + n, s, count);
    }
    if (count < kLanes) {
      float lanes[kLanes];
      store(lanes, fill(-kInfinity));
      storeFirst(lanes, s, count);
      s = load(lanes);
    }
    // A NaN must not be lost here: it is larger than nothing, so it is let through by hand.
    peak = select((s > peak) | (s != s), s, peak);
  });
  const float most = largest(peak);
  if (most == -kInfinity) {
    overRow(0, C, [=](int64_t n, int64_t count) { keep(scores + n, Floats{}, count); });
    return {0.f, kInfinity};
  }
  Floats total{};
  overRow(0, C, [&](int64_t n, int64_t count) {
    const Floats e = exponential((some(scores + n, count) - most) * scale);
    keep(scores + n, e, count);
    total += count == kLanes ? e : some(scores + n, count);
  });
  const float all = sum(total);
  const float inverse = 1.f / all;
  overRow(0, C, [=](int64_t n, int64_t count) { keep(scores + n, some(scores + n, count) * inverse, count); });
  return {most, all};
}

}  // namespace soma
