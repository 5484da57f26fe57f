// Multi-head self-attention as one op (Vaswani et al., arXiv 1706.03762). The scores of a few queries at a time exist
// in a thread's own memory; [batch, heads, tokens, tokens] is never stored. The gradient computes them again from what
// is kept of each row, its largest score and its sum (Dao et al., FlashAttention, arXiv 2205.14135; there one number,
// the logarithm of both, which loses the digits of a large score).
#include "gemm.h"
#include "kernel.h"
#include "softmax.h"

namespace soma {
namespace {

// Queries whose scores are held at once.
constexpr int64_t kQueries = kTileRows * 5;

struct Heads {
  int64_t B, N, H, D, d;  // sequences, tokens, heads, width of all heads, of one
  float scale;
  const float* qkv;      // [B·N, 3·D], columns q, k, v, each head after head
  const float* visible;  // [B, N] or null

  Matrix part(int64_t b, int64_t h, int64_t which) const {
    return {qkv + b * N * 3 * D + which * D + h * d, 3 * D, 1};
  }
};

// Inputs: qkv [B·N, 3D], …, visible [B, N] or nothing as the last; integers units N and heads H.
Heads headsOf(Call& call, int visibleIndex) {
  const auto qkv = call.input(0, "qkv", 2);
  const int64_t N = call.integer(0), H = call.integer(1);
  call.require(N >= 1 && H >= 1, "units " + std::to_string(N) + ", heads " + std::to_string(H));
  const int64_t D = qkv.shape[1] / 3;
  call.require(qkv.shape[0] % N == 0 && qkv.shape[1] == 3 * D && D % H == 0 && D > 0,
               "qkv is " + describe(qkv.shape) + ", not [sequences · " + std::to_string(N) + ", 3 · width of " +
                   std::to_string(H) + " heads]");
  const int64_t B = qkv.shape[0] / N;
  const float* visible =
      call.inputCount() > visibleIndex ? call.input(visibleIndex, "visible", Shape{B, N}).data : nullptr;
  return {B, N, H, D, D / H, 1.f / std::sqrt(static_cast<float>(D / H)), qkv.data, visible};
}

double workPerHead(const Heads& s) { return 4.0 * static_cast<double>(s.N) * static_cast<double>(s.N * s.d); }

// Outputs: mixed [B·N, D], and each query's largest score and 1/sum [B·H, N, 2].
void attention(Call& call) {
  const Heads s = headsOf(call, 1);
  float* mixed = call.output(0, {s.B * s.N, s.D});
  float* sums = call.output(1, {s.B * s.H, s.N, 2});
  parallelFor(s.B * s.H, workPerHead(s), [=](int64_t begin, int64_t end) {
    static thread_local Panels scratch;
    float* weights = scratch.atLeast(std::min(kQueries, s.N) * s.N);
    for (int64_t i = begin; i < end; i++) {
      const int64_t b = i / s.H, h = i % s.H;
      const Matrix q = s.part(b, h, 0), k = s.part(b, h, 1), v = s.part(b, h, 2);
      const float* visible = s.visible == nullptr ? nullptr : s.visible + b * s.N;
      for (int64_t n = 0; n < s.N; n += kQueries) {
        const int64_t rows = std::min(kQueries, s.N - n);
        multiplyPart({0, rows, 0, s.N}, s.d, {q.data + n * q.rowStride, q.rowStride, 1}, transposed(k), weights, s.N);
        for (int64_t r = 0; r < rows; r++) {
          const RowSum row = softmaxRow(weights + r * s.N, s.N, s.scale, visible);
          float* kept = sums + 2 * (i * s.N + n + r);
          kept[0] = row.most;
          kept[1] = 1.f / row.total;
        }
        multiplyPart({0, rows, 0, s.d}, s.N, rowsOf(weights, s.N), v, mixed + (b * s.N + n) * s.D + h * s.d, s.D);
      }
    }
  });
}

// Adds C += A·B through scratch memory: the tiles themselves only overwrite.
struct Adding {
  float* to;
  const float* from;
  int64_t toStride, fromStride;
  void operator()(int64_t rowBegin, int64_t rowEnd, int64_t columnBegin, int64_t columnEnd) const {
    for (int64_t r = rowBegin; r < rowEnd; r++) {
      overRow(columnBegin, columnEnd, [=](int64_t n, int64_t count) {
        float* at = to + r * toStride + n;
        keep(at, some(at, count) + some(from + r * fromStride + n, count), count);
      });
    }
  }
};

// Inputs: qkv, mixed, sums as given by the forward op, dmixed [B·N, D], then visible. Output: dqkv [B·N, 3D].
void attentionGradient(Call& call) {
  const Heads s = headsOf(call, 4);
  const float* mixed = call.input(1, "mixed", Shape{s.B * s.N, s.D}).data;
  const float* sums = call.input(2, "sums", Shape{s.B * s.H, s.N, 2}).data;
  const float* dmixed = call.input(3, "dmixed", Shape{s.B * s.N, s.D}).data;
  float* dqkv = call.output(0, {s.B * s.N, 3 * s.D});
  parallelFor(s.B * s.H, workPerHead(s) * 2.5, [=](int64_t begin, int64_t end) {
    static thread_local Panels scratch;
    const int64_t block = std::min(kQueries, s.N) * s.N;
    float* weights = scratch.atLeast(2 * block + s.N * s.d);
    float* dscores = weights + block;
    float* product = dscores + block;
    const int64_t stride = 3 * s.D;
    for (int64_t i = begin; i < end; i++) {
      const int64_t b = i / s.H, h = i % s.H;
      const Matrix q = s.part(b, h, 0), k = s.part(b, h, 1), v = s.part(b, h, 2);
      const float* visible = s.visible == nullptr ? nullptr : s.visible + b * s.N;
      float* dq = dqkv + b * s.N * stride + h * s.d;
      float* dk = dq + s.D;
      float* dv = dk + s.D;
      for (int64_t n = 0; n < s.N; n += kQueries) {
        const int64_t rows = std::min(kQueries, s.N - n);
        const int64_t at = (b * s.N + n) * s.D + h * s.d;
        const Matrix queries = {q.data + n * stride, stride, 1};
        const Matrix doutputs = {dmixed + at, s.D, 1};
        multiplyPart({0, rows, 0, s.N}, s.d, queries, transposed(k), weights, s.N);
        multiplyPart({0, rows, 0, s.N}, s.d, doutputs, transposed(v), dscores, s.N);
        for (int64_t r = 0; r < rows; r++) {
          const float* out = mixed + at + r * s.D;
          const float* dout = dmixed + at + r * s.D;
          Floats dots{};
          overRow(0, s.d, [&](int64_t c, int64_t count) { dots += some(out + c, count) * some(dout + c, count); });
          const float mean = sum(dots);
          const float most = sums[2 * (i * s.N + n + r)], inverse = sums[2 * (i * s.N + n + r) + 1];
          float* w = weights + r * s.N;
          float* ds = dscores + r * s.N;
          overRow(0, s.N, [=](int64_t c, int64_t count) {
            Floats p = exponential((some(w + c, count) - most) * s.scale) * inverse;
            if (visible != nullptr) p = select(some(visible + c, count) > 0.f, p, Floats{});
            keep(w + c, p, count);
            keep(ds + c, p * (some(ds + c, count) - mean) * s.scale, count);
          });
        }
        multiplyPart({0, rows, 0, s.d}, s.N, rowsOf(dscores, s.N), k, dq + n * stride, stride);
        // Keys and values collect from every block of queries: the first writes, the others add.
        const Matrix across = transposed(rowsOf(dscores, s.N));
        const Matrix weightsAcross = transposed(rowsOf(weights, s.N));
        if (n == 0) {
          multiplyPart({0, s.N, 0, s.d}, rows, across, queries, dk, stride);
          multiplyPart({0, s.N, 0, s.d}, rows, weightsAcross, doutputs, dv, stride);
        } else {
          multiplyPart({0, s.N, 0, s.d}, rows, across, queries, product, s.d, Adding{dk, product, stride, s.d});
          multiplyPart({0, s.N, 0, s.d}, rows, weightsAcross, doutputs, product, s.d, Adding{dv, product, stride, s.d});
        }
      }
    }
  });
}

}  // namespace

std::vector<Op> attentionOps() {
  return {
      {"SomaAttention", attention, {"qkv: float", "visible: N * float"}, {"mixed: float", "sums: float"},
       {"units", "heads"}},
      {"SomaAttentionGradient", attentionGradient,
       {"qkv: float", "mixed: float", "sums: float", "dmixed: float", "visible: N * float"}, {"dqkv: float"},
       {"units", "heads"}},
  };
}

}  // namespace soma
