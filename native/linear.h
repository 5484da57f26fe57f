// What a linear layer does to its product, tile by tile while it is in the cache.
#pragma once

#include <cstdint>

#include "vector.h"

namespace soma {

enum Activation : int64_t { kNone = 0, kRelu = 1, kGelu = 2 };

// x·Φ(x), the exact one (Hendrycks and Gimpel, arXiv 1606.08415).
inline Floats gelu(Floats u) { return u * normal(u).below; }

// y = activation(y + bias) + residual; null is left out. `before`, for GELU: what came before it. All rows `width` apart.
struct LinearFinish {
  float* y;
  int64_t width;
  int64_t activation;
  const float* bias;
  const float* residual;
  float* before;

  void operator()(int64_t rowBegin, int64_t rowEnd, int64_t columnBegin, int64_t columnEnd) const {
    for (int64_t r = rowBegin; r < rowEnd; r++) {
      float* row = y + r * width;
      overRow(columnBegin, columnEnd, [=](int64_t n, int64_t count) {
        Floats u = some(row + n, count);
        if (bias != nullptr) u += some(bias + n, count);
        if (activation == kRelu) u = larger(Floats{}, u);  // in this order NaN stays
        if (activation == kGelu) {
          if (before != nullptr) keep(before + r * width + n, u, count);
          u = gelu(u);
        }
        if (residual != nullptr) u += some(residual + r * width + n, count);
        keep(row + n, u, count);
      });
    }
  }
};

}  // namespace soma
