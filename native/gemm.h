// Product of float matrices, C = A·B, with something done to each finished tile while it is still in the cache.
// Panels of both matrices are copied into the order in which the innermost loop reads them; that loop keeps a tile of C
// in registers (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008).
// Each element of C is summed over k in one fixed order: the number of threads and the split between them change nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "parallel.h"
#include "vector.h"

namespace soma {

// The tile of C in registers: kTileRows × kTileColumns. Accumulators, two vectors of B and a broadcast must fit.
constexpr int kTileVectors = 2;
constexpr int kTileColumns = kTileVectors * kLanes;
#if defined(__AVX512F__)
constexpr int kTileRows = 14;
#elif defined(__aarch64__)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif

// A panel of B (kDepth × kTileColumns) and one of A stay in the first-level cache, a block of A in the second.
constexpr int64_t kDepth = 256;
constexpr int64_t kBlockRows = kTileRows * 16;
constexpr int64_t kBlockColumns = 768;

// A matrix anywhere in memory: element (i, j) is data[i·rowStride + j·columnStride].
struct Matrix {
  const float* data;
  int64_t rowStride;
  int64_t columnStride;
};
inline Matrix rowsOf(const float* data, int64_t width) { return {data, width, 1}; }
inline Matrix transposed(Matrix m) { return {m.data, m.columnStride, m.rowStride}; }

// Memory of one thread for panels; grows, and is kept for the next product.
class Panels {
 public:
  Panels() = default;
  Panels(const Panels&) = delete;
  Panels& operator=(const Panels&) = delete;
  ~Panels() { std::free(data_); }
  float* atLeast(int64_t count) {
    if (count > size_) {
      std::free(data_);
      size_ = 0;
      const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 63) / 64 * 64;
      data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = count;
    }
    return data_;
  }

 private:
  float* data_ = nullptr;
  int64_t size_ = 0;
};

// `lines` lines of `depth` numbers into panels of `width` lines, k by k: [panel][k][line in panel]; lines that are
// missing from the last panel are 0. For A a line is a row, for B a column.
template <int width>
inline void packPanels(const float* from, int64_t lineStride, int64_t depthStride, int64_t lines,
                       int64_t depth, float* to) {
  for (int64_t line = 0; line < lines; line += width, to += width * depth) {
    const int64_t here = std::min<int64_t>(width, lines - line);
    const float* source = from + line * lineStride;
    if (here < width) std::fill(to, to + width * depth, 0.f);
    if (lineStride == 1 && here == width) {
      for (int64_t k = 0; k < depth; k++) {
        __builtin_memcpy(to + k * width, source + k * depthStride, width * sizeof(float));
      }
    } else if (lineStride == 1) {
      for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < here; i++) to[k * width + i] = source[k * depthStride + i];
      }
    } else {
      // Some lines at a time: a cache line of each is read once and all of it used.
      for (int64_t k = 0; k < depth; k += kLanes) {
        const int64_t last = std::min<int64_t>(depth, k + kLanes);
        for (int64_t i = 0; i < here; i++) {
          const float* row = source + i * lineStride;
          for (int64_t kk = k; kk < last; kk++) to[kk * width + i] = row[kk * depthStride];
        }
      }
    }
  }
}

