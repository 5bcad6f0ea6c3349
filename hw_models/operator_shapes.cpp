// Names and dispatch over the kinds of operators.

#include "hw_models/operator_shapes.h"

#include "hw_models/attention_work.h"
#include "hw_models/check.h"
#include "hw_models/matrix_work.h"

namespace fleetsim {

const char* name_of(GemmFormat format) {
  switch (format) {
    case GemmFormat::bf16:
      return "bf16";
    case GemmFormat::fp8:
      return "fp8";
    case GemmFormat::fp8_block:
      return "fp8-block";
    case GemmFormat::nvfp4:
      return "nvfp4";
    case GemmFormat::int8:
      return "int8";
    case GemmFormat::w4a16:
      return "w4a16";
    case GemmFormat::w4a8:
      return "w4a8";
  }
  CHECK(false, "format");
  return "";
}

const char* name_of(AttentionBackend backend) {
  switch (backend) {
    case AttentionBackend::naive:
      return "naive";
    case AttentionBackend::fa2:
      return "fa2";
    case AttentionBackend::fa3:
      return "fa3";
    case AttentionBackend::trtllm:
      return "trtllm";
  }
  CHECK(false, "backend");
  return "";
}

const char* name_of(Collective collective) {
  switch (collective) {
    case Collective::all_reduce_custom:
      return "all-reduce-custom";
    case Collective::all_reduce_nccl:
      return "all-reduce-nccl";
    case Collective::all_gather:
      return "all-gather";
    case Collective::reduce_scatter:
      return "reduce-scatter";
    case Collective::all_to_all:
      return "all-to-all";
  }
  CHECK(false, "collective");
  return "";
}

std::string family_of(const OperatorShape& shape) {
  return std::visit([](const auto& known) { return family_of(known); }, shape);
}

OperatorWork work_of(const OperatorShape& shape) {
  return std::visit([](const auto& known) { return work_of(known); }, shape);
}

std::vector<LogSurface::Axis> knots_of(const std::string& family) {
  return is_attention_family(family) ? attention_knots_of(family) : matrix_knots_of(family);
}

std::vector<std::string> axes_of(const std::string& family) {
  std::vector<std::string> names;
  for (const LogSurface::Axis& axis : knots_of(family)) names.push_back(axis.name);
  return names;
}

}  // namespace fleetsim
