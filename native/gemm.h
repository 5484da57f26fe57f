// Product of float matrices, C = A·B, with something done to each finished tile while it is still in the cache.
// Panels of both matrices are copied into the order in which the innermost loop reads them; that loop keeps a tile of C
// in registers (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008).
// Each element of C is summed over k in one fixed order: the number of threads and the split between them change nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

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
// Numbers that the second-level cache keeps beside what else a product touches.
constexpr int64_t kStaysInCache = 1 << 16;

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

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define SOMA_TRANSPOSES 1
// Rows to columns of a square of kLanes × kLanes, in registers: log2(kLanes) rounds, each exchanging blocks half as far
// apart between pairs of rows.
template <int distance>
inline void exchange(Floats* rows) {
  Ints low, high;
  for (int lane = 0; lane < kLanes; lane++) {
    low[lane] = (lane & distance) != 0 ? kLanes + lane - distance : lane;
    high[lane] = (lane & distance) != 0 ? kLanes + lane : lane + distance;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) {
    if ((i & distance) != 0) continue;
    const Floats a = rows[i], b = rows[i + distance];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + distance] = __builtin_shuffle(a, b, high);
  }
}
#endif

// `lines` lines of `depth` numbers into panels of `width` lines, k by k: [panel][k][line in panel]; lines that are
// missing from the last panel are 0. For A a line is a row, for B a column. May write kLanes numbers past the last panel.
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
      continue;
    }
    if (lineStride == 1) {
      for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < here; i++) to[k * width + i] = source[k * depthStride + i];
      }
      continue;
    }
    int64_t packed = 0;  // of the depth
#ifdef SOMA_TRANSPOSES
    if (depthStride == 1 && here == width) {
      for (; packed + kLanes <= depth; packed += kLanes) {
#pragma GCC unroll 4
        for (int first = 0; first < width; first += kLanes) {
          const int some = width - first < kLanes ? width - first : kLanes;
          Floats rows[kLanes];
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; i++) {
            rows[i] = i < some ? load(source + (first + i) * lineStride + packed) : Floats{};
          }
          exchange<1>(rows);
          exchange<2>(rows);
          exchange<4>(rows);
          exchange<8>(rows);
          // A narrow panel's rows overlap the next, which is written after: in order.
#pragma GCC unroll 16
          for (int k = 0; k < kLanes; k++) store(to + (packed + k) * width + first, rows[k]);
        }
      }
    }
#endif
    // Some lines at a time: a cache line of each is read once and all of it used.
    for (int64_t k = packed; k < depth; k += kLanes) {
      const int64_t last = std::min<int64_t>(depth, k + kLanes);
      for (int64_t i = 0; i < here; i++) {
        const float* row = source + i * lineStride;
        for (int64_t kk = k; kk < last; kk++) to[kk * width + i] = row[kk * depthStride];
      }
    }
  }
}

// Products may round their inputs to bfloat16 (8 bits of mantissa), two at a time; sums stay in float.
#if defined(__AVX512BF16__)
constexpr bool kHasBf16 = true;
#else
constexpr bool kHasBf16 = false;
#endif
// Set once, before the first product (kernels.cc).
inline bool roundsToBf16 = false;

#if defined(__AVX512BF16__)
// Panels of floats to panels of pairs, in place: (k, k + 1) of each line side by side, half the size.
template <int width>
inline void pairPanels(float* panels, int64_t lines, int64_t depth) {
  for (int64_t line = 0; line < lines; line += width, panels += width * depth) {
    for (int64_t k = 0; k < depth; k += 2) {
#pragma GCC unroll 4
      for (int i = 0; i < width; i += kLanes) {
        const __m512 even = reinterpret_cast<__m512>(load(panels + k * width + i));
        const __m512 odd = k + 1 < depth ? reinterpret_cast<__m512>(load(panels + (k + 1) * width + i)) : __m512{};
        const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)));
        const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
        // No further than the line's own pairs: of depth 1 the next panel begins there, not read yet.
        const __mmask16 lanes = static_cast<__mmask16>(width - i < kLanes ? (1 << (width - i)) - 1 : 0xffff);
        _mm512_mask_storeu_epi32(panels + k / 2 * width + i, lanes, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
  }
}

