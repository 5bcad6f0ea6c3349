#include "kernels/measure/stack_shape.h"

#include <algorithm>
#include <array>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

struct NamedPart {
  StackPart part;
  const char* name;
};
constexpr std::array<NamedPart, kStackParts> kParts = {{
    {StackPart::embedding, "embedding"},
    {StackPart::input_norm, "input_norm"},
    {StackPart::qkv, "qkv"},
    {StackPart::rope_kv_write, "rope_kv_write"},
    {StackPart::attention, "attention"},
    {StackPart::output, "output"},
    {StackPart::post_norm, "post_norm"},
    {StackPart::gate_up, "gate_up"},
    {StackPart::silu_mul, "silu_mul"},
    {StackPart::down, "down"},
    {StackPart::final_norm, "final_norm"},
    {StackPart::head, "head"},
    {StackPart::sampling, "sampling"},
}};

}  // namespace

const char* name_of(StackPart part) {
  for (const NamedPart& one : kParts)
    if (one.part == part) return one.name;
  CHECK(false, "a part that is none");
  return "";
}

const StackPart* find_stack_part(std::string_view name) {
  for (const NamedPart& one : kParts)
    if (one.name == name) return &one.part;
  return nullptr;
}

bool runs_in_each_layer(StackPart part) {
  return part >= StackPart::input_norm && part <= StackPart::down;
}

const std::vector<StackShape>& stack_shapes() {
  static const std::vector<StackShape> shapes = {
      {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256},
      {"llama-3.1-70b-tp8-rank", 80, 8192, 8, 1, 128, 3584, 16032},
  };
  return shapes;
}

const StackShape& stack_shape(std::string_view name) {
  const auto& shapes = stack_shapes();
  const auto found = std::find_if(shapes.begin(), shapes.end(),
                                  [&](const StackShape& shape) { return shape.name == name; });
  CHECK(found != shapes.end(), std::string(name));
  return *found;
}

StackMatrix stack_matrix(const StackShape& shape, StackPart part) {
  switch (part) {
    case StackPart::qkv:
      return {shape.qkv_width(), shape.hidden};
    case StackPart::output:
      return {shape.hidden, shape.query_width()};
    case StackPart::gate_up:
      return {2 * shape.ffn, shape.hidden};
    case StackPart::down:
      return {shape.hidden, shape.ffn};
    case StackPart::head:
      return {shape.vocab, shape.hidden};
    default:
      return {};
  }
}

}  // namespace fleetsim::kernels
