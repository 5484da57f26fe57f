// Linear layers: y = activation(x·W + b) + residual, with what follows the product done while a tile of it is in the
// cache.
#include "linear.h"

#include "gemm.h"
#include "kernel.h"

namespace soma {
namespace {

Floats geluSlope(Floats u) {
  const Normal n = normal(u);
  return n.below + u * n.density;
}

struct Layer {
  Input<const float> x, weight;
  int64_t R, I, O;  // rows, inputs, outputs
};
Layer layerOf(Call& call) {
  const auto x = call.input(0, "x", 2);
  const auto weight = call.input(1, "weight", 2);
  call.require(x.shape[1] == weight.shape[0],
               "x is " + describe(x.shape) + " and weight " + describe(weight.shape));
  return {x, weight, x.shape[0], x.shape[1], weight.shape[1]};
}

// Inputs: x [R, I], weight [I, O], then bias [O] if hasBias, residual [R, O] if hasResidual.
// Outputs: y [R, O], and for GELU, if keepsBefore, what came before it [R, O], else nothing [0].
void linear(Call& call) {
  const auto [x, weight, R, I, O] = layerOf(call);
  const int64_t activation = call.integer(0);
  const bool hasBias = call.integer(1) != 0;
  const bool hasResidual = call.integer(2) != 0;
  const float* bias = hasBias ? call.input(2, "bias", Shape{O}).data : nullptr;
  const float* residual = hasResidual ? call.input(hasBias ? 3 : 2, "residual", Shape{R, O}).data : nullptr;
  float* y = call.output(0, {R, O});
  const bool keepsBefore = activation == kGelu && call.integer(3) != 0;
  float* before = call.output(1, keepsBefore ? Shape{R, O} : Shape{0});
  const LinearFinish finish = {y, O, activation, bias, residual, keepsBefore ? before : nullptr};
  multiply(R, O, I, rowsOf(x.data, I), rowsOf(weight.data, O), y, O, finish);
}

// Column sums, each over the rows in order. values [R, O] → sums [O]
void sumColumns(const float* values, int64_t R, int64_t O, float* sums) {
  const int64_t vectors = (O + kLanes - 1) / kLanes;
  parallelFor(vectors, static_cast<double>(R) * kLanes / 4, [=](int64_t begin, int64_t end) {
    const int64_t first = begin * kLanes;
    const int64_t last = std::min(O, end * kLanes);
    std::fill(sums + first, sums + last, 0.f);
    for (int64_t r = 0; r < R; r++) {
      overRow(first, last, [=](int64_t n, int64_t count) {
        keep(sums + n, some(sums + n, count) + some(values + r * O + n, count), count);
      });
    }
  });
}

// Inputs: x [R, I], weight [I, O], dy [R, O], and kept [R, O] if activation: y for ReLU (without residual), what came
// before for GELU. Outputs: dx [R, I] if wantsInput else [0], dweight [I, O], dbias [O] if hasBias else [0].
void linearGradient(Call& call) {
  const auto [x, weight, R, I, O] = layerOf(call);
  const auto dy = call.input(2, "dy", Shape{R, O});
  const int64_t activation = call.integer(0);
  const bool hasBias = call.integer(1) != 0;
  const bool wantsInput = call.integer(2) != 0;
  const float* du = dy.data;
  static thread_local Panels scratch;
  if (activation != kNone) {
    const float* kept = call.input(3, "kept", Shape{R, O}).data;
    float* slope = scratch.atLeast(std::max<int64_t>(R * O, 1));
    parallelFor(R * O, activation == kGelu ? 3 : 1, [=](int64_t begin, int64_t end) {
      overRow(begin, end, [=](int64_t n, int64_t count) {
        const Floats k = some(kept + n, count);
        const Floats d = some(dy.data + n, count);
        keep(slope + n, activation == kRelu ? select(k > 0.f, d, Floats{}) : d * geluSlope(k), count);
      });
    });
    du = slope;
  }
  float* dx = call.output(0, wantsInput ? Shape{R, I} : Shape{0});
  float* dweight = call.output(1, {I, O});
  float* dbias = call.output(2, hasBias ? Shape{O} : Shape{0});
  if (hasBias) sumColumns(du, R, O, dbias);
  multiply(I, O, R, transposed(rowsOf(x.data, I)), rowsOf(du, O), dweight, O);
  if (wantsInput) multiply(R, I, O, rowsOf(du, O), transposed(rowsOf(weight.data, O)), dx, I);
}

// x of any shape → the same shape.
void geluOp(Call& call) {
  const auto x = call.input(0, "x", -1);
  float* y = call.output(0, x.shape);
  parallelFor(x.size(), 3, [=](int64_t begin, int64_t end) {
    overRow(begin, end, [=](int64_t n, int64_t count) { keep(y + n, gelu(some(x.data + n, count)), count); });
  });
}
void geluGradient(Call& call) {
  const auto x = call.input(0, "x", -1);
  const auto dy = call.input(1, "dy", x.shape);
  float* dx = call.output(0, x.shape);
  parallelFor(x.size(), 3, [=](int64_t begin, int64_t end) {
    overRow(begin, end, [=](int64_t n, int64_t count) {
      keep(dx + n, some(dy.data + n, count) * geluSlope(some(x.data + n, count)), count);
    });
  });
}

// Products with either side transposed, over matrices. Inputs a [N, K] or [K, N], b [K, M] or [M, K] → [N, M].
void matMul(Call& call) {
  const auto a = call.input(0, "a", 2);
  const auto b = call.input(1, "b", 2);
  const Matrix left = call.integer(0) != 0 ? transposed(rowsOf(a.data, a.shape[1])) : rowsOf(a.data, a.shape[1]);
  const Matrix right = call.integer(1) != 0 ? transposed(rowsOf(b.data, b.shape[1])) : rowsOf(b.data, b.shape[1]);
  const int64_t N = a.shape[call.integer(0) != 0 ? 1 : 0], K = a.shape[call.integer(0) != 0 ? 0 : 1];
  const int64_t M = b.shape[call.integer(1) != 0 ? 0 : 1], K2 = b.shape[call.integer(1) != 0 ? 1 : 0];
  call.require(K == K2, "a is " + describe(a.shape) + " and b " + describe(b.shape) + ", transposed or not");
  multiply(N, M, K, left, right, call.output(0, {N, M}), M);
}

}  // namespace

std::vector<Op> linearOps() {
  return {
      {"SomaLinear", linear, {"x: float", "weight: float", "others: N * float"}, {"y: float", "before: float"},
       {"activation", "has_bias", "has_residual", "keeps_before"}},
      {"SomaLinearGradient", linearGradient, {"x: float", "weight: float", "dy: float", "kept: N * float"},
       {"dx: float", "dweight: float", "dbias: float"}, {"activation", "has_bias", "wants_input"}},
      {"SomaGelu", geluOp, {"x: float"}, {"y: float"}},
      {"SomaGeluGradient", geluGradient, {"x: float", "dy: float"}, {"dx: float"}},
      {"SomaMatMul", matMul, {"a: float", "b: float"}, {"product: float"}, {"transpose_a", "transpose_b"}},
  };
}

}  // namespace soma