// c[kTileRows, kTileColumns] (+)= a panel · b panel.
template <bool add>
inline void multiplyTile(int64_t depth, const float* a, const float* b, float* c, int64_t stride) {
  Floats sums[kTileRows][kTileVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; i++) {
    for (int j = 0; j < kTileVectors; j++) sums[i][j] = Floats{};
  }
  for (int64_t k = 0; k < depth; k++) {
    const Floats b0 = load(b);
    const Floats b1 = load(b + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; i++) {
      sums[i][0] += a[i] * b0;
      sums[i][1] += a[i] * b1;
    }
    a += kTileRows;
    b += kTileColumns;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; i++) {
    for (int j = 0; j < kTileVectors; j++) {
      float* to = c + i * stride + j * kLanes;
      store(to, add ? load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

// A part of C in rows and columns that one thread computes alone.
struct Part {
  int64_t rowBegin, rowEnd, columnBegin, columnEnd;
};

struct NoFinish {
  void operator()(int64_t, int64_t, int64_t, int64_t) const {}
};

// The part of C = A·B. `finish(rowBegin, rowEnd, columnBegin, columnEnd)` is called once for every finished tile.
template <class Finish = NoFinish>
void multiplyPart(Part part, int64_t depth, Matrix a, Matrix b, float* c, int64_t stride,
                  const Finish& finish = {}) {
  static thread_local Panels panelsOfA, panelsOfB;
  const int64_t depthMost = std::min(kDepth, depth);
  float* packedA = panelsOfA.atLeast((kBlockRows + kTileRows) * std::max<int64_t>(depthMost, 1));
  float* packedB = panelsOfB.atLeast((kBlockColumns + kTileColumns) * std::max<int64_t>(depthMost, 1));
  float edge[kTileRows * kTileColumns] __attribute__((aligned(64)));
  for (int64_t n = part.columnBegin; n < part.columnEnd; n += kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, part.columnEnd - n);
    for (int64_t k = 0; k == 0 || k < depth; k += kDepth) {
      const int64_t deep = std::min(kDepth, depth - k);
      const bool first = k == 0;
      const bool last = k + kDepth >= depth;
      packPanels<kTileColumns>(b.data + k * b.rowStride + n * b.columnStride, b.columnStride, b.rowStride,
                               columns, deep, packedB);
      for (int64_t m = part.rowBegin; m < part.rowEnd; m += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, part.rowEnd - m);
        packPanels<kTileRows>(a.data + m * a.rowStride + k * a.columnStride, a.rowStride, a.columnStride, rows,
                              deep, packedA);
        for (int64_t j = 0; j < columns; j += kTileColumns) {
          const int64_t wide = std::min<int64_t>(kTileColumns, columns - j);
          for (int64_t i = 0; i < rows; i += kTileRows) {
            const int64_t high = std::min<int64_t>(kTileRows, rows - i);
            const float* panelA = packedA + i * deep;
            const float* panelB = packedB + j * deep;
            float* tile = c + (m + i) * stride + n + j;
            if (high == kTileRows && wide == kTileColumns) {
              if (first) multiplyTile<false>(deep, panelA, panelB, tile, stride);
              else multiplyTile<true>(deep, panelA, panelB, tile, stride);
            } else {
              multiplyTile<false>(deep, panelA, panelB, edge, kTileColumns);
              for (int64_t r = 0; r < high; r++) {
                for (int64_t s = 0; s < wide; s++) {
                  float& to = tile[r * stride + s];
                  to = first ? edge[r * kTileColumns + s] : to + edge[r * kTileColumns + s];
                }
              }
            }
            if (last) finish(m + i, m + i + high, n + j, n + j + wide);
          }
        }
      }
    }
  }
}

// C[M, N] = A[M, K]·B[K, N] over all threads. C's rows are `stride` apart and must not overlap A or B.
template <class Finish = NoFinish>
void multiply(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t stride,
              const Finish& finish = {}) {
  const int threads = threadsFor(2.0 * static_cast<double>(M) * static_cast<double>(N) *
                                 static_cast<double>(std::max<int64_t>(K, 1)));
  if (threads <= 1) {
    multiplyPart({0, M, 0, N}, K, a, b, c, stride, finish);
    return;
  }
  const int64_t tilesDown = (M + kTileRows - 1) / kTileRows;
  const int64_t tilesAcross = (N + kTileColumns - 1) / kTileColumns;
  // A grid of threads: the fewest tiles for the busiest one, then the least copying into panels.
  int64_t down = 1;
  double best = 1e300;
  for (int64_t d = 1; d <= threads; d++) {
    const int64_t across = threads / d;
    const double rows = static_cast<double>((tilesDown + d - 1) / d * kTileRows);
    const double columns = static_cast<double>((tilesAcross + across - 1) / across * kTileColumns);
    const double cost = rows * columns + 8 * (rows + columns);
    if (cost < best) {
      best = cost;
      down = d;
    }
  }
  const int64_t across = threads / down;
  const int64_t shares = down * across;
#ifdef _OPENMP
#pragma omp parallel for num_threads(static_cast<int>(shares)) schedule(static)
#endif
  for (int64_t share = 0; share < shares; share++) {
    const int64_t d = share / across;
    const int64_t s = share % across;
    const Part part = {std::min(M, tilesDown * d / down * kTileRows),
                       std::min(M, tilesDown * (d + 1) / down * kTileRows),
                       std::min(N, tilesAcross * s / across * kTileColumns),
                       std::min(N, tilesAcross * (s + 1) / across * kTileColumns)};
    multiplyPart(part, K, a, b, c, stride, finish);
  }
}

}  // namespace soma
