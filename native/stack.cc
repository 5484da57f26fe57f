// Linear layers one after another in one call, for embedding: nothing is kept for a gradient, and where each row of
// the last layer needs only some rows of those before, a thread takes them through all layers while they are in its
// cache. The bits are those of the layers called one by one.
#include "gemm.h"
#include "ink.h"
#include "kernel.h"
#include "linear.h"
#include "weighted.h"

namespace soma {
namespace {

// A layer reads the numbers before it as rows of its own width: `rows` of them, [I] → [O].
struct Layer {
  int64_t rows, I, O;
  const float* weight;
  const float* bias;
  int64_t activation;
  bool addsSkipped;  // what the layer before it read is added to what comes out
};

// Bits of a layer in the attribute `layers`: activation, has a bias, adds what the layer before it read.
constexpr int64_t kBitsEach = 4, kBias = 4, kSkip = 8, kLayersMost = 15;

// Rows in the first layer that a thread takes through the layers at a time, and weights that they may have together: what
// both need should fit its second-level cache.
constexpr int64_t kRowsAtOnce = 224, kWeightsAtOnce = 3 << 16;

// The layers of an op that reads so many numbers; their weights and biases are its inputs from number `input`.
std::vector<Layer> layersOf(Call& call, int64_t numbers, int input) {
  int64_t codes = call.integer(0);
  const int64_t count = call.integer(1);
  call.require(count >= 1 && count <= kLayersMost, std::to_string(count) + " layers");
  std::vector<Layer> layers;
  for (int64_t l = 0; l < count; l++, codes >>= kBitsEach) {
    const std::string name = "layer " + std::to_string(l);
    const auto weight = call.input(input++, (name + "'s weight").c_str(), 2);
    Layer layer = {0, weight.shape[0], weight.shape[1], weight.data, nullptr, codes & 3, (codes & kSkip) != 0};
    call.require(layer.I > 0 && numbers % layer.I == 0,
                 name + "'s weight is " + describe(weight.shape) + " for " + std::to_string(numbers) + " numbers");
    layer.rows = numbers / layer.I;
    numbers = layer.rows * layer.O;
    if ((codes & kBias) != 0) layer.bias = call.input(input++, (name + "'s bias").c_str(), Shape{layer.O}).data;
    if (layer.addsSkipped) {
      call.require(l > 0 && layers.back().rows == layer.rows && layers.back().I == layer.O,
                   name + " adds rows of another shape");
    }
    layers.push_back(layer);
  }
  return layers;
}

// How many layers at the beginning are taken by rows of the last of them, each row with `unit` numbers at least, or a
// multiple; 0 if that is not worth it.
size_t layersByRows(const std::vector<Layer>& layers, int64_t unit) {
  size_t most = 0;
  int64_t weights = 0;
  for (size_t l = 0; l < layers.size(); l++) {
    const Layer& layer = layers[l];
    weights += layer.I * layer.O;
    if (layer.rows < kRowsAtOnce || weights > kWeightsAtOnce) break;
    if (l > 0 && layers[l - 1].rows % layer.rows != 0) break;
    const int64_t numbers = layers[0].rows / layer.rows * layers[0].I;
    // What a layer behind adds is then no longer there.
    const bool endsHere = l + 1 == layers.size() || !layers[l + 1].addsSkipped;
    if (l > 0 && endsHere && numbers % unit == 0) most = l + 1;
  }
  return most;
}

// Three buffers in turn: a layer reads one, writes the next, and may add the one before.
struct Turns {
  float* buffer[3];
  const float* read = nullptr;     // what the next layer reads
  const float* skipped = nullptr;  // what the last one read
  size_t turn = 0;
  float* next() { return buffer[turn++ % 3]; }
  void wrote(const float* y) {
    skipped = read;
    read = y;
  }
};

LinearFinish finishOf(const Layer& layer, float* y, const float* skipped) {
  return {y, layer.O, layer.activation, layer.bias, layer.addsSkipped ? skipped : nullptr, nullptr};
}

int64_t mostOf(const std::vector<Layer>& layers, size_t begin, size_t end, int64_t part) {
  int64_t most = 0;
  for (size_t l = begin; l < end; l++) {
    most = std::max(most, layers[l].rows / part * std::max(layers[l].I, layers[l].O));
  }
  return most;
}

// The first `count` layers, some rows of the last of them at a time. `source.rows(first, count, scratch)` → rows of the
// first layer.
template <class Source>
void byRows(const std::vector<Layer>& layers, size_t count, const Source& source, float* y) {
  const int64_t last = layers[count - 1].rows;
  const int64_t firstsEach = layers[0].rows / last;
  const int64_t tileFirsts = kTileRows * firstsEach;
  const int64_t atOnce = kTileRows * ((kRowsAtOnce + tileFirsts - 1) / tileFirsts);
  const int64_t scratch = mostOf(layers, 0, count, last) * atOnce;
  eachShare((last + atOnce - 1) / atOnce, [&](int64_t share) {
    static thread_local Panels buffers;
    const int64_t begin = share * atOnce;
    const int64_t rows = std::min(atOnce, last - begin);
    float* own = buffers.atLeast(4 * scratch);
    Turns turns = {{own, own + scratch, own + 2 * scratch}};
    turns.read = source.rows(begin * firstsEach, rows * firstsEach, own + 3 * scratch);
    for (size_t l = 0; l < count; l++) {
      const Layer& layer = layers[l];
      const int64_t here = rows * (layer.rows / last);
      float* to = l + 1 == count ? y + begin * layer.O : turns.next();
      multiplyPart({0, here, 0, layer.O}, layer.I, rowsOf(turns.read, layer.I), rowsOf(layer.weight, layer.O), to,
                   layer.O, finishOf(layer, to, turns.skipped));
      turns.wrote(to);
    }
  });
}

template <class Source>
void stack(Call& call, int64_t numbers, int firstWeight, const Source& source) {
  const std::vector<Layer> layers = layersOf(call, numbers, firstWeight);
  const Layer& end = layers.back();
  float* y = call.output(0, {end.rows, end.O});
  const size_t together = layersByRows(layers, source.unit);
  static thread_local Panels buffers;
  const int64_t most = mostOf(layers, together == 0 ? 0 : together - 1, layers.size(), 1);
  float* own = buffers.atLeast(3 * most + (together == 0 && Source::kMakes ? numbers : 0) + 1);
  Turns turns = {{own, own + most, own + 2 * most}};
  if (together > 0) {
    float* to = together == layers.size() ? y : turns.next();
    byRows(layers, together, source, to);
    turns.wrote(to);
  } else {
    float* made = own + 3 * most;
    turns.read = Source::kMakes ? made : source.rows(0, layers[0].rows, nullptr);
    if (Source::kMakes) {
      const int64_t rowsEach = source.unit / layers[0].I;
      parallelFor(numbers / source.unit, source.work(), [&](int64_t begin, int64_t stop) {
        source.rows(begin * rowsEach, (stop - begin) * rowsEach, made + begin * source.unit);
      });
    }
  }
  for (size_t l = together; l < layers.size(); l++) {
    const Layer& layer = layers[l];
    float* to = l + 1 == layers.size() ? y : turns.next();
    multiply(layer.rows, layer.O, layer.I, rowsOf(turns.read, layer.I), rowsOf(layer.weight, layer.O), to, layer.O,
             finishOf(layer, to, turns.skipped));
    turns.wrote(to);
  }
}

// Where the first layer's rows come from. `unit` numbers belong together: rows are asked for so many of them at a time.
struct FloatRows {
  static constexpr bool kMakes = false;
  const float* data;
  int64_t width;
  int64_t unit = 1;
  const float* rows(int64_t first, int64_t, float*) const { return data + first * width; }
  double work() const { return 0; }
};

// Inputs: x of any shape, then each layer's weight [I, O] and, if it has one, bias [O]. Each layer reads what is before
// it as rows of I numbers. Output: y [rows, O] of the last.
void linearStack(Call& call) {
  const auto x = call.input(0, "x", -1);
  const int64_t width = call.input(1, "layer 0's weight", 2).shape[0];
  stack(call, x.size(), 1, FloatRows{x.data, width});
}

constexpr int64_t kPatchBytes = 768;

// Rows of whole patches, made where they are needed.
struct InkRows {
  static constexpr bool kMakes = true;
  const uint8_t* bytes;
  int64_t width;
  int64_t unit = kPatchBytes;
  const float* rows(int64_t first, int64_t count, float* scratch) const {
    inkOf(bytes + first * width, count * width / kPatchBytes, scratch);
    return scratch;
  }
  double work() const { return 2 * kPatchBytes; }
};

// The same from patches of pixels, four bytes to a number, as SomaInk reads them: bytes int32 [R, 192].
void inkStack(Call& call) {
  const auto bytes = call.input<const int32_t>(0, "bytes", 2);
  call.require(bytes.shape[1] * 4 == kPatchBytes, "bytes are " + describe(bytes.shape) + ", not 768 of each patch");
  const int64_t width = call.input(1, "layer 0's weight", 2).shape[0];
  call.require(width > 0 && kPatchBytes % width == 0,
               "layer 0 reads rows of " + std::to_string(width) + ", of which a patch's 768 are no multiple");
  stack(call, bytes.shape[0] * kPatchBytes, 1, InkRows{reinterpret_cast<const uint8_t*>(bytes.data), width});
}

// A row for each sequence: the weighted sum of its tokens' rows in the table.
struct BagRows {
  static constexpr bool kMakes = true;
  const float* table;
  const int32_t* ids;
  const float* weights;
  int64_t units;  // tokens of a sequence
  int64_t unit;   // numbers in a row
  const float* rows(int64_t first, int64_t count, float* scratch) const {
    for (int64_t r = 0; r < count; r++) {
      const int64_t begin = (first + r) * units;
      addWeighted(units, weights + begin, [=](int64_t n) { return table + ids[begin + n] * unit; }, unit,
                  scratch + r * unit);
    }
    return scratch;
  }
  double work() const { return 2 * static_cast<double>(units * unit); }
};

// The same from sequences of ids, as SomaGather and SomaWeightedSum read them: table [V, D], ids int32 [B, N], weights
// [B, N].
void bagStack(Call& call) {
  const auto table = call.input(0, "table", 2);
  const auto ids = call.input<const int32_t>(1, "ids", 2);
  const auto weights = call.input(2, "weights", ids.shape);
  const int64_t V = table.shape[0], D = table.shape[1], B = ids.shape[0], N = ids.shape[1];
  for (int64_t i = 0; i < B * N; i++) {
    if (ids.data[i] < 0 || ids.data[i] >= V) {
      call.refuse("id " + std::to_string(ids.data[i]) + " in a table " + describe(table.shape));
    }
  }
  const auto first = call.input(3, "layer 0's weight", 2);
  call.require(D > 0 && first.shape[0] == D,
               "layer 0's weight is " + describe(first.shape) + " for a table " + describe(table.shape));
  stack(call, B * D, 3, BagRows{table.data, ids.data, weights.data, N, D});
}

}  // namespace

std::vector<Op> stackOps() {
  return {
      {"SomaLinearStack", linearStack, {"x: float", "others: N * float"}, {"y: float"}, {"layers", "count"}},
      {"SomaInkStack", inkStack, {"bytes: int32", "others: N * float"}, {"y: float"}, {"layers", "count"}},
      {"SomaBagStack", bagStack, {"table: float", "ids: int32", "weights: float", "others: N * float"}, {"y: float"},
       {"layers", "count"}},
  };
}

}  // namespace soma
