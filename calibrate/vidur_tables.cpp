#include "calibrate/vidur_tables.h"

#include <array>
#include <string_view>
#include <utility>

#include "calibrate/layer_shapes.h"
#include "calibrate/row_reader.h"
#include "hw_models/check.h"
#include "hw_models/model_spec.h"

namespace fleetsim {
namespace {

/// A column of layer_ops and the operator it times.
constexpr std::array<std::pair<const char*, const char*>, 10> kOperators = {{
    {"emb", "embedding"},
    {"input_layernorm", "norm"},
    {"attn_pre_proj", "qkv"},
    {"attn_rope", "rope"},
    {"attn_post_proj", "o"},
    {"post_attention_layernorm", "norm"},
    {"mlp_up_proj", "gate_up"},
    {"mlp_act", "activation"},
    {"mlp_down_proj", "down"},
    {"add", "add"},
}};

void read_layers(RowReader& row) {
  constexpr std::size_t kFirstTime = 3;
  while (row.next()) {
    const ModelSpec* model = find_model(std::string(row.word(0)));
    if (model == nullptr) {
      row.without_shape("model " + in_quotes(row.word(0)));
      continue;
    }
    const double tp = row.count(1), tokens = row.count(2);
    if (model->heads % static_cast<std::int64_t>(tp) != 0) {
      row.fault(1, "tp does not divide the model's heads");
      continue;
    }
    for (std::size_t i = 0; i < kOperators.size(); ++i) {
      const auto& [name, stands_for] = kOperators[i];
      const auto shape = layer_operator(stands_for, *model, static_cast<std::int64_t>(tp), tokens);
      CHECK(shape.has_value(), name);
      row.add(*shape, "vidur", name, RowFlag::none, kFirstTime + i);
    }
  }
}

void read_network(RowReader& row) {
  while (row.next()) {
    const std::string_view topology = row.word(0), collective = row.word(1);
    if (collective != "all_reduce") {
      row.without_shape(std::string(collective));
      continue;
    }
    const double gpus = row.count(2);
    if (row.count(3) != gpus) {
      row.without_shape("all_reduce across nodes");
      continue;
    }
    // a fact of how the machine is wired, not of the GPU
    const bool pairwise = topology.find("pairwise") != std::string_view::npos;
    row.add(CollectiveShape{Collective::all_reduce_nccl, gpus, row.count(4)}, "vidur",
            std::string(topology), pairwise ? RowFlag::not_modelled : RowFlag::none);
  }
}

}  // namespace

std::optional<VidurName> vidur_name(const std::string& path) {
  const std::string_view stem = stem_of_csv(path);
  for (const std::string_view kind : {"layer_ops", "network"}) {
    const std::string end = "_" + std::string(kind);
    if (stem.size() > end.size() && stem.ends_with(end))
      return VidurName{std::string(stem.substr(0, stem.size() - end.size())), std::string(kind)};
  }
  return std::nullopt;
}

ImportedFile read_vidur_table(const std::string& path, const GpuSpec&,
                              std::vector<MeasuredOperator>& rows, Problems& problems) {
  const auto name = vidur_name(path);
  CHECK(name.has_value(), path + " is no table of Vidur");
  ImportedFile file;
  file.file = path;
  if (name->kind == "network") {
    RowReader row(path,
                  {"topology", "collective", "num_gpus", "devices_per_node", "bytes", "latency_us"},
                  rows, file, problems);
    read_network(row);
    return file;
  }
  std::vector<std::string> columns = {"model", "tp", "num_tokens"};
  for (const auto& [column, stands_for] : kOperators)
    columns.push_back(std::string(column) + "_us");
  RowReader row(path, columns, rows, file, problems);
  read_layers(row);
  return file;
}

}  // namespace fleetsim
