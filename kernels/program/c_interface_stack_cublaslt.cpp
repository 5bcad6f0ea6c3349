// A whole decoder stack for the comparison with PyTorch: it draws its weights, the caller reads
// them.

#include <stdexcept>

#include "kernels/measure/decoder_stack.h"
#include "kernels/measure/stack_gemm.h"
#include "kernels/program/c_border.h"

using namespace fleetsim::kernels;

struct FleetsimDecoderStack {
  Arena arena;
  DecoderStack stack;
  FleetsimDecoderStack(const StackShape& shape, const StackBatch& batch, std::uint64_t seed,
                       std::size_t bytes)
      : arena(bytes), stack(shape, {}, batch, arena, seed, cublaslt_stack_gemm()) {}
};

namespace {

StackShape cut_shape(const char* name, std::int32_t layers) {
  for (StackShape shape : stack_shapes())
    if (std::string(shape.name) == name) {
      if (layers < 1 || layers > shape.layers)
        throw std::invalid_argument("layers is " + std::to_string(layers) + "; " + name + " has " +
                                    std::to_string(shape.layers));
      shape.layers = layers;
      return shape;
    }
  throw std::invalid_argument(std::string("no stack is called ") + name);
}

}  // namespace

int fleetsim_decoder_stack(const char* shape, int32_t layers, const FleetsimStackBatch* batch,
                           uint64_t seed, size_t bytes, FleetsimDecoderStack** stack) {
  return across_border([&] {
    const StackBatch own{{batch->new_lengths, batch->new_lengths + batch->sequences},
                         {batch->cached_lengths, batch->cached_lengths + batch->sequences},
                         batch->page_tokens};
    *stack = new FleetsimDecoderStack(cut_shape(shape, layers), own, seed, bytes);
  });
}

int fleetsim_decoder_stack_memory(const FleetsimDecoderStack* stack, FleetsimStackMemory* c) {
  return across_border([&] {
    const StackMemory& memory = stack->stack.memory();
    c->embedding = memory.embedding;
    c->final_norm = memory.final_norm;
    c->head = memory.head;
    c->ids = memory.ids;
    c->page_table = memory.page_table;
    c->last_hidden = memory.last_hidden;
    c->logits = memory.logits;
    c->sampled = memory.sampled;
    c->tokens = stack->stack.tokens();
    c->pages_per_sequence = stack->stack.pages().row_pages;
    c->pool_pages = stack->stack.pages().pool_pages;
  });
}

int fleetsim_decoder_stack_layer(const FleetsimDecoderStack* stack, int32_t layer,
                                 FleetsimStackLayer* c) {
  return across_border([&] {
    const LayerMemory& memory = stack->stack.memory().layers.at(static_cast<std::size_t>(layer));
    c->input_norm = memory.input_norm;
    c->post_norm = memory.post_norm;
    c->qkv = memory.weights[0];
    c->output = memory.weights[1];
    c->gate_up = memory.weights[2];
    c->down = memory.weights[3];
    c->key_pages = memory.key_pages;
    c->value_pages = memory.value_pages;
  });
}

int fleetsim_launch_decoder_stack(const FleetsimDecoderStack* stack, void* stream) {
  return across_border([&] { stack->stack.launch(static_cast<Stream>(stream)); });
}

void fleetsim_free_decoder_stack(FleetsimDecoderStack* stack) { delete stack; }
