#include "kernels/measure/stack_gemm.h"

#include <map>
#include <memory>
#include <tuple>

namespace fleetsim::kernels {

StackGemm cublaslt_stack_gemm() {
  using Key = std::tuple<GemmFormat, int, int, int>;
  const auto plans = std::make_shared<std::map<Key, GemmPlan>>();
  return [plans](GemmFormat format, GemmShape shape, const GemmOperands& operands, Stream stream) {
    constexpr int kFirstChoice = 0;
    const Key key{format, shape.m, shape.n, shape.k};
    auto plan = plans->find(key);
    if (plan == plans->end()) plan = plans->emplace(key, GemmPlan(format, shape)).first;
    plan->second.launch(kFirstChoice, operands, stream);
  };
}

}  // namespace fleetsim::kernels
