// Losses that end in one number. Each op gives the loss and, in the same pass, its gradient: what comes from above is
// one number, so the gradient of a larger sum is this one times it.
#include <cmath>

#include "kernel.h"
#include "parallel.h"
#include "softmax.h"

namespace soma {
namespace {

// −log of the weight that a softmax gave to `score`, whatever the scores' size.
double surprise(RowSum row, float score) {
  return static_cast<double>(row.most) - static_cast<double>(score) + std::log(static_cast<double>(row.total));
}

// Σ of one number per row, in order.
float mean(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return static_cast<float>(total / static_cast<double>(values.empty() ? 1 : values.size()));
}

// Inputs: logits [B, C], labels int32 [B]. Outputs: mean of −log softmax(logits)[label], dlogits [B, C].
void crossEntropy(Call& call) {
  const auto logits = call.input(0, "logits", 2);
  const int64_t B = logits.shape[0], C = logits.shape[1];
  const int32_t* labels = call.input<const int32_t>(1, "labels", Shape{B}).data;
  for (int64_t b = 0; b < B; b++) {
    if (labels[b] < 0 || labels[b] >= C) {
      call.refuse("label " + std::to_string(labels[b]) + " of row " + std::to_string(b) + " with logits " +
                  describe(logits.shape));
    }
  }
  float* loss = call.output(0, {});
  float* dlogits = call.output(1, logits.shape);
  std::vector<double> losses(static_cast<size_t>(B));
  double* lossOf = losses.data();
  parallelFor(B, static_cast<double>(C) * 4, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      float* row = dlogits + b * C;
      const float* from = logits.data + b * C;
      std::copy(from, from + C, row);
      lossOf[b] = surprise(softmaxRow(row, C, 1.f, nullptr), from[labels[b]]);
      row[labels[b]] -= 1.f;
      const float share = 1.f / static_cast<float>(B);
      overRow(0, C, [=](int64_t n, int64_t count) { keep(row + n, some(row + n, count) * share, count); });
    }
  });
  *loss = mean(losses);
}

// InfoNCE, both directions (van den Oord et al., arXiv 1807.03748): row i's partner is column i and the other way.
// Inputs: similarities [B, B]. Outputs: mean over 2B choices, its gradient [B, B].
void infoNce(Call& call) {
  const auto s = call.input(0, "similarities", 2);
  const int64_t B = s.shape[0];
  call.require(s.shape[1] == B && B > 0, "similarities are " + describe(s.shape) + ", not square");
  float* loss = call.output(0, {});
  float* gradient = call.output(1, s.shape);
  std::vector<double> losses(static_cast<size_t>(2 * B));
  std::vector<float> turned(static_cast<size_t>(B * B));
  double* lossOf = losses.data();
  float* columns = turned.data();  // [column][row], then its softmax
  const double work = static_cast<double>(B) * 5;
  parallelFor(B, work, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      for (int64_t j = 0; j < B; j++) columns[i * B + j] = s.data[j * B + i];
      lossOf[B + i] = surprise(softmaxRow(columns + i * B, B, 1.f, nullptr), s.data[i * B + i]);
    }
  });
  parallelFor(B, work, [=](int64_t begin, int64_t end) {
    const float share = 0.5f / static_cast<float>(B);
    for (int64_t i = begin; i < end; i++) {
      float* row = gradient + i * B;
      std::copy(s.data + i * B, s.data + (i + 1) * B, row);
      lossOf[i] = surprise(softmaxRow(row, B, 1.f, nullptr), s.data[i * B + i]);
      for (int64_t j = 0; j < B; j++) row[j] = (row[j] + columns[j * B + i]) * share;
      row[i] -= 2 * share;
    }
  });
  *loss = mean(losses);
}

// Sigmoid loss (Zhai et al., arXiv 2303.15343): every pair is judged alone, softplus(−z·logit), z = 1 on the diagonal
// and −1 off it. Inputs: logits [B, B]. Outputs: Σ over pairs / B, its gradient [B, B].
void sigmoidLoss(Call& call) {
  const auto s = call.input(0, "logits", 2);
  const int64_t B = s.shape[0];
  call.require(s.shape[1] == B && B > 0, "logits are " + describe(s.shape) + ", not square");
  float* loss = call.output(0, {});
  float* gradient = call.output(1, s.shape);
  std::vector<double> losses(static_cast<size_t>(B));
  double* lossOf = losses.data();
  parallelFor(B, static_cast<double>(B) * 20, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      double total = 0;
      for (int64_t j = 0; j < B; j++) {
        const double sign = i == j ? 1 : -1;
        const double x = -sign * static_cast<double>(s.data[i * B + j]);
        const double tail = std::exp(-std::fabs(x));
        total += std::max(x, 0.0) + std::log1p(tail);
        const double sigmoid = x > 0 ? 1 / (1 + tail) : tail / (1 + tail);
        // max() above drops a NaN: the gradient keeps it, and so does the loss.
        gradient[i * B + j] = static_cast<float>(-sign * sigmoid / static_cast<double>(B));
        if (x != x) total = x;
      }
      lossOf[i] = total;
    }
  });
  *loss = mean(losses);
}

}  // namespace

std::vector<Op> lossOps() {
  return {
      {"SomaCrossEntropy", crossEntropy, {"logits: float", "labels: int32"}, {"loss: float", "dlogits: float"}},
      {"SomaInfoNce", infoNce, {"similarities: float"}, {"loss: float", "gradient: float"}},
      {"SomaSigmoidLoss", sigmoidLoss, {"logits: float"}, {"loss: float", "gradient: float"}},
  };
}

}  // namespace soma
