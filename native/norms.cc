// Layer normalisation over the last axis (Ba et al., arXiv 1607.06450) and rows of unit length, with their gradients.
#include <cmath>

#include "kernel.h"
#include "parallel.h"
#include "vector.h"

namespace soma {
namespace {

// Sum over rows goes by blocks of so many, each summed alone and the blocks then in order: the same for any threads.
constexpr int64_t kRowsPerBlock = 64;

float rowSum(const float* row, int64_t D) {
  Floats total{};
  overRow(0, D, [&](int64_t n, int64_t count) { total += some(row + n, count); });
  return sum(total);
}
float rowDot(const float* a, const float* b, int64_t D) {
  Floats total{};
  overRow(0, D, [&](int64_t n, int64_t count) { total += some(a + n, count) * some(b + n, count); });
  return sum(total);
}

// Inputs: x [R, D], scale [D], shift [D]; float epsilon.
// Outputs: y [R, D], and each row's mean and 1/deviation [R, 2].
void layerNorm(Call& call) {
  const auto x = call.input(0, "x", 2);
  const int64_t R = x.shape[0], D = x.shape[1];
  const float* scale = call.input(1, "scale", Shape{D}).data;
  const float* shift = call.input(2, "shift", Shape{D}).data;
  const float epsilon = call.number(0);
  float* y = call.output(0, x.shape);
  float* moments = call.output(1, {R, 2});
  parallelFor(R, static_cast<double>(D), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.data + r * D;
      const float mean = rowSum(row, D) / static_cast<float>(D);
      Floats squares{};
      overRow(0, D, [&](int64_t n, int64_t count) {
        Floats centred = some(row + n, count) - mean;
        if (count < kLanes) {
          float lanes[kLanes] = {};
          storeFirst(lanes, centred, count);
          centred = load(lanes);
        }
        squares += centred * centred;
      });
      const float inverse = 1.f / std::sqrt(sum(squares) / static_cast<float>(D) + epsilon);
      moments[2 * r] = mean;
      moments[2 * r + 1] = inverse;
      overRow(0, D, [=](int64_t n, int64_t count) {
        const Floats normal = (some(row + n, count) - mean) * inverse;
        keep(y + r * D + n, normal * some(scale + n, count) + some(shift + n, count), count);
      });
    }
  });
}

// Inputs: x [R, D], scale [D], moments [R, 2], dy [R, D]. Outputs: dx [R, D], dscale [D], dshift [D].
void layerNormGradient(Call& call) {
  const auto x = call.input(0, "x", 2);
  const int64_t R = x.shape[0], D = x.shape[1];
  const float* scale = call.input(1, "scale", Shape{D}).data;
  const float* moments = call.input(2, "moments", Shape{R, 2}).data;
  const float* dy = call.input(3, "dy", x.shape).data;
  float* dx = call.output(0, x.shape);
  float* dscale = call.output(1, {D});
  float* dshift = call.output(2, {D});
  const int64_t blocks = (R + kRowsPerBlock - 1) / kRowsPerBlock;
  std::vector<float> sums(static_cast<size_t>(2 * blocks * D), 0.f);  // by block: dscale, then dshift
  float* sumsOfBlocks = sums.data();
  parallelFor(blocks, static_cast<double>(kRowsPerBlock * D) * 2, [=](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      float* ofScale = sumsOfBlocks + 2 * block * D;
      float* ofShift = ofScale + D;
      for (int64_t r = block * kRowsPerBlock; r < std::min(R, (block + 1) * kRowsPerBlock); r++) {
        const float mean = moments[2 * r], inverse = moments[2 * r + 1];
        const float* row = x.data + r * D;
        const float* drow = dy + r * D;
        Floats plain{}, weighted{};
        overRow(0, D, [&](int64_t n, int64_t count) {
          const Floats d = some(drow + n, count);
          const Floats normal = (some(row + n, count) - mean) * inverse;
          const Floats dnormal = d * some(scale + n, count);  // 0 beyond the row's end, as d is
          plain += dnormal;
          weighted += dnormal * normal;
          keep(ofScale + n, some(ofScale + n, count) + d * normal, count);
          keep(ofShift + n, some(ofShift + n, count) + d, count);
        });
        const float meanPlain = sum(plain) / static_cast<float>(D);
        const float meanWeighted = sum(weighted) / static_cast<float>(D);
        overRow(0, D, [=](int64_t n, int64_t count) {
          const Floats normal = (some(row + n, count) - mean) * inverse;
          const Floats dnormal = some(drow + n, count) * some(scale + n, count);
          keep(dx + r * D + n, inverse * (dnormal - meanPlain - normal * meanWeighted), count);
        });
      }
    }
  });
  std::fill(dscale, dscale + D, 0.f);
  std::fill(dshift, dshift + D, 0.f);
  for (int64_t block = 0; block < blocks; block++) {
    const float* ofScale = sumsOfBlocks + 2 * block * D;
    overRow(0, D, [=](int64_t n, int64_t count) {
      keep(dscale + n, some(dscale + n, count) + some(ofScale + n, count), count);
      keep(dshift + n, some(dshift + n, count) + some(ofScale + D + n, count), count);
    });
  }
}

