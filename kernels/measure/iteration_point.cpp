// Points of `iteration`: the stack in the arena, cuBLASLt's first choice for its linear layers.

#include <algorithm>
#include <memory>

#include "kernels/measure/decoder_stack_check.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/stack_gemm.h"
#include "kernels/measure/work.h"

namespace fleetsim::kernels {
namespace {

StackBatch batch_of(const Point& point) {
  const auto narrowed = [](const std::vector<std::int64_t>& lengths) {
    return std::vector<int>(lengths.begin(), lengths.end());
  };
  return {narrowed(point.lengths("new_lengths")), narrowed(point.lengths("cached_lengths")),
          static_cast<int>(point.integer("page_tokens"))};
}

/// Bytes between two uses of the same operand when a part is repeated: linear layers and attention
/// read every layer's own, the others use the same rows in all layers.
std::size_t bytes_touched(const Point& point, const StackShape& shape, StackPart part) {
  const double bytes = work_of(point).bytes;
  const bool own_rows = stack_matrix(shape, part).n > 0 || part == StackPart::attention;
  return static_cast<std::size_t>(own_rows ? bytes : bytes / shape.layers);
}

}  // namespace

PreparedPoint prepare_iteration(const Point& point, Arena& arena, std::uint64_t seed) {
  const StackShape& shape = stack_shape(point.word("stack"));
  const StackFormats formats{point.word("weights") == "fp8", point.word("kv_dtype") == "e4m3"};
  const auto stack = std::make_shared<const DecoderStack>(shape, formats, batch_of(point), arena,
                                                          seed, cublaslt_stack_gemm());

  PreparedPoint prepared;
  prepared.capturable = point.word("mode") == "graph";
  // the whole is always checked: a part is measured on what an iteration leaves
  prepared.check_error = [stack, seed] {
    const StackCheck check = check_decoder_stack(*stack, seed);
    CHECK(check.fault.empty(), check.fault);
    return check.error;
  };
  prepared.error_limit = kStackErrorMax;
  const std::string kernel = stack->batch().is_decode() ? "decode" : "prefill";
  const StackPart* const part = find_stack_part(point.word("part"));
  if (part == nullptr) {
    prepared.launch = [stack](Stream stream, int) { stack->launch(stream); };
    prepared.note = std::to_string(stack->steps().size()) + " operators, " + kernel + " attention";
    return prepared;
  }
  prepared.launch = [stack, part = *part](Stream stream, int) { stack->launch_part(part, stream); };
  const auto times =
      std::count_if(stack->steps().begin(), stack->steps().end(),
                    [&](const DecoderStack::Step& step) { return step.part == *part; });
  prepared.note = std::to_string(times) + " operators, " + kernel + " attention";
  prepared.bytes_touched = bytes_touched(point, shape, *part);
  return prepared;
}

}  // namespace fleetsim::kernels
