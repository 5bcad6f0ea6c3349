// cuBLASLt thinks in columns: our row-major weights [n][k] are its A (k x n, transposed), our
// activations [m][k] its B (k x m), our output [m][n] its D (n x m). So its "A scale" is the
// weights', and its M is our n. This TN form is the only one that fp8 and int8 have, and the one
// that engines use for bf16 as well.

#include <cublasLt.h>

#include <array>
#include <cstring>
#include <vector>

#include "kernels/operators/gemm_cublaslt.h"

namespace fleetsim::kernels {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // NVIDIA's advice for Hopper
constexpr int kAlgorithmsAsked = 8;
constexpr std::size_t kAlignment = 256;  // what the heuristic assumes unless told otherwise

[[noreturn]] void fail_cublaslt(cublasStatus_t status, const char* call, int line) {
  throw CudaError(std::string(__FILE__) + ":" + std::to_string(line) + ": " + call + ": " +
                  cublasLtGetStatusString(status));
}

#define CUBLASLT_CHECK(call)                                                                       \
  do {                                                                                             \
    const cublasStatus_t cublaslt_status = (call);                                                 \
    if (cublaslt_status != CUBLAS_STATUS_SUCCESS) fail_cublaslt(cublaslt_status, #call, __LINE__); \
  } while (false)

/// Handle and workspace, made once and kept to the end of the process: when static objects die, the
/// driver may have gone before them.
struct Library {
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  int device = 0;
  Library() {
    CUDA_CHECK(cudaGetDevice(&device));
    CUBLASLT_CHECK(cublasLtCreate(&handle));
    CUDA_CHECK(cudaMalloc(&workspace, kWorkspaceBytes));
  }
};

const Library& library() {
  static const Library* only = new Library;
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CHECK(device == only->device, "GEMM plans are made on the device of the first one");
  return *only;
}

/// The four types that a format comes to in cuBLASLt's words.
struct Types {
  cudaDataType_t operand, output, factor;
  cublasComputeType_t compute;
};

Types types_of(GemmFormat format) {
  switch (format) {
    case GemmFormat::bf16:
      return {CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    case GemmFormat::fp8:
    case GemmFormat::fp8_block:
      return {CUDA_R_8F_E4M3, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    case GemmFormat::int8:
      return {CUDA_R_8I, CUDA_R_32I, CUDA_R_32I, CUBLAS_COMPUTE_32I};
    case GemmFormat::bf16_to_fp32:
      return {CUDA_R_16BF, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F};
  }
  CHECK(false, "a format that is none");
  return {};
}

bool is_fp8(GemmFormat format) {
  return format == GemmFormat::fp8 || format == GemmFormat::fp8_block;
}

/// A named wrapping: nvcc 13.0 stumbles over a vector of cublasLtMatmulAlgo_t, a struct without
/// name.
struct Algorithm {
  cublasLtMatmulAlgo_t words;
};

template <class Value>
Value config_of(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t what) {
  Value value{};
  std::size_t written = 0;
  CUBLASLT_CHECK(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, what, &value, sizeof value, &written));
  return value;
}

}  // namespace

const char* name_of(GemmFormat format) {
  switch (format) {
    case GemmFormat::bf16:
      return "bf16";
    case GemmFormat::fp8:
      return "fp8";
    case GemmFormat::fp8_block:
      return "fp8_block";
    case GemmFormat::int8:
      return "int8";
    case GemmFormat::bf16_to_fp32:
      return "bf16_to_fp32";
  }
  CHECK(false, "a format that is none");
  return "";
}

std::size_t operand_bytes(GemmFormat format) {
  return format == GemmFormat::bf16 || format == GemmFormat::bf16_to_fp32 ? 2 : 1;
}
std::size_t output_bytes(GemmFormat format) {
  return format == GemmFormat::int8 || format == GemmFormat::bf16_to_fp32 ? 4 : 2;
}

Scaling activation_scaling(GemmFormat format) {
  CHECK(is_fp8(format));
  return format == GemmFormat::fp8 ? Scaling::tensor : Scaling::row_blocks;
}

Scaling weight_scaling(GemmFormat format) {
  CHECK(is_fp8(format));
  return format == GemmFormat::fp8 ? Scaling::tensor : Scaling::square_blocks;
}

int gemm_rows(GemmFormat format, int m) {
  return format == GemmFormat::fp8_block ? ceil_div(m, 4) * 4 : m;
}

struct GemmPlan::Descriptors {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t weights = nullptr, activations = nullptr, out = nullptr;
  std::vector<Algorithm> algorithms;

  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    if (out != nullptr) cublasLtMatrixLayoutDestroy(out);
    if (activations != nullptr) cublasLtMatrixLayoutDestroy(activations);
    if (weights != nullptr) cublasLtMatrixLayoutDestroy(weights);
    if (product != nullptr) cublasLtMatmulDescDestroy(product);
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    CUBLASLT_CHECK(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value));
  }

