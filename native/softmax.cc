// Softmax over rows of scores, scaled and masked, with its gradient. A row whose every column is hidden is all zeros.
#include <cmath>

#include "kernel.h"
#include "parallel.h"
#include "softmax.h"

namespace soma {
namespace {

// Inputs: scores [R, C], visible [R, C] (1 = seen) or nothing; float scale. Output: weights [R, C].
void softmax(Call& call) {
  const auto scores = call.input(0, "scores", 2);
  const int64_t R = scores.shape[0], C = scores.shape[1];
  const float* visible = call.inputCount() > 1 ? call.input(1, "visible", scores.shape).data : nullptr;
  const float scale = call.number(0);
  float* weights = call.output(0, scores.shape);
  parallelFor(R, static_cast<double>(C) * 4, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      overRow(0, C, [=](int64_t n, int64_t count) {
        keep(weights + r * C + n, some(scores.data + r * C + n, count) * scale, count);
      });
      softmaxRow(weights + r * C, C, 1.f, visible == nullptr ? nullptr : visible + r * C);
    }
  });
}

// Inputs: weights [R, C], dweights [R, C]; float scale. Output: dscores [R, C].
void softmaxGradient(Call& call) {
  const auto weights = call.input(0, "weights", 2);
  const int64_t R = weights.shape[0], C = weights.shape[1];
  const float* dweights = call.input(1, "dweights", weights.shape).data;
  const float scale = call.number(0);
  float* dscores = call.output(0, weights.shape);
  parallelFor(R, static_cast<double>(C), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* w = weights.data + r * C;
      const float* dw = dweights + r * C;
      Floats total{};
      overRow(0, C, [&](int64_t n, int64_t count) { total += some(w + n, count) * some(dw + n, count); });
      const float mean = sum(total);
      overRow(0, C, [=](int64_t n, int64_t count) {
        keep(dscores + r * C + n, some(w + n, count) * (some(dw + n, count) - mean) * scale, count);
      });
    }
  });
}

}  // namespace

std::vector<Op> softmaxOps() {
  return {
      {"SomaSoftmax", softmax, {"scores: float", "visible: N * float"}, {"weights: float"}, {}, {"scale"}},
      {"SomaSoftmaxGradient", softmaxGradient, {"weights: float", "dweights: float"}, {"dscores: float"}, {},
       {"scale"}},
  };
}

}  // namespace soma
