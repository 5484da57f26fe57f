// The library's entry: tells TensorFlow of every op, and gives Node their names. Ops are then called by name through
// tfjs's own backend (models/backend.ts), so their tensors are tfjs tensors like any other.
#include <node_api.h>

#include <cstring>
#include <memory>
#include <new>

#include "gemm.h"
#include "kernel.h"

namespace soma {

std::string describe(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

namespace {

struct Status {
  TF_Status* status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  bool ok() const { return TF_GetCode(status) == TF_OK; }
};

// What TensorFlow keeps for an op with its attributes: built once, run many times.
struct Kernel {
  const Op* op;
  Attributes attributes;
};

std::vector<Op>& allOps() {
  static std::vector<Op> ops = [] {
    std::vector<Op> all;
    for (auto family : {linearOps, stackOps, normOps, attentionOps, softmaxOps, lossOps, rowOps, optimizerOps}) {
      for (const Op& op : family()) all.push_back(op);
    }
    return all;
  }();
  return ops;
}

void compute(void* opaque, TF_OpKernelContext* context) {
  const Kernel* kernel = static_cast<Kernel*>(opaque);
  Status status;
  try {
    Call call(kernel->op->name, context, kernel->attributes);
    kernel->op->compute(call);
    return;
  } catch (const Refusal& refusal) {
    TF_SetStatus(status.status, TF_INVALID_ARGUMENT, refusal.what());
  } catch (const std::bad_alloc&) {
    const std::string what = std::string(kernel->op->name) + ": no memory for its scratch space";
    TF_SetStatus(status.status, TF_RESOURCE_EXHAUSTED, what.c_str());
  } catch (const std::exception& error) {
    TF_SetStatus(status.status, TF_INTERNAL, error.what());
  }
  TF_OpKernelContext_Failure(context, status.status);
}

void destroy(void* opaque) { delete static_cast<Kernel*>(opaque); }

void* createKernel(size_t index, TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<Kernel>();
  kernel->op = &allOps()[index];
  Status status;
  for (const char* name : kernel->op->integers) {
    int64_t value = 0;
    TF_OpKernelConstruction_GetAttrInt64(construction, name, &value, status.status);
    kernel->attributes.integers.push_back(value);
  }
  for (const char* name : kernel->op->floats) {
    float value = 0;
    TF_OpKernelConstruction_GetAttrFloat(construction, name, &value, status.status);
    kernel->attributes.floats.push_back(value);
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.status);
    return nullptr;
  }
  return kernel.release();
}

// The C API gives a kernel's constructor no name: one function per op, made by the compiler.
constexpr size_t kOpsMost = 64;
template <size_t index>
void* create(TF_OpKernelConstruction* construction) {
  return createKernel(index, construction);
}
using Create = void* (*)(TF_OpKernelConstruction*);
template <size_t... index>
std::vector<Create> creators(std::index_sequence<index...>) {
  return {create<index>...};
}

// The first op that TensorFlow refuses, with its reason; empty if it took all.
std::string registerOps() {
  static const std::vector<Create> makers = creators(std::make_index_sequence<kOpsMost>());
  const std::vector<Op>& ops = allOps();
  if (ops.size() > kOpsMost) return "too many ops";
  for (size_t i = 0; i < ops.size(); i++) {
    const Op& op = ops[i];
    TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(op.name);
    bool isList = false;
    for (const char* input : op.inputs) {
      isList = isList || std::strstr(input, "N *") != nullptr;
      TF_OpDefinitionBuilderAddInput(definition, input);
    }
    for (const char* output : op.outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
    if (isList) TF_OpDefinitionBuilderAddAttr(definition, "N: int >= 0");
    for (const char* name : op.integers) {
      TF_OpDefinitionBuilderAddAttr(definition, (std::string(name) + ": int").c_str());
    }
    for (const char* name : op.floats) {
      TF_OpDefinitionBuilderAddAttr(definition, (std::string(name) + ": float").c_str());
    }
    // Not a function of its inputs alone as far as TensorFlow is concerned: it must never skip or merge a call.
    TF_OpDefinitionBuilderSetIsStateful(definition, true);
    TF_OpDefinitionBuilderSetShapeInferenceFunction(
        definition, [](TF_ShapeInferenceContext* context, TF_Status* result) {
          TF_ShapeInferenceContextSetUnknownShape(context, result);
        });
    Status status;
    TF_RegisterOpDefinition(definition, status.status);
    if (!status.ok()) return std::string(op.name) + ": " + TF_Message(status.status);
    TF_KernelBuilder* builder = TF_NewKernelBuilder(op.name, "CPU", makers[i], compute, destroy);
    TF_RegisterKernelBuilder(op.name, builder, status.status);
    if (!status.ok()) return std::string(op.name) + ": " + TF_Message(status.status);
  }
  return "";
}

}  // namespace

Call::~Call() {
  for (TF_Tensor* tensor : held_) TF_DeleteTensor(tensor);
}

void* Call::inputData(int index, const char* name, int rank, TF_DataType type, Shape& shape) {
  Status status;
  TF_Tensor* tensor = nullptr;
  if (index >= TF_NumInputs(context_)) refuse(std::string(name) + " is missing");
  TF_GetInput(context_, index, &tensor, status.status);
  if (!status.ok()) refuse(std::string(name) + " cannot be read: " + TF_Message(status.status));
  held_.push_back(tensor);
  for (int d = 0; d < TF_NumDims(tensor); d++) shape.push_back(TF_Dim(tensor, d));
  if (TF_TensorType(tensor) != type) refuse(std::string(name) + " has the wrong type");
  if (rank >= 0 && TF_NumDims(tensor) != rank) {
    refuse(std::string(name) + " is " + describe(shape) + ", not of rank " + std::to_string(rank));
  }
  return TF_TensorData(tensor);
}

float* Call::output(int index, const Shape& shape) {
  Status status;
  int64_t size = 1;
  for (const int64_t n : shape) {
    if (n < 0 || (n > 0 && size > (int64_t{1} << 40) / n)) refuse("an output of " + describe(shape));
    size *= n;
  }
  TF_Tensor* tensor = TF_AllocateOutput(context_, index, TF_FLOAT, shape.data(), static_cast<int>(shape.size()),
                                        static_cast<size_t>(size) * sizeof(float), status.status);
  if (!status.ok()) {
    if (tensor != nullptr) TF_DeleteTensor(tensor);
    refuse("no memory for an output of " + describe(shape) + " (" + std::to_string(size * 4) + " bytes)");
  }
  held_.push_back(tensor);
  return static_cast<float*>(TF_TensorData(tensor));
}

}  // namespace soma

// roundToBf16(): from now on products round their inputs. → whether this processor can; if not, nothing changes.
static napi_value RoundToBf16(napi_env env, napi_callback_info) {
  soma::roundsToBf16 = soma::kHasBf16;
  napi_value result;
  napi_get_boolean(env, soma::kHasBf16, &result);
  return result;
}

// `require` gives { names: string[], roundToBf16 }, or throws with TensorFlow's reason. Exported under Node's name for it, so that
// Node keeps the library loaded: TensorFlow holds pointers into it.
NAPI_MODULE_INIT() {
  static const std::string refused = soma::registerOps();
  if (!refused.empty()) {
    napi_throw_error(env, nullptr, refused.c_str());
    return nullptr;
  }
  napi_value names;
  napi_create_array(env, &names);
  uint32_t index = 0;
  for (const soma::Op& op : soma::allOps()) {
    napi_value name;
    napi_create_string_utf8(env, op.name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, names, index++, name);
  }
  napi_set_named_property(env, exports, "names", names);
  napi_value round;
  napi_create_function(env, "roundToBf16", NAPI_AUTO_LENGTH, RoundToBf16, nullptr, &round);
  napi_set_named_property(env, exports, "roundToBf16", round);
  return exports;
}
