// Rows chosen by number and rows averaged: what stands before and after the layers.
#include "ink.h"
#include "kernel.h"
#include "parallel.h"
#include "vector.h"
#include "weighted.h"

namespace soma {
namespace {

// Inputs: table [V, D], ids int32 of any shape. Output: rows [...ids, D].
void gather(Call& call) {
  const auto table = call.input(0, "table", 2);
  const auto ids = call.input<const int32_t>(1, "ids", -1);
  const int64_t V = table.shape[0], D = table.shape[1], count = ids.size();
  for (int64_t i = 0; i < count; i++) {
    if (ids.data[i] < 0 || ids.data[i] >= V) {
      call.refuse("id " + std::to_string(ids.data[i]) + " in a table " + describe(table.shape));
    }
  }
  Shape shape = ids.shape;
  shape.push_back(D);
  float* rows = call.output(0, shape);
  parallelFor(count, static_cast<double>(D), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float* row = table.data + ids.data[i] * D;
      std::copy(row, row + D, rows + i * D);
    }
  });
}

// The sum of rows that share an id, in their order. Inputs: rows [...ids, D], ids; integer V. Output: table [V, D].
void scatterAdd(Call& call) {
  const auto rows = call.input(0, "rows", -1);
  const auto ids = call.input<const int32_t>(1, "ids", -1);
  const int64_t V = call.integer(0), count = ids.size(), D = rows.width();
  Shape expected = ids.shape;
  expected.push_back(D);
  call.require(rows.shape == expected, "rows are " + describe(rows.shape) + " and ids " + describe(ids.shape));
  for (int64_t i = 0; i < count; i++) {
    if (ids.data[i] < 0 || ids.data[i] >= V) {
      call.refuse("id " + std::to_string(ids.data[i]) + " in a table of " + std::to_string(V) + " rows");
    }
  }
  float* table = call.output(0, {V, D});
  // By shares of the table, each thread reading all ids: every row is summed by one thread, in order.
  parallelFor(V, static_cast<double>(D) + static_cast<double>(count * D) / static_cast<double>(V > 0 ? V : 1),
              [=](int64_t begin, int64_t end) {
                std::fill(table + begin * D, table + end * D, 0.f);
                for (int64_t i = 0; i < count; i++) {
                  if (ids.data[i] < begin || ids.data[i] >= end) continue;
                  float* to = table + ids.data[i] * D;
                  const float* from = rows.data + i * D;
                  overRow(0, D, [=](int64_t n, int64_t here) {
                    keep(to + n, some(to + n, here) + some(from + n, here), here);
                  });
                }
              });
}

// Weighted sums over each sequence's rows. Inputs: x [B·N, D], weights [B, N]. Output: sums [B, D].
void weightedSum(Call& call) {
  const auto x = call.input(0, "x", 2);
  const auto weights = call.input(1, "weights", 2);
  const int64_t B = weights.shape[0], N = weights.shape[1], D = x.shape[1];
  call.require(x.shape[0] == B * N, "x is " + describe(x.shape) + " and weights " + describe(weights.shape));
  float* sums = call.output(0, {B, D});
  parallelFor(B, static_cast<double>(N * D), [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float* rows = x.data + b * N * D;
      addWeighted(N, weights.data + b * N, [=](int64_t n) { return rows + n * D; }, D, sums + b * D);
    }
  });
}

// Inputs: dsums [B, D], weights [B, N]. Output: dx [B·N, D]. The weights are data: they have no gradient.
void weightedSumGradient(Call& call) {
  const auto dsums = call.input(0, "dsums", 2);
  const auto weights = call.input(1, "weights", 2);
  const int64_t B = weights.shape[0], N = weights.shape[1], D = dsums.shape[1];
  call.require(dsums.shape[0] == B, "dsums is " + describe(dsums.shape) + " and weights " + describe(weights.shape));
  float* dx = call.output(0, {B * N, D});
  parallelFor(B * N, static_cast<double>(D), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float w = weights.data[r];
      const float* from = dsums.data + r / N * D;
      overRow(0, D, [=](int64_t i, int64_t count) { keep(dx + r * D + i, w * some(from + i, count), count); });
    }
  });
}

// Patches of 16×16 RGB pixels, four bytes to a number. Input: bytes int32 [R, 192]. Output: ink [16·R, 48].
void ink(Call& call) {
  const auto bytes = call.input<const int32_t>(0, "bytes", 2);
  const int64_t R = bytes.shape[0];
  call.require(bytes.shape[1] == 192, "bytes are " + describe(bytes.shape) + ", not 768 of each patch");
  const uint8_t* from = reinterpret_cast<const uint8_t*>(bytes.data);
  float* to = call.output(0, {R * 16, 48});
  parallelFor(R, 768 * 2, [=](int64_t begin, int64_t end) { inkOf(from + begin * 768, end - begin, to + begin * 768); });
}

}  // namespace

std::vector<Op> rowOps() {
  return {
      {"SomaInk", ink, {"bytes: int32"}, {"ink: float"}},
      {"SomaGather", gather, {"table: float", "ids: int32"}, {"rows: float"}},
      {"SomaScatterAdd", scatterAdd, {"rows: float", "ids: int32"}, {"table: float"}, {"row_count"}},
      {"SomaWeightedSum", weightedSum, {"x: float", "weights: float"}, {"sums: float"}},
      {"SomaWeightedSumGradient", weightedSumGradient, {"dsums: float", "weights: float"}, {"dx: float"}},
  };
}

}  // namespace soma
