// The update of all weights as one call, in place, and the length of all gradients. The arithmetic is that of
// training/optimizer.ts, in doubles and in its order: both give the same bits (this file is compiled without fused
// multiply-adds, which JavaScript does not have).
// Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif
#include <cmath>
#include <cstring>

#include "kernel.h"
#include "parallel.h"

namespace soma {
namespace {

// Doubles travel as pairs of int32, their bits: tfjs has no doubles.
std::vector<double> doubles(Call& call, int index, const char* name, int64_t count) {
  const auto bits = call.input<const int32_t>(index, name, Shape{2 * count});
  std::vector<double> values(static_cast<size_t>(count));
  std::memcpy(values.data(), bits.data, static_cast<size_t>(count) * sizeof(double));
  return values;
}

// One array of every kind for each of P parameters, of equal sizes.
struct Arrays {
  std::vector<float*> data;
  std::vector<int64_t> sizes;
};
Arrays arraysOf(Call& call, int first, int count, const char* name) {
  Arrays arrays;
  for (int p = 0; p < count; p++) {
    const auto array = call.input<float>(first + p, name, -1);
    arrays.data.push_back(array.data);
    arrays.sizes.push_back(array.size());
  }
  return arrays;
}
void requireEqual(const Call& call, const Arrays& a, const Arrays& b, const char* what) {
  for (size_t p = 0; p < a.sizes.size(); p++) {
    call.require(a.sizes[p] == b.sizes[p], std::string(what) + " " + std::to_string(p) + " has " +
                                               std::to_string(b.sizes[p]) + " numbers, its weights " +
                                               std::to_string(a.sizes[p]));
  }
}

// Parameters are cut into pieces of this size, so that threads share a large one and do not queue for small ones.
constexpr int64_t kPiece = 16384;
struct Piece {
  size_t parameter;
  int64_t begin, end;
};
std::vector<Piece> piecesOf(const std::vector<int64_t>& sizes) {
  std::vector<Piece> pieces;
  for (size_t p = 0; p < sizes.size(); p++) {
    for (int64_t i = 0; i < sizes[p]; i += kPiece) pieces.push_back({p, i, std::min(sizes[p], i + kPiece)});
  }
  return pieces;
}

struct AdamNumbers {
  double keep1, add1, keep2, add2, step, epsilon, keepWeight;
};
__attribute__((noinline)) void adamPiece(float* __restrict weights, const float* __restrict gradient,
                                         float* __restrict moment, float* __restrict square, int64_t count,
                                         AdamNumbers n) {
  for (int64_t i = 0; i < count; i++) {
    const double g = static_cast<double>(gradient[i]);
    const double m = n.keep1 * static_cast<double>(moment[i]) + n.add1 * g;
    const double v = n.keep2 * static_cast<double>(square[i]) + n.add2 * g * g;
    moment[i] = static_cast<float>(m);
    square[i] = static_cast<float>(v);
    weights[i] = static_cast<float>(n.keepWeight * static_cast<double>(weights[i]) -
                                    (n.step * m) / (std::sqrt(v) + n.epsilon));
  }
}

// Inputs: numbers (8 doubles: keep1, add1, keep2, add2, step, epsilon, keepWeight for matrices, for all else), then
// P weights, P gradients, P moments, P squares. Weights, moments and squares are overwritten. No outputs.
void adamW(Call& call) {
  const std::vector<double> numbers = doubles(call, 0, "numbers", 8);
  const int lists = call.inputCount() - 1;
  call.require(lists % 4 == 0, std::to_string(lists) + " arrays are not four for each parameter");
  const int P = lists / 4;
  const Arrays weights = arraysOf(call, 1, P, "weights");
  const Arrays gradients = arraysOf(call, 1 + P, P, "gradients");
  const Arrays moments = arraysOf(call, 1 + 2 * P, P, "moments");
  const Arrays squares = arraysOf(call, 1 + 3 * P, P, "squares");
  requireEqual(call, weights, gradients, "gradient");
  requireEqual(call, weights, moments, "moment");
  requireEqual(call, weights, squares, "square");
  std::vector<double> keepWeights;
  for (int p = 0; p < P; p++) {
    keepWeights.push_back(numbers[call.input<float>(1 + p, "weights", -1).shape.size() >= 2 ? 6 : 7]);
  }
  const std::vector<Piece> pieces = piecesOf(weights.sizes);
  parallelFor(static_cast<int64_t>(pieces.size()), kPiece * 8.0, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      const size_t p = piece.parameter;
      adamPiece(weights.data[p] + piece.begin, gradients.data[p] + piece.begin, moments.data[p] + piece.begin,
                squares.data[p] + piece.begin, piece.end - piece.begin,
                {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], keepWeights[p]});
    }
  });
}

// Inputs: one double as `share`, then P averages, P weights. average += share · (weight − average), in place.
void average(Call& call) {
  const double share = doubles(call, 0, "share", 1)[0];
  const int lists = call.inputCount() - 1;
  call.require(lists % 2 == 0, std::to_string(lists) + " arrays are not two for each parameter");
  const int P = lists / 2;
  const Arrays averages = arraysOf(call, 1, P, "averages");
  const Arrays weights = arraysOf(call, 1 + P, P, "weights");
  requireEqual(call, averages, weights, "weight");
  const std::vector<Piece> pieces = piecesOf(averages.sizes);
  parallelFor(static_cast<int64_t>(pieces.size()), kPiece * 2.0, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      float* __restrict to = averages.data[piece.parameter];
      const float* __restrict from = weights.data[piece.parameter];
      for (int64_t j = piece.begin; j < piece.end; j++) {
        const double a = static_cast<double>(to[j]);
        to[j] = static_cast<float>(a + share * (static_cast<double>(from[j]) - a));
      }
    }
  });
}

// √ of the sum of squares over P arrays; not finite if any number is not. Output: [] float.
void globalNorm(Call& call) {
  const Arrays gradients = arraysOf(call, 0, call.inputCount(), "gradients");
  const std::vector<Piece> pieces = piecesOf(gradients.sizes);
  std::vector<double> sums(pieces.size());
  parallelFor(static_cast<int64_t>(pieces.size()), kPiece * 1.0, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      const float* values = gradients.data[piece.parameter];
      double lanes[8] = {};
      int64_t j = piece.begin;
      for (; j + 8 <= piece.end; j += 8) {
        for (int64_t l = 0; l < 8; l++) {
          const double value = static_cast<double>(values[j + l]);
          lanes[l] += value * value;
        }
      }
      double total = 0;
      for (const double lane : lanes) total += lane;
      for (; j < piece.end; j++) total += static_cast<double>(values[j]) * static_cast<double>(values[j]);
      sums[static_cast<size_t>(i)] = total;
    }
  });
  double total = 0;
  for (const double part : sums) total += part;
  *call.output(0, {}) = static_cast<float>(std::sqrt(total));
}

}  // namespace

std::vector<Op> optimizerOps() {
  return {
      {"SomaAdamW", adamW, {"numbers: int32", "arrays: N * float"}, {}},
      {"SomaAverage", average, {"share: int32", "arrays: N * float"}, {}},
      {"SomaGlobalNorm", globalNorm, {"gradients: N * float"}, {"norm: float"}},
  };
}

}  // namespace soma
