// The part of the C interface that is NVIDIA's library: GEMM plans.

#include <stdexcept>

#include "kernels/operators/gemm_cublaslt.h"
#include "kernels/program/c_border.h"

using namespace fleetsim::kernels;

struct FleetsimGemmPlan {
  GemmPlan plan;
};

namespace {

GemmFormat gemm_format(std::int32_t format) {
  switch (format) {
    case FLEETSIM_BF16:
      return GemmFormat::bf16;
    case FLEETSIM_FP8:
      return GemmFormat::fp8;
    case FLEETSIM_FP8_BLOCK:
      return GemmFormat::fp8_block;
    case FLEETSIM_INT8:
      return GemmFormat::int8;
    default:
      throw std::invalid_argument("format is " + std::to_string(format) +
                                  "; a GEMM has FLEETSIM_BF16, _FP8, _FP8_BLOCK or _INT8");
  }
}

}  // namespace

int fleetsim_gemm_plan(int32_t format, int32_t m, int32_t n, int32_t k, FleetsimGemmPlan** plan,
                       int32_t* algorithms) {
  return across_border([&] {
    auto* made = new FleetsimGemmPlan{GemmPlan(gemm_format(format), {m, n, k})};
    *algorithms = made->plan.algorithms();
    *plan = made;
  });
}

int fleetsim_gemm(const FleetsimGemmPlan* plan, int32_t algorithm, const FleetsimGemm* c,
                  void* stream) {
  return across_border([&] {
    plan->plan.launch(algorithm,
                      {c->activations, c->weights, c->out, c->activation_scales, c->weight_scales},
                      static_cast<Stream>(stream));
  });
}

int fleetsim_gemm_algorithm_name(const FleetsimGemmPlan* plan, int32_t algorithm,
                                 const char** name) {
  thread_local std::string text;
  return across_border([&] {
    text = plan->plan.algorithm_name(algorithm);
    *name = text.c_str();
  });
}

void fleetsim_free_gemm_plan(FleetsimGemmPlan* plan) { delete plan; }

const char* fleetsim_cublaslt_version(void) {
  static const std::string version = cublaslt_version();
  return version.c_str();
}