template <bool add>
inline void multiplyPairs(int64_t depth, const float* a, const float* b, float* c, int64_t stride) {
  __m512 sums[kTileRows][kTileVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; i++) {
    for (int j = 0; j < kTileVectors; j++) sums[i][j] = __m512{};
  }
  for (int64_t k = 0; k < depth; k += 2) {
    const __m512bh b0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b));
    const __m512bh b1 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + kLanes));
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; i++) {
      int32_t pair;
      __builtin_memcpy(&pair, a + i, sizeof pair);
      const __m512bh both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      sums[i][0] = _mm512_dpbf16_ps(sums[i][0], both, b0);
      sums[i][1] = _mm512_dpbf16_ps(sums[i][1], both, b1);
    }
    a += kTileRows;
    b += kTileColumns;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; i++) {
    for (int j = 0; j < kTileVectors; j++) {
      float* to = c + i * stride + j * kLanes;
      const Floats sum = reinterpret_cast<Floats>(sums[i][j]);
      store(to, add ? load(to) + sum : sum);
    }
  }
}
#endif

// Rows of A for the innermost loop: element (i, k) is data[i·rowStride + k], or in a panel, where the rows are 1 apart,
// data[i + k·kTileRows].
struct Rows {
  const float* data;
  int64_t rowStride;
};
// Rows of B, `stride` apart: kTileColumns in a panel.
struct Columns {
  const float* data;
  int64_t stride;
};

