// Every kind of table is a function from a row's cells to a shape. A row that no shape can stand
// for is counted by its reason; a cell that cannot be read is the user's fault.

#include "calibrate/aiconfigurator_tables.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "calibrate/chunk_attention.h"
#include "calibrate/row_reader.h"
#include "hw_models/check.h"
#include "hw_models/csv_table.h"

namespace fleetsim {
namespace {

class TableReader {
 public:
  TableReader(const AiconfiguratorName& name, const std::string& path, const GpuSpec& gpu,
              std::vector<MeasuredOperator>& rows, Problems& problems)
      : name_(name), path_(path), gpu_(gpu), rows_(rows), problems_(problems) {
    file_.file = path;
  }

  ImportedFile read() {
    if (name_.kind == "gemm") read_gemm();
    if (name_.kind == "attn_context") read_prefill();
    if (name_.kind == "attn_generation") read_decode();
    if (name_.kind == "moe") read_experts();
    if (name_.kind == "mla_context") read_latent_prefill();
    if (name_.kind == "mla_generation") read_latent_decode();
    if (name_.kind == "nccl") read_nccl();
    if (name_.kind == "custom_allreduce") read_custom_all_reduce();
    if (name_.kind == "act_quantize") read_quantisation();
    if (name_.kind == "deepep_low_latency") read_low_latency_exchange();
    if (name_.kind == "deepep_normal")
      file_.left_out =
          "DeepEP's normal mode: one row for each number of SMs, no family stands for it";
    return std::move(file_);
  }

 private:
  /// Calls `each` for every row of the GPU; a column gpu, where there is one, must be the first.
  template <class EachRow>
  void read_rows(const std::vector<std::string>& columns, const EachRow& each) {
    RowReader row(path_, columns, rows_, file_, problems_);
    row_ = &row;
    while (row.next()) {
      if (columns.front() == "gpu" && !is_of_gpu(row.word(0)))
        row.of_another_gpu();
      else
        each();
    }
    row_ = nullptr;
  }

  bool is_of_gpu(std::string_view name) {
    if (name != last_gpu_) {
      last_gpu_ = name;
      const GpuSpec* found = find_gpu(last_gpu_);
      last_is_ours_ = found != nullptr && found->name == gpu_.name;
    }
    return last_is_ours_;
  }

  std::string_view word(std::size_t column) const { return row_->word(column); }
  double count(std::size_t column, std::int64_t least = 1) { return row_->count(column, least); }
  void without_shape(const std::string& what) { row_->without_shape(what); }
  void add(const OperatorShape& shape, std::string engine, std::string kernel,
           RowFlag flag = RowFlag::none, std::optional<std::size_t> time_column = std::nullopt) {
    row_->add(shape, std::move(engine), std::move(kernel), flag, time_column);
  }

  std::optional<GemmFormat> gemm_format(std::string_view dtype) {
    static constexpr std::array<std::pair<std::string_view, GemmFormat>, 7> kFormats = {{
        {"bfloat16", GemmFormat::bf16},
        {"fp8", GemmFormat::fp8},
        {"fp8_block", GemmFormat::fp8_block},
        {"nvfp4", GemmFormat::nvfp4},
        {"int4_wo", GemmFormat::w4a16},
        {"w4a16_mxfp4", GemmFormat::w4a16},
        {"w4a8_mxfp4_mxfp8", GemmFormat::w4a8},
    }};
    for (const auto& [name, format] : kFormats)
      if (name == dtype) return format;
    without_shape("dtype " + in_quotes(dtype));
    return std::nullopt;
  }

  /// Bytes of a KV element, or nullopt and the row is counted.
  std::optional<double> kv_bytes(std::string_view dtype) {
    if (dtype == "bfloat16") return 2;
    if (dtype == "fp8") return 1;
    without_shape("kv_dtype " + in_quotes(dtype));
    return std::nullopt;
  }

  /// The kernels behind an engine's attention: vLLM runs FlashAttention 3 on Hopper, and
  /// TensorRT-LLM's through FlashInfer on Blackwell.
  AttentionBackend attention_backend() const {
    if (name_.engine == "trtllm") return AttentionBackend::trtllm;
    if (gpu_.architecture_sm == 90) return AttentionBackend::fa3;
    return gpu_.architecture_sm / 10 == 10 ? AttentionBackend::trtllm : AttentionBackend::fa2;
  }

  void read_gemm() {
    read_rows({"dtype", "kernel", "m", "n", "k", "latency_us"}, [&] {
      const auto format = gemm_format(word(0));
      if (!format) return;
      add(GemmShape{*format, count(2), count(3), count(4)}, name_.engine, std::string(word(1)));
    });
  }

