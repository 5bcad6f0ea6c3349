#include "calibrate/measured_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "calibrate/shape_columns.h"
#include "hw_models/check.h"
#include "hw_models/csv_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/sha256.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.yaml";
constexpr std::array kFlags = {RowFlag::none,    RowFlag::under_floor, RowFlag::launch_bound,
                               RowFlag::warm_l2, RowFlag::repeated,    RowFlag::not_modelled};

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  Problems problems;
  problems.add(place, {}, message);
  throw ConfigError(std::move(problems));
}

std::string system_text() { return std::generic_category().message(errno); }

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void write_file(const fs::path& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) refuse(path.string(), "cannot be written: " + system_text());
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written)
    refuse(path.string(), "cannot be written to its end: " + system_text());
}

std::optional<std::string> read_bytes(const fs::path& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 1 << 16> part = {};
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), file.get()))
    text.append(part.data(), count);
  if (std::ferror(file.get()) != 0) return std::nullopt;
  return text;
}

/// A YAML scalar in double quotes.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    CHECK(static_cast<unsigned char>(c) >= ' ', "a control character in a manifest's text");
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

void make_ready(const fs::path& folder, bool force) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder, error))
    refuse(folder.string(), "cannot be made: " + error.message());
  if (!force && fs::directory_iterator(folder, error) != fs::directory_iterator())
    refuse(folder.string(), "holds files already; --force overwrites a table that it holds");
  for (const ShapeKind& kind : shape_kinds()) fs::remove(folder / (kind.name + ".csv"), error);
  fs::remove(folder / kManifest, error);
}

std::string csv_of(const MeasuredTable& table, std::size_t kind, std::int64_t& rows) {
  fmt::memory_buffer out;
  for (const std::string& column : shape_kinds()[kind].columns)
    fmt::format_to(std::back_inserter(out), "{},", column);
  fmt::format_to(std::back_inserter(out), "median_ns,engine,kernel,flag\n");
  rows = 0;
  for (const MeasuredOperator& row : table.rows) {
    if (row.shape.index() != kind) continue;
    ++rows;
    for (const std::string* text : {&row.engine, &row.kernel})
      CHECK(text->find_first_of(",\n\r") == std::string::npos, "a name of two cells: " + *text);
    append_cells(row.shape, out);
    // times come with at most nine digits: rounding hides what 1e-6 and 1e9 added to them
    fmt::format_to(std::back_inserter(out), ",{:.12g},{},{},{}\n", row.seconds * 1e9, row.engine,
                   row.kernel, name_of(row.flag));
  }
  return fmt::to_string(out);
}

class FolderReader {
 public:
  FolderReader(std::string folder, Problems& problems)
      : folder_(std::move(folder)),
        path_((fs::path(folder_) / kManifest).string()),
        problems_(problems) {}

  std::optional<MeasuredTable> read() {
    const std::size_t before = problems_.size();
    const auto text = read_bytes(path_);
    if (!text) {
      problems_.add(path_, {}, "cannot be read: is this a folder of calibrate import?");
      return std::nullopt;
    }
    const auto root = parse_yaml(*text, path_, problems_);
    if (!root) return std::nullopt;
    if (text_of_key(*root, "schema") != kMeasuredSchema) {
      fault(root->position, fmt::format("schema is not {}", kMeasuredSchema));
      return std::nullopt;
    }
    MeasuredTable table;
    table.gpu = text_of_key(*root, "gpu");
    table.owner = text_of_key(*root, "owner");
    table.source = text_of_key(*root, "origin");
    table.licence = text_of_key(*root, "licence");
    if (find_gpu(table.gpu) == nullptr || find_gpu(table.gpu)->name != table.gpu)
      fault(root->position, fmt::format("gpu '{}' is not known here", shown(table.gpu)));
    const YamlNode* tables = root->find("tables");
    if (tables == nullptr || tables->kind != YamlNode::Kind::sequence) {
      fault(root->position, "tables, a list of files, is missing");
      return std::nullopt;
    }
    for (const YamlNode& entry : tables->items) read_table(entry, table);
    if (problems_.size() > before) return std::nullopt;
    return table;
  }

 private:
  void fault(const SourcePosition& position, const std::string& message) {
    problems_.add(path_, position, message);
  }

  std::string text_of_key(const YamlNode& map, const std::string& key) {
    const YamlNode* value = map.find(key);
    if (value != nullptr && value->kind == YamlNode::Kind::scalar) return value->scalar;
    fault(map.position, key + " is missing");
    return "";
  }