// c[rows, kTileColumns] (+)= a·b
template <int rows, bool add, bool inPanel>
inline void multiplyRows(int64_t depth, Rows a, Columns b, float* c, int64_t stride) {
  Floats sums[rows][kTileVectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < kTileVectors; j++) sums[i][j] = Floats{};
  }
  const int64_t rowStride = inPanel ? 1 : a.rowStride;
  for (int64_t k = 0; k < depth; k++) {
    const Floats b0 = load(b.data);
    const Floats b1 = load(b.data + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      const float factor = a.data[i * rowStride];
      sums[i][0] += factor * b0;
      sums[i][1] += factor * b1;
    }
    a.data += inPanel ? kTileRows : 1;
    b.data += b.stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < kTileVectors; j++) {
      float* to = c + i * stride + j * kLanes;
      store(to, add ? load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

template <bool add>
inline void multiplyTile(int64_t depth, Rows a, Columns b, float* c, int64_t stride) {
#if defined(__AVX512BF16__)
  if (roundsToBf16) return multiplyPairs<add>(depth, a.data, b.data, c, stride);
#endif
  if (a.rowStride == 1) multiplyRows<kTileRows, add, true>(depth, a, b, c, stride);
  else multiplyRows<kTileRows, add, false>(depth, a, b, c, stride);
}

// The last rows of a matrix, fewer than a tile has: each number of them its own loop, so that none computes rows that
// are not there. `c` has room for a whole tile.
template <int rows = kTileRows>
inline void multiplySome(int64_t count, int64_t depth, Rows a, Columns b, float* c, int64_t stride) {
  if constexpr (rows > 1) {
    if (count < rows) return multiplySome<rows - 1>(count, depth, a, b, c, stride);
  }
#if defined(__AVX512BF16__)
  if (roundsToBf16) return multiplyPairs<false>(depth, a.data, b.data, c, stride);
#endif
  if (a.rowStride == 1) multiplyRows<rows, false, true>(depth, a, b, c, stride);
  else multiplyRows<rows, false, false>(depth, a, b, c, stride);
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
  const int64_t rowsHere = part.rowEnd - part.rowBegin;
  const int64_t columnsHere = part.columnEnd - part.columnBegin;
  // For few columns copying A would cost more than it saves. Its rows must not all fall into the same lines of the
  // first-level cache, and a stride of 1 would say that it is a panel.
  const bool readsA = columnsHere <= 8 * kTileColumns && a.columnStride == 1 && a.rowStride > 1 &&
                      a.rowStride % 1024 != 0 && !roundsToBf16;
  // So it is with B for few rows, more of them if it stays in the second-level cache.
  const int64_t tilesOfRows = depth * columnsHere <= kStaysInCache ? 16 : 4;
  const bool readsB = b.columnStride == 1 && rowsHere <= tilesOfRows * kTileRows && !roundsToBf16;
  const int64_t rowsMost = std::min(kBlockRows, rowsHere) + kTileRows;
  const int64_t columnsMost = std::min(kBlockColumns, columnsHere) + kTileColumns;
  // kLanes more than the panels: what is written in whole vectors may end there.
  float* packedA = panelsOfA.atLeast(rowsMost * depthMost + kLanes);
  float* packedB = panelsOfB.atLeast(columnsMost * depthMost + kLanes);
  float edge[kTileRows * kTileColumns] __attribute__((aligned(64)));
  for (int64_t n = part.columnBegin; n < part.columnEnd; n += kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, part.columnEnd - n);
    for (int64_t k = 0; k == 0 || k < depth; k += kDepth) {
      const int64_t deep = std::min(kDepth, depth - k);
      const bool first = k == 0;
      const bool last = k + kDepth >= depth;
      // Whole tiles of B are read where they lie.
      const int64_t whole = readsB ? columns / kTileColumns * kTileColumns : 0;
      packPanels<kTileColumns>(b.data + k * b.rowStride + (n + whole) * b.columnStride, b.columnStride, b.rowStride,
                               columns - whole, deep, packedB + whole * deep);
#if defined(__AVX512BF16__)
      if (roundsToBf16) pairPanels<kTileColumns>(packedB, columns, deep);
#endif
      for (int64_t m = part.rowBegin; m < part.rowEnd; m += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, part.rowEnd - m);
        const float* blockA = a.data + m * a.rowStride + k * a.columnStride;
        if (!readsA) {
          packPanels<kTileRows>(blockA, a.rowStride, a.columnStride, rows, deep, packedA);
#if defined(__AVX512BF16__)
          if (roundsToBf16) pairPanels<kTileRows>(packedA, rows, deep);
#endif
        }
        for (int64_t j = 0; j < columns; j += kTileColumns) {
          const int64_t wide = std::min<int64_t>(kTileColumns, columns - j);
          for (int64_t i = 0; i < rows; i += kTileRows) {
            const int64_t high = std::min<int64_t>(kTileRows, rows - i);
            const Rows tileA = readsA ? Rows{blockA + i * a.rowStride, a.rowStride} : Rows{packedA + i * deep, 1};
            const Columns tileB = j < whole ? Columns{b.data + k * b.rowStride + n + j, b.rowStride}
                                            : Columns{packedB + j * deep, kTileColumns};
            float* tile = c + (m + i) * stride + n + j;
            if (high == kTileRows && wide == kTileColumns) {
              if (first) multiplyTile<false>(deep, tileA, tileB, tile, stride);
              else multiplyTile<true>(deep, tileA, tileB, tile, stride);
            } else {
              multiplySome(high, deep, tileA, tileB, edge, kTileColumns);
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
  const double work = 2.0 * static_cast<double>(M) * static_cast<double>(N) *
                      static_cast<double>(std::max<int64_t>(K, 1));
  const int threads = threadsFor(work);
  if (threads <= 1) {
    multiplyPart({0, M, 0, N}, K, a, b, c, stride, finish);
    return;
  }
  // Large products in twice as many shares as there are threads: a late thread then leaves less to the others.
  const int64_t wanted = work > 1e7 ? 2 * threads : threads;
  const int64_t tilesDown = (M + kTileRows - 1) / kTileRows;
  const int64_t tilesAcross = (N + kTileColumns - 1) / kTileColumns;
  // A grid of shares: the fewest tiles for the largest one, then the least copying into panels.
  int64_t down = 1;
  double best = 1e300;
  for (int64_t d = 1; d <= wanted; d++) {
    const int64_t across = wanted / d;
    const double rows = static_cast<double>((tilesDown + d - 1) / d * kTileRows);
    const double columns = static_cast<double>((tilesAcross + across - 1) / across * kTileColumns);
    const double cost = rows * columns + 8 * (rows + columns);
    if (cost < best) {
      best = cost;
      down = d;
    }
  }
  const int64_t across = wanted / down;
  eachShare(down * across, [&](int64_t share) {
    const int64_t d = share / across;
    const int64_t s = share % across;
    const Part part = {std::min(M, tilesDown * d / down * kTileRows),
                       std::min(M, tilesDown * (d + 1) / down * kTileRows),
                       std::min(N, tilesAcross * s / across * kTileColumns),
                       std::min(N, tilesAcross * (s + 1) / across * kTileColumns)};
    multiplyPart(part, K, a, b, c, stride, finish);
  });
}

}  // namespace soma