  void describe(GemmFormat format, GemmShape shape) {
    const Types types = types_of(format);
    const auto rows = static_cast<std::uint64_t>(gemm_rows(format, shape.m));
    const auto n = static_cast<std::uint64_t>(shape.n), k = static_cast<std::uint64_t>(shape.k);
    CUBLASLT_CHECK(cublasLtMatmulDescCreate(&product, types.compute, types.factor));
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    if (format == GemmFormat::fp8_block) {
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
    }
    CUBLASLT_CHECK(cublasLtMatrixLayoutCreate(&weights, types.operand, k, n, shape.k));
    CUBLASLT_CHECK(cublasLtMatrixLayoutCreate(&activations, types.operand, k, rows, shape.k));
    CUBLASLT_CHECK(cublasLtMatrixLayoutCreate(&out, types.output, n, rows, shape.n));
  }

  /// What the heuristic answers, and how many algorithms it left in `algorithms`.
  cublasStatus_t ask_heuristic() {
    cublasLtMatmulPreference_t preference = nullptr;
    CUBLASLT_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    std::array<cublasLtMatmulHeuristicResult_t, kAlgorithmsAsked> results{};
    int count = 0;
    const std::uint64_t workspace = kWorkspaceBytes;
    cublasStatus_t status = cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (status == CUBLAS_STATUS_SUCCESS)
      status =
          cublasLtMatmulAlgoGetHeuristic(library().handle, product, weights, activations, out, out,
                                         preference, kAlgorithmsAsked, results.data(), &count);
    cublasLtMatmulPreferenceDestroy(preference);
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back({results[i].algo});
    return status;
  }
};

GemmPlan::GemmPlan(GemmFormat format, GemmShape shape)
    : format_(format), shape_(shape), descriptors_(std::make_unique<Descriptors>()) {
  CHECK(shape.m >= 1 && shape.n >= 1 && shape.k >= 1);
  library();
  descriptors_->describe(format, shape);
  if (is_fp8(format)) {
    // The heuristic looks whether scales are there; launch() says where. The workspace is an
    // address of the device that it never reads.
    const void* some_scale = library().workspace;
    descriptors_->set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, some_scale);
    descriptors_->set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, some_scale);
  }
  const cublasStatus_t status = descriptors_->ask_heuristic();
  const bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED ||
                       status == CUBLAS_STATUS_INVALID_VALUE ||
                       status == CUBLAS_STATUS_ARCH_MISMATCH;
  if (status != CUBLAS_STATUS_SUCCESS && !refused)
    fail_cublaslt(status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
  if (!descriptors_->algorithms.empty()) return;
  const DeviceFacts& device = device_facts();
  throw NotSupportedHere(std::string("cuBLASLt ") + cublaslt_version() + " has no " +
                         name_of(format) + " GEMM of m " + std::to_string(shape.m) + ", n " +
                         std::to_string(shape.n) + ", k " + std::to_string(shape.k) + " on " +
                         device.name + " (sm_" + std::to_string(device.compute_capability) + ")" +
                         (refused ? std::string(": ") + cublasLtGetStatusString(status) : ""));
}

GemmPlan::~GemmPlan() = default;
GemmPlan::GemmPlan(GemmPlan&&) noexcept = default;

int GemmPlan::algorithms() const { return static_cast<int>(descriptors_->algorithms.size()); }

std::string GemmPlan::algorithm_name(int algorithm) const {
  CHECK(algorithm >= 0 && algorithm < algorithms());
  const cublasLtMatmulAlgo_t& chosen = descriptors_->algorithms[algorithm].words;
  const auto number = [&](cublasLtMatmulAlgoConfigAttributes_t what) {
    return std::to_string(config_of<std::uint32_t>(chosen, what));
  };
  return "algo " + number(CUBLASLT_ALGO_CONFIG_ID) + " tile " +
         number(CUBLASLT_ALGO_CONFIG_TILE_ID) + " stages " +
         number(CUBLASLT_ALGO_CONFIG_STAGES_ID) + " split-k " +
         number(CUBLASLT_ALGO_CONFIG_SPLITK_NUM) + " cluster " +
         std::to_string(config_of<std::uint16_t>(chosen, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
}

void GemmPlan::launch(int algorithm, const GemmOperands& operands, Stream stream) const {
  CHECK(algorithm >= 0 && algorithm < algorithms());
  for (const void* pointer :
       {operands.activations, operands.weights, static_cast<const void*>(operands.out)})
    CHECK(pointer != nullptr && reinterpret_cast<std::uintptr_t>(pointer) % kAlignment == 0,
          "operands of a GEMM plan are 256-byte aligned");
  if (is_fp8(format_)) {
    CHECK(operands.activation_scales != nullptr && operands.weight_scales != nullptr);
    descriptors_->set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.weight_scales);
    descriptors_->set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.activation_scales);
  }
  // read as the format's factor type: fp32, or int32 for int8
  const float one_float = 1.0F, zero_float = 0.0F;
  const std::int32_t one_int = 1, zero_int = 0;
  const bool whole = format_ == GemmFormat::int8;
  const void* alpha = whole ? static_cast<const void*>(&one_int) : &one_float;
  const void* beta = whole ? static_cast<const void*>(&zero_int) : &zero_float;
  const Descriptors& d = *descriptors_;
  CUBLASLT_CHECK(cublasLtMatmul(library().handle, d.product, alpha, operands.weights, d.weights,
                                operands.activations, d.activations, beta, operands.out, d.out,
                                operands.out, d.out, &d.algorithms[algorithm].words,
                                library().workspace, kWorkspaceBytes, stream));
}

std::string cublaslt_version() {
  const std::size_t version = cublasLtGetVersion();  // 130100: 13.1.0
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace fleetsim::kernels
