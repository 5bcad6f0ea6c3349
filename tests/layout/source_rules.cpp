// Line by line, without a compiler: an include is a line that begins with `#include`. What the
// preprocessor would leave out counts as well; a rule that needs an exception gets it in a table
// here.

#include "tests/layout/source_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

namespace fleetsim::layout {
namespace {

constexpr std::int64_t kLinesMax = 800;

/// A third-party library and the places that may include it: files, or folders with a final slash.
/// tests/ may include everything but Catch2, whose two versions meet in one header.
struct Door {
  std::string_view include_prefix;
  std::vector<std::string_view> places;
};

const std::vector<Door>& doors() {
  static const std::vector<Door> table = {
      {"yaml-cpp/", {"hw_models/yaml_reader.cpp"}},
      {"CLI/", {"sim/app/", "kernels/program/"}},
      {"nlohmann/",
       {"hw_models/hf_config.cpp", "sim/scenario/field_schema.cpp",
        "sim/workload/mooncake_trace.cpp", "sim/report/", "sim/breakdown/", "sim/validation/",
        "calibrate/iteration_log.cpp", "kernels/measure/job_lines.cpp", "tests/"}},
      {"cuda", {"kernels/device/"}},
      {"cublas", {"kernels/operators/gemm_cublaslt.cu", "kernels/operators/gemm_cublaslt.h"}},
      {"zlib.h", {"hw_models/text_file.cpp", "tests/"}},
      {"Eigen/", {"calibrate/least_squares.cpp"}},
      {"catch2/", {"tests/catch.h", "tests/catch_main.cpp"}},
  };
  return table;
}

/// Folders whose headers are for a few only, beyond what the order of folders says.
struct Closed {
  std::string_view include_prefix;
  std::vector<std::string_view> places;
  std::string_view reason;
};

const std::vector<Closed>& closed_folders() {
  static const std::vector<Closed> table = {
      {"kernels/",
       {"kernels/", "calibrate/", "tests/"},
       "the simulator knows measured files, not the programs that write them"},
      {"calibrate/",
       {"calibrate/", "sim/app/", "sim/validation/", "tests/"},
       "the simulator knows measured files, not the programs that write them"},
  };
  return table;
}

/// kernels/ builds on machines without this project's packages: of hw_models it takes what needs
/// the standard library alone.
constexpr std::array<std::string_view, 2> kHwModelsForKernels = {"hw_models/check.h",
                                                                 "hw_models/sha256.h"};

/// Headers of the standard library that the program does without, and why.
const std::vector<std::pair<std::string_view, std::string_view>>& refused_headers() {
  static const std::vector<std::pair<std::string_view, std::string_view>> table = {
      {"random", "its distributions differ between libraries; draw with sim/core/random.h"},
      {"locale", "text must not depend on the locale"},
      {"format", "GCC 12 has none; use fmt"},
      {"regex", "slow, and it recurses on long lines"},
  };
  return table;
}

bool ends_with(std::string_view text, std::string_view end) { return text.ends_with(end); }
bool is_header(std::string_view path) { return ends_with(path, ".h"); }
bool is_cpp(std::string_view path) {
  return is_header(path) || ends_with(path, ".cpp") || ends_with(path, ".cu");
}

std::string_view folder_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view stem_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return name.substr(0, name.find('.'));
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

struct Include {
  std::string_view target;
  bool quoted;
};

std::optional<Include> include_in(std::string_view line) {
  const auto skip_blanks = [&] {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  };
  skip_blanks();
  if (line.empty() || line.front() != '#') return std::nullopt;
  line.remove_prefix(1);
  skip_blanks();
  if (!line.starts_with("include")) return std::nullopt;
  line.remove_prefix(7);
  skip_blanks();
  if (line.empty() || (line.front() != '"' && line.front() != '<')) return std::nullopt;
  const bool quoted = line.front() == '"';
  line.remove_prefix(1);
  return Include{line.substr(0, line.find(quoted ? '"' : '>')), quoted};
}

/// Position from the bottom; nullopt for a folder that is in no order.
std::optional<std::size_t> height_of(std::string_view folder) {
  const auto& order = folder_order();
  const auto found = std::find(order.begin(), order.end(), folder);
  if (found == order.end()) return std::nullopt;
  return static_cast<std::size_t>(found - order.begin());
}

bool belongs(std::string_view path, std::string_view place) {
  return ends_with(place, "/") ? path.starts_with(place) : path == place;
}

bool belongs_to_one(std::string_view path, const std::vector<std::string_view>& places) {
  return std::any_of(places.begin(), places.end(),
                     [&](std::string_view place) { return belongs(path, place); });
}

/// What is wrong with a quoted include in `path`; empty when nothing is.
std::string arrow_fault(std::string_view path, std::string_view target) {
  const std::string_view to = folder_of(target);
  if (to.empty()) return fmt::format("'{}' must be included from the project's root", target);
  if (to == "embedded" || path.starts_with("tests/")) return "";
  const std::string_view from = folder_of(path);
  if (from == to) return "";
  const auto from_height = height_of(from), to_height = height_of(to);
  if (!from_height) return "";  // reported once a file, by the folder's own rule
  if (!to_height) return fmt::format("{} must not include {}", from, to);
  if (*to_height > *from_height)
    return fmt::format("{} is below {} and must not include it", from, to);
  if (path.starts_with("kernels/") && to == "hw_models" &&
      std::find(kHwModelsForKernels.begin(), kHwModelsForKernels.end(), target) ==
          kHwModelsForKernels.end())
    return fmt::format("of hw_models kernels/ may include {} only",
                       fmt::join(kHwModelsForKernels, ", "));
  for (const Closed& closed : closed_folders())
    if (target.starts_with(closed.include_prefix) && !belongs_to_one(path, closed.places))
      return fmt::format("{} must not include {}: {}", from, to, closed.reason);
  return "";
}

/// What is wrong with including a library's header in `path`; empty when nothing is.
std::string door_fault(std::string_view path, std::string_view target) {
  for (const auto& [header, reason] : refused_headers())
    if (target == header && !path.starts_with("tests/"))
      return fmt::format("<{}>: {}", header, reason);
  for (const Door& door : doors()) {
    if (!target.starts_with(door.include_prefix)) continue;
    if (!belongs_to_one(path, door.places))
      return fmt::format("<{}> comes in by {} only", target, fmt::join(door.places, ", "));
  }
  return "";
}

/// "request_utils" has the word "util", "utility" has not.
bool is_drawer(std::string_view stem) {
  constexpr std::array<std::string_view, 8> kDrawers = {"util",    "utils",    "helper", "helpers",
                                                        "manager", "managers", "misc",   "common"};
  while (!stem.empty()) {
    const std::size_t end = std::min({stem.find('_'), stem.find('-'), stem.size()});
    if (std::find(kDrawers.begin(), kDrawers.end(), stem.substr(0, end)) != kDrawers.end())
      return true;
    stem.remove_prefix(std::min(end + 1, stem.size()));
  }
  return false;
}

bool names_a_home(std::string_view line) {
  // in two parts each, so that this file keeps its own rule
  for (const std::string_view home : {"/ho"
                                      "me/",
                                      "/ro"
                                      "ot/",
                                      "/Us"
                                      "ers/"})
    if (line.find(home) != std::string_view::npos) return true;
  return false;
}

class RuleCheck {
 public:
  explicit RuleCheck(std::vector<std::string>& faults) : faults_(faults) {}

