// One execution of one of our TensorFlow ops, over TensorFlow's public C API: typed inputs and outputs whose ranks and
// sizes are checked before anything is read. A refusal names the op, the input and the shapes, and reaches TypeScript
// as an Error; nothing was computed then.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace soma {

// A wrong input: the sentence for the user.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Shape = std::vector<int64_t>;
std::string describe(const Shape& shape);

template <class Number>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr TF_DataType value = TF_FLOAT;
};
template <>
struct TypeOf<int32_t> {
  static constexpr TF_DataType value = TF_INT32;
};

// An input in TensorFlow's memory.
template <class Number>
struct Input {
  Number* data;
  Shape shape;
  int64_t size() const {
    int64_t product = 1;
    for (const int64_t n : shape) product *= n;
    return product;
  }
  int64_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
};

// Numbers that an op is given when it is built: part of its name, in effect, so never what changes from step to step.
struct Attributes {
  std::vector<int64_t> integers;
  std::vector<float> floats;
};

class Call {
 public:
  Call(const char* op, TF_OpKernelContext* context, const Attributes& attributes)
      : op_(op), context_(context), attributes_(attributes) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call();

  int inputCount() const { return TF_NumInputs(context_); }
  int64_t integer(size_t index) const { return attributes_.integers.at(index); }
  float number(size_t index) const { return attributes_.floats.at(index); }

  // Input `index`, which must have `rank` dimensions; any rank if it is negative.
  template <class Number = const float>
  Input<Number> input(int index, const char* name, int rank) {
    Shape shape;
    void* data = inputData(index, name, rank, TypeOf<std::remove_const_t<Number>>::value, shape);
    return {static_cast<Number*>(data), shape};
  }
  // Input `index`, which must have this shape.
  template <class Number = const float>
  Input<Number> input(int index, const char* name, const Shape& shape) {
    Input<Number> found = input<Number>(index, name, -1);
    if (found.shape != shape) refuse(std::string(name) + " is " + describe(found.shape) + ", not " + describe(shape));
    return found;
  }

  // Memory of output `index`, not filled.
  float* output(int index, const Shape& shape);

  [[noreturn]] void refuse(const std::string& what) const { throw Refusal(std::string(op_) + ": " + what); }
  // What it says is put together either way: not for every number of an array.
  void require(bool holds, const std::string& what) const {
    if (!holds) refuse(what);
  }

 private:
  void* inputData(int index, const char* name, int rank, TF_DataType type, Shape& shape);

  const char* op_;
  TF_OpKernelContext* context_;
  const Attributes& attributes_;
  std::vector<TF_Tensor*> held_;
};

// An op as TensorFlow is told of it: "x: float" for inputs and outputs, then the names of its attributes.
struct Op {
  const char* name;
  void (*compute)(Call& call);
  std::vector<const char*> inputs;
  std::vector<const char*> outputs;
  std::vector<const char*> integers = {};
  std::vector<const char*> floats = {};
};

// Every op of this library, by family; one function a file. Listed in kernels.cc.
std::vector<Op> linearOps();
std::vector<Op> stackOps();
std::vector<Op> normOps();
std::vector<Op> attentionOps();
std::vector<Op> softmaxOps();
std::vector<Op> lossOps();
std::vector<Op> rowOps();
std::vector<Op> optimizerOps();

}  // namespace soma