  void read_table(const YamlNode& entry, MeasuredTable& table) {
    const std::string file = text_of_key(entry, "file"), rows = text_of_key(entry, "rows"),
                      sha256 = text_of_key(entry, "sha256");
    const auto& kinds = shape_kinds();
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const ShapeKind& candidate) {
      return candidate.name + ".csv" == file;
    });
    if (kind == kinds.end()) {
      fault(entry.position, fmt::format("'{}' is the table of no operator", shown(file)));
      return;
    }
    const std::string path = (fs::path(folder_) / file).string();
    const auto bytes = read_bytes(path);
    if (!bytes) {
      problems_.add(path, {}, "cannot be read");
      return;
    }
    if (sha256_hex(*bytes) != sha256) {
      problems_.add(path, {}, "is not what the manifest vouches for (sha256)");
      return;
    }
    const std::size_t first = table.rows.size();
    read_rows(path, static_cast<std::size_t>(kind - kinds.begin()), table);
    if (fmt::format("{}", table.rows.size() - first) != rows)
      problems_.add(path, {},
                    fmt::format("has {} sound rows, the manifest vouches for {}",
                                table.rows.size() - first, shown(rows)));
  }

  void read_rows(const std::string& path, std::size_t kind, MeasuredTable& table) {
    const std::size_t shape_columns = shape_kinds()[kind].columns.size();
    std::vector<CsvColumn> columns;
    for (const std::string& column : shape_kinds()[kind].columns) columns.push_back({column, true});
    for (const char* column : {"median_ns", "engine", "kernel", "flag"})
      columns.push_back({column, true});
    CsvTable csv(path, columns, CsvTable::Others::refused, problems_);
    std::vector<std::string_view> cells(shape_columns);
    while (csv.next_row()) {
      for (std::size_t i = 0; i < shape_columns; ++i) cells[i] = csv.cell(i);
      CellFault bad;
      auto shape = shape_of(kind, cells, bad);
      if (!shape)
        csv.fault(bad.column, fmt::format("{} is {}; {} is expected", columns[bad.column].name,
                                          in_quotes(cells[bad.column]), bad.wanted));
      const auto nanoseconds = csv.positive(shape_columns);
      const std::string_view flag_name = csv.cell(shape_columns + 3);
      const auto* const flag = std::find_if(kFlags.begin(), kFlags.end(), [&](RowFlag candidate) {
        return name_of(candidate) == flag_name;
      });
      if (flag == kFlags.end())
        csv.fault(shape_columns + 3, fmt::format("{} is no flag", in_quotes(flag_name)));
      if (shape && nanoseconds && flag != kFlags.end())
        table.rows.push_back({*shape, *nanoseconds * 1e-9, std::string(csv.cell(shape_columns + 1)),
                              std::string(csv.cell(shape_columns + 2)), *flag});
    }
  }

  std::string folder_, path_;
  Problems& problems_;
};

}  // namespace

void write_measured_folder(const MeasuredTable& table, const std::string& folder, bool force) {
  const fs::path path(folder);
  make_ready(path, force);
  std::string tables;
  for (std::size_t kind = 0; kind < shape_kinds().size(); ++kind) {
    std::int64_t rows = 0;
    const std::string text = csv_of(table, kind, rows);
    if (rows == 0) continue;
    const std::string file = shape_kinds()[kind].name + ".csv";
    write_file(path / file, text);
    tables += fmt::format("  - {{file: {}, rows: {}, sha256: {}}}\n", file, rows, sha256_hex(text));
  }
  std::string counts;
  for (const RowFlag flag : kFlags)
    counts += fmt::format("{}{}: {}", counts.empty() ? "" : ", ", name_of(flag),
                          std::count_if(table.rows.begin(), table.rows.end(),
                                        [&](const auto& row) { return row.flag == flag; }));
  write_file(path / kManifest,
             fmt::format("# Operator times measured by others, as fleetsim calibrate import read "
                         "them; see the flags before use.\n"
                         "schema: {}\ngpu: {}\nsource: third-party\nowner: {}\norigin: {}\n"
                         "licence: {}\nrows: {{{}}}\ntables:\n{}",
                         kMeasuredSchema, table.gpu, table.owner, quoted(table.source),
                         quoted(table.licence), counts, tables.empty() ? "  []\n" : tables));
}

std::optional<MeasuredTable> read_measured_folder(const std::string& folder, Problems& problems) {
  return FolderReader(folder, problems).read();
}

}  // namespace fleetsim