  void check(const SourceFile& file) {
    path_ = file.path;
    const std::vector<std::string_view> lines = lines_of(file.text);
    if (is_drawer(stem_of(path_))) add(1, "a file is named after the one thing it holds");
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (names_a_home(lines[i])) add(i + 1, "names somebody's home folder");
    if (!is_cpp(path_)) return;
    if (std::ssize(lines) > kLinesMax)
      add(lines.size(), fmt::format("more than {} lines", kLinesMax));
    const bool ordered = path_.starts_with("sim/") || path_.starts_with("kernels/");
    if (ordered && !height_of(folder_of(path_)))
      add(1, fmt::format("the folder {} has no place in the order of folders", folder_of(path_)));
    if (is_header(path_)) check_head(lines);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto include = include_in(lines[i]);
      if (!include) continue;
      add(i + 1, include->quoted ? arrow_fault(path_, include->target)
                                 : door_fault(path_, include->target));
    }
  }

 private:
  void check_head(const std::vector<std::string_view>& lines) {
    if (lines.empty() || lines[0] != "#pragma once") add(1, "a header begins with '#pragma once'");
    if (lines.size() < 2 || !lines[1].starts_with("// "))
      add(2, "a header says in its second line what it holds");
  }
  void add(std::size_t line, const std::string& fault) {
    if (!fault.empty()) faults_.push_back(fmt::format("{}:{}: {}", path_, line, fault));
  }

  std::vector<std::string>& faults_;
  std::string_view path_;
};

}  // namespace

const std::vector<std::string>& folder_order() {
  static const std::vector<std::string> order = {
      "hw_models",         "kernels/emulation", "kernels/device",  "kernels/reference",
      "kernels/operators", "kernels/checks",    "kernels/measure", "kernels/program",
      "calibrate",         "sim/core",          "sim/scenario",    "sim/workload",
      "sim/metrics",       "sim/engine",        "sim/fleet",       "sim/report",
      "sim/breakdown",     "sim/validation",    "sim/app"};
  return order;
}

std::vector<std::string> broken_rules(const std::vector<SourceFile>& files) {
  std::vector<std::string> faults;
  RuleCheck rules(faults);
  for (const SourceFile& file : files) rules.check(file);
  return faults;
}

std::vector<std::string> cmake_folder_order(const std::string& cmake_text) {
  constexpr std::string_view kCall = "fleetsim_library(";
  std::vector<std::string> folders;
  for (std::string_view line : lines_of(cmake_text)) {
    if (!line.starts_with(kCall)) continue;
    line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    folders.emplace_back(line.substr(0, line.find_first_of(" )")));
  }
  return folders;
}

std::vector<SourceFile> project_files(const std::string& root) {
  namespace fs = std::filesystem;
  std::vector<fs::path> paths;
  for (const char* folder : {"hw_models", "kernels", "calibrate", "sim", "tests", "scenarios",
                             "plots", "scripts", "cmake", "docs"}) {
    if (!fs::exists(fs::path(root) / folder)) continue;
    for (auto entry = fs::recursive_directory_iterator(fs::path(root) / folder);
         entry != fs::recursive_directory_iterator(); ++entry) {
      if (entry->is_directory() && entry->path().filename() == "node_modules")
        entry.disable_recursion_pending();
      if (entry->is_regular_file() && entry->path().extension() != ".gz")
        paths.push_back(entry->path());
    }
  }
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_regular_file()) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());

  std::vector<SourceFile> files;
  for (const fs::path& path : paths) {
    std::ifstream stream(path, std::ios::binary);
    files.push_back({fs::relative(path, root).generic_string(),
                     std::string(std::istreambuf_iterator<char>(stream), {})});
  }
  return files;
}

}  // namespace fleetsim::layout
