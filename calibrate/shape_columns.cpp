// each_field lists a shape's fields once; columns, cells both ways and comparison follow from it.

#include "calibrate/shape_columns.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <type_traits>
#include <utility>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr std::array kFormats = {GemmFormat::bf16,  GemmFormat::fp8,  GemmFormat::fp8_block,
                                 GemmFormat::nvfp4, GemmFormat::int8, GemmFormat::w4a16,
                                 GemmFormat::w4a8};
constexpr std::array kBackends = {AttentionBackend::naive, AttentionBackend::fa2,
                                  AttentionBackend::fa3, AttentionBackend::trtllm};
constexpr std::array kCollectives = {Collective::all_reduce_custom, Collective::all_reduce_nccl,
                                     Collective::all_gather, Collective::reduce_scatter,
                                     Collective::all_to_all};
const auto& words(GemmFormat) { return kFormats; }
const auto& words(AttentionBackend) { return kBackends; }
const auto& words(Collective) { return kCollectives; }

/// Calls visit(column, field) for every field, in the order of the columns. `Shape` may be const.
template <class Shape, class Visit>
void each_field(Shape& shape, const Visit& visit) {
  using Plain = std::remove_const_t<Shape>;
  if constexpr (std::is_same_v<Plain, GemmShape>) {
    visit("format", shape.format);
    visit("m", shape.m);
    visit("n", shape.n);
    visit("k", shape.k);
  } else if constexpr (std::is_same_v<Plain, DecodeAttentionShape>) {
    visit("backend", shape.backend);
    visit("kv_element_bytes", shape.kv_element_bytes);
    visit("batch", shape.batch);
    visit("context", shape.context);
    visit("query_heads", shape.query_heads);
    visit("kv_heads", shape.kv_heads);
    visit("head_dim", shape.head_dim);
    visit("windowed", shape.windowed);
  } else if constexpr (std::is_same_v<Plain, PrefillAttentionShape>) {
    visit("backend", shape.backend);
    visit("kv_element_bytes", shape.kv_element_bytes);
    visit("requests", shape.requests);
    visit("queries", shape.queries);
    visit("pairs", shape.pairs);
    visit("context", shape.context);
    visit("query_heads", shape.query_heads);
    visit("kv_heads", shape.kv_heads);
    visit("head_dim", shape.head_dim);
    visit("windowed", shape.windowed);
    visit("decodes", shape.decodes);
    visit("decode_context", shape.decode_context);
  } else if constexpr (std::is_same_v<Plain, LatentDecodeShape>) {
    visit("kv_element_bytes", shape.kv_element_bytes);
    visit("batch", shape.batch);
    visit("context", shape.context);
    visit("heads", shape.heads);
  } else if constexpr (std::is_same_v<Plain, LatentPrefillShape>) {
    visit("kv_element_bytes", shape.kv_element_bytes);
    visit("requests", shape.requests);
    visit("queries", shape.queries);
    visit("pairs", shape.pairs);
    visit("context", shape.context);
    visit("heads", shape.heads);
  } else if constexpr (std::is_same_v<Plain, ExpertsShape>) {
    visit("format", shape.format);
    visit("tokens", shape.tokens);
    visit("hidden", shape.hidden);
    visit("ffn", shape.ffn);
    visit("experts", shape.experts);
    visit("local_experts", shape.local_experts);
    visit("experts_per_token", shape.experts_per_token);
    visit("skew", shape.skew);
  } else if constexpr (std::is_same_v<Plain, CollectiveShape>) {
    visit("collective", shape.collective);
    visit("gpus", shape.gpus);
    visit("bytes", shape.bytes);
  } else {
    static_assert(std::is_same_v<Plain, ElementwiseShape>, "a kind without columns");
    visit("bytes", shape.bytes);
  }
}

/// By OperatorShape::index().
constexpr std::array kNames = {"gemm",          "decode_attention", "prefill_attention",
                               "latent_decode", "latent_prefill",   "experts",
                               "collective",    "elementwise"};
static_assert(kNames.size() == std::variant_size_v<OperatorShape>);