  /// Queries in fp8 make both products fp8; families know the KV cache's type only.
  static std::string attention_kernel(std::string_view attention_dtype) {
    return attention_dtype == "fp8" ? "fp8 queries" : "";
  }
  static RowFlag attention_flag(std::string_view attention_dtype) {
    return attention_dtype == "fp8" ? RowFlag::not_modelled : RowFlag::none;
  }

  void read_prefill() {
    read_rows({"attn_dtype", "kv_dtype", "batch", "isl", "prefix", "q_heads", "kv_heads",
               "head_dim", "window", "latency_us"},
              [&] {
                const auto element = kv_bytes(word(1));
                if (!element) return;
                const double batch = count(2);
                const ChunkAttention chunk = {count(3), count(4, 0), count(8, 0)};
                PrefillAttentionShape shape;
                shape.backend = attention_backend();
                shape.kv_element_bytes = *element;
                shape.requests = batch;
                shape.queries = batch * chunk.queries;
                shape.pairs = batch * chunk.pairs();
                shape.context = batch * chunk.keys_in_reach();
                shape.query_heads = count(5);
                shape.kv_heads = count(6);
                shape.head_dim = count(7);
                shape.windowed = chunk.cut_by_window();
                add(shape, name_.engine, attention_kernel(word(0)), attention_flag(word(0)));
              });
  }

  void read_decode() {
    read_rows({"attn_dtype", "kv_dtype", "batch", "kv_len", "q_heads", "kv_heads", "head_dim",
               "window", "latency_us"},
              [&] {
                const auto element = kv_bytes(word(1));
                if (!element) return;
                const double length = count(3), window = count(7, 0);
                DecodeAttentionShape shape;
                shape.backend = attention_backend();
                shape.kv_element_bytes = *element;
                shape.batch = count(2);
                shape.context = window > 0 ? std::min(length, window) : length;
                shape.query_heads = count(4);
                shape.kv_heads = count(5);
                shape.head_dim = count(6);
                shape.windowed = window > 0 && length > window;
                add(shape, name_.engine, attention_kernel(word(0)), attention_flag(word(0)));
              });
  }

  void read_experts() {
    read_rows({"dtype", "kernel", "num_tokens", "hidden", "inter", "topk", "experts", "moe_tp",
               "moe_ep", "distribution", "latency_us"},
              [&] {
                const auto format = gemm_format(word(0));
                if (!format) return;
                ExpertsShape shape;
                shape.format = *format;
                shape.tokens = count(2);
                shape.hidden = count(3);
                shape.ffn = count(4) / count(7);
                shape.experts_per_token = count(5);
                shape.experts = count(6);
                shape.local_experts = shape.experts / count(8);
                const std::string_view spread = word(9);
                if (spread == "power_law_1.01") {
                  shape.skew = 1.01;
                } else if (spread == "power_law_1.2") {
                  shape.skew = 1.2;
                } else if (spread != "balanced") {
                  without_shape("distribution " + in_quotes(spread));
                  return;
                }
                std::string kernel(word(1));
                // experts of two matrices (Nemotron's squared ReLU) where the shape has three
                const bool gated = kernel.find("nongated") == std::string::npos;
                add(shape, name_.engine, std::move(kernel),
                    gated ? RowFlag::none : RowFlag::not_modelled);
              });
  }

  void read_latent_prefill() {
    read_rows(
        {"gpu", "dtype", "kv_dtype", "heads_per_gpu", "batch", "isl", "prefix", "tp_size",
         "latency_us"},
        [&] {
          const auto element = kv_bytes(word(2));
          if (!element) return;
          const double batch = count(4);
          const ChunkAttention chunk = {count(5), count(6, 0), 0};
          add(LatentPrefillShape{*element, batch, batch * chunk.queries, batch * chunk.pairs(),
                                 batch * chunk.keys_in_reach(), count(3)},
              "trtllm", "");
        });
  }

  void read_latent_decode() {
    read_rows(
        {"gpu", "dtype", "kv_dtype", "heads_per_gpu", "batch", "kv_len", "tp_size", "latency_us"},
        [&] {
          const auto element = kv_bytes(word(2));
          if (!element) return;
          add(LatentDecodeShape{*element, count(4), count(5), count(3)}, "trtllm", "");
        });
  }

