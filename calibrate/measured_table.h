#pragma once
// Operator times measured on one GPU, whoever measured them: the one form that fits read.

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// Why a row is kept out of fits. The order is the order of the report.
enum class RowFlag {
  none,
  under_floor,   // faster than the datasheet allows: a counting error or a warm cache
  launch_bound,  // the host's launch stands in it, not the kernel
  warm_l2,       // operands small enough to stay in the cache between repetitions
  repeated,      // the same call again; the median stands in the first
  not_modelled,  // a kernel or shape that no family stands for
};
const char* name_of(RowFlag flag);

struct MeasuredOperator {
  OperatorShape shape;
  double seconds = 0;
  std::string engine;  // the software that launched it: "vllm", "trtllm", "nccl"; may be empty
  std::string kernel;  // as its owner names it; may be empty
  RowFlag flag = RowFlag::none;
};

struct MeasuredTable {
  std::string gpu;     // canonical name
  std::string owner;   // "aiconfigurator", "vidur", "llmservingsim", "fleetsim-kernels"
  std::string source;  // one line: repository, commit, software and version
  std::string licence;
  std::vector<MeasuredOperator> rows;
};

}  // namespace fleetsim