// The first `width` numbers of each row, scaled to unit length: x·rsqrt(Σx² + epsilon).
// Inputs: x [R, D]; int width; float epsilon. Output: y [R, width].
void unitRows(Call& call) {
  const auto x = call.input(0, "x", 2);
  const int64_t R = x.shape[0], D = x.shape[1], W = call.integer(0);
  call.require(W >= 1 && W <= D, "width " + std::to_string(W) + " of rows " + describe(x.shape));
  const float epsilon = call.number(0);
  float* y = call.output(0, {R, W});
  parallelFor(R, static_cast<double>(W), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.data + r * D;
      const float inverse = 1.f / std::sqrt(rowDot(row, row, W) + epsilon);
      overRow(0, W, [=](int64_t n, int64_t count) {
        keep(y + r * W + n, some(row + n, count) * inverse, count);
      });
    }
  });
}

// Inputs: x [R, D], dy [R, width]; float epsilon. Output: dx [R, D].
void unitRowsGradient(Call& call) {
  const auto x = call.input(0, "x", 2);
  const auto dy = call.input(1, "dy", 2);
  const int64_t R = x.shape[0], D = x.shape[1], W = dy.shape[1];
  call.require(dy.shape[0] == R && W <= D, "x is " + describe(x.shape) + " and dy " + describe(dy.shape));
  const float epsilon = call.number(0);
  float* dx = call.output(0, x.shape);
  parallelFor(R, static_cast<double>(W) * 2, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x.data + r * D;
      const float* drow = dy.data + r * W;
      const float inverse = 1.f / std::sqrt(rowDot(row, row, W) + epsilon);
      const float along = rowDot(row, drow, W) * inverse * inverse;
      overRow(0, W, [=](int64_t n, int64_t count) {
        keep(dx + r * D + n, (some(drow + n, count) - some(row + n, count) * along) * inverse, count);
      });
      std::fill(dx + r * D + W, dx + (r + 1) * D, 0.f);
    }
  });
}

}  // namespace

std::vector<Op> normOps() {
  return {
      {"SomaLayerNorm", layerNorm, {"x: float", "scale: float", "shift: float"}, {"y: float", "moments: float"}, {},
       {"epsilon"}},
      {"SomaLayerNormGradient", layerNormGradient, {"x: float", "scale: float", "moments: float", "dy: float"},
       {"dx: float", "dscale: float", "dshift: float"}},
      {"SomaUnitRows", unitRows, {"x: float"}, {"y: float"}, {"width"}, {"epsilon"}},
      {"SomaUnitRowsGradient", unitRowsGradient, {"x: float", "dy: float"}, {"dx: float"}, {}, {"epsilon"}},
  };
}

}  // namespace soma