template <std::size_t... I>
std::vector<ShapeKind> make_kinds(std::index_sequence<I...>) {
  std::vector<ShapeKind> kinds;
  const auto add = [&](std::size_t index, auto shape) {
    ShapeKind kind{kNames[index], {}};
    each_field(shape, [&](const char* column, auto&) { kind.columns.emplace_back(column); });
    CHECK(kind.columns.size() <= kMostShapeColumns, kind.name);
    kinds.push_back(std::move(kind));
  };
  (add(I, std::variant_alternative_t<I, OperatorShape>{}), ...);
  return kinds;
}

template <std::size_t... I>
OperatorShape default_shape(std::size_t kind, std::index_sequence<I...>) {
  OperatorShape shape;
  ((I == kind ? (shape.emplace<I>(), 0) : 0), ...);
  return shape;
}
constexpr auto kKinds = std::make_index_sequence<std::variant_size_v<OperatorShape>>();

/// What is wrong with the cell, or "".
std::string read_cell(std::string_view cell, std::string_view column, double& into) {
  const char* end = cell.data() + cell.size();
  const auto [rest, error] = std::from_chars(cell.data(), end, into);
  const bool may_be_zero = column == "skew" || column == "decodes" || column == "decode_context";
  const bool good = error == std::errc() && rest == end && !cell.empty() && std::isfinite(into) &&
                    (into > 0 || (may_be_zero && into == 0));
  return good ? "" : may_be_zero ? "a number, 0 or more" : "a number above 0";
}
std::string read_cell(std::string_view cell, std::string_view, bool& into) {
  into = cell == "1";
  return into || cell == "0" ? "" : "0 or 1";
}
template <class Word>
std::string read_cell(std::string_view cell, std::string_view, Word& into) {
  std::string known;
  for (const Word word : words(Word{})) {
    if (cell == name_of(word)) {
      into = word;
      return "";
    }
    known += (known.empty() ? "" : ", ") + std::string(name_of(word));
  }
  return "one of " + known;
}

void append(double number, fmt::memory_buffer& into) {
  fmt::format_to(std::back_inserter(into), "{}", number);
}
void append(bool truth, fmt::memory_buffer& into) { into.push_back(truth ? '1' : '0'); }
template <class Word>
void append(Word word, fmt::memory_buffer& into) {
  const std::string_view name = name_of(word);
  into.append(name.data(), name.data() + name.size());
}

}  // namespace

const std::vector<ShapeKind>& shape_kinds() {
  static const std::vector<ShapeKind> kinds = make_kinds(kKinds);
  return kinds;
}

const ShapeKind& kind_of(const OperatorShape& shape) { return shape_kinds()[shape.index()]; }

std::array<double, kMostShapeColumns> numbers_of(const OperatorShape& shape) {
  std::array<double, kMostShapeColumns> numbers = {};
  std::size_t next = 0;
  const auto put = [&](const char*, const auto& field) {
    numbers[next++] = static_cast<double>(field);
  };
  std::visit([&](const auto& alternative) { each_field(alternative, put); }, shape);
  return numbers;
}

void append_cells(const OperatorShape& shape, fmt::memory_buffer& into) {
  bool first = true;
  const auto put = [&](const char*, const auto& field) {
    if (!first) into.push_back(',');
    first = false;
    append(field, into);
  };
  std::visit([&](const auto& alternative) { each_field(alternative, put); }, shape);
}

std::optional<OperatorShape> shape_of(std::size_t kind, const std::vector<std::string_view>& cells,
                                      CellFault& fault) {
  CHECK(cells.size() == shape_kinds().at(kind).columns.size(), "cells of another kind");
  OperatorShape shape = default_shape(kind, kKinds);
  std::size_t next = 0;
  bool good = true;
  const auto take = [&](const char* column, auto& field) {
    std::string wanted = read_cell(cells[next], column, field);
    if (good && !wanted.empty()) {
      good = false;
      fault = {next, std::move(wanted)};
    }
    ++next;
  };
  std::visit([&](auto& alternative) { each_field(alternative, take); }, shape);
  if (!good) return std::nullopt;
  return shape;
}

std::string text_of(const OperatorShape& shape) {
  fmt::memory_buffer text;
  fmt::format_to(std::back_inserter(text), "{}", kind_of(shape).name);
  const auto put = [&](const char* column, const auto& field) {
    fmt::format_to(std::back_inserter(text), " {}=", column);
    append(field, text);
  };
  std::visit([&](const auto& alternative) { each_field(alternative, put); }, shape);
  return fmt::to_string(text);
}

}  // namespace fleetsim