  void read_nccl() {
    read_rows({"gpu", "nccl_version", "op", "dtype", "num_gpus", "bytes", "latency_us"}, [&] {
      CollectiveShape shape;
      const std::string_view op = word(2);
      if (op == "all_reduce") {
        shape.collective = Collective::all_reduce_nccl;
      } else if (op == "all_gather") {
        shape.collective = Collective::all_gather;
      } else if (op == "reduce_scatter") {
        shape.collective = Collective::reduce_scatter;
      } else if (op == "alltoall") {
        shape.collective = Collective::all_to_all;
      } else {
        without_shape("op " + in_quotes(op));
        return;
      }
      shape.gpus = count(4);
      shape.bytes = count(5);
      // engines send 16-bit elements; sums of int8 run at another rate
      const bool half = word(3) == "half";
      add(shape, "nccl", std::string(word(3)), half ? RowFlag::none : RowFlag::not_modelled);
    });
  }

  void read_custom_all_reduce() {
    read_rows({"gpu", "engine", "version", "impl", "dtype", "num_gpus", "bytes", "latency_us"},
              [&] {
                add(CollectiveShape{Collective::all_reduce_custom, count(5), count(6)},
                    std::string(word(1)), std::string(word(3)));
              });
  }

  void read_quantisation() {
    // bf16 in, fp8 out; GEMM rows contain it already
    read_rows({"gpu", "dtype", "m", "k", "latency_us"}, [&] {
      add(ElementwiseShape{3 * count(2) * count(3)}, "trtllm", "activation quantisation",
          RowFlag::not_modelled);
    });
  }

  void read_low_latency_exchange() {
    // Every token goes once to each of its experts: in fp8 with a scale for 128 elements on the way
    // there, in bf16 on the way back. One node is 8 GPUs.
    constexpr double kGpusOfNode = 8, kDispatchBytes = 1 + 4.0 / 128, kCombineBytes = 2;
    constexpr std::size_t kDispatch = 7, kCombine = 8;
    read_rows({"gpu", "sglang_version", "nodes", "hidden", "tokens_per_rank", "topk", "experts",
               "dispatch_us", "combine_us"},
              [&] {
                if (count(2) != 1) {
                  without_shape("DeepEP over several nodes");
                  return;
                }
                const double elements = count(3) * count(4) * count(5);
                const Collective exchange = Collective::all_to_all;
                add(CollectiveShape{exchange, kGpusOfNode, elements * kDispatchBytes}, "deepep",
                    "low-latency dispatch", RowFlag::not_modelled, kDispatch);
                add(CollectiveShape{exchange, kGpusOfNode, elements * kCombineBytes}, "deepep",
                    "low-latency combine", RowFlag::not_modelled, kCombine);
              });
  }

  const AiconfiguratorName& name_;
  const std::string& path_;
  const GpuSpec& gpu_;
  std::vector<MeasuredOperator>& rows_;
  Problems& problems_;
  ImportedFile file_;
  RowReader* row_ = nullptr;  // while rows are read
  std::string last_gpu_;
  bool last_is_ours_ = false;
};

}  // namespace

std::optional<AiconfiguratorName> aiconfigurator_name(const std::string& path) {
  std::string_view stem = stem_of_csv(path);
  // the longer name first where one begins with the other
  static constexpr std::array<std::pair<std::string_view, bool>, 11> kKinds = {{
      {"gemm", true},
      {"attn_context", true},
      {"attn_generation", true},
      {"moe", true},
      {"mla_context", false},
      {"mla_generation", false},
      {"nccl", false},
      {"custom_allreduce", false},
      {"act_quantize", false},
      {"deepep_low_latency", false},
      {"deepep_normal", false},
  }};
  for (const auto& [kind, one_gpu] : kKinds) {
    if (!stem.starts_with(kind)) continue;
    std::string_view rest = stem.substr(kind.size());
    if (!rest.empty() && rest.front() != '_') continue;
    if (!rest.empty()) rest.remove_prefix(1);
    AiconfiguratorName name;
    name.kind = kind;
    if (!one_gpu) {
      name.engine = rest;
      return name;
    }
    const std::size_t split = rest.rfind('_');
    if (split == std::string_view::npos || split == 0 || split + 1 == rest.size()) continue;
    name.gpu = rest.substr(0, split);
    name.engine = rest.substr(split + 1);
    return name;
  }
  return std::nullopt;
}

ImportedFile read_aiconfigurator_table(const std::string& path, const GpuSpec& gpu,
                                       std::vector<MeasuredOperator>& rows, Problems& problems) {
  const auto name = aiconfigurator_name(path);
  CHECK(name.has_value(), path + " is no table of AIConfigurator");
  return TableReader(*name, path, gpu, rows, problems).read();
}

}  // namespace fleetsim
