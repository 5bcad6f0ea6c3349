// Fitted GPUs to text and back.

#include "hw_models/fitted_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "hw_models/catalogue_file.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr const char* kSchema = "fleetsim.fitted/1";
constexpr double kThousandth = 1e-3;

double parse_number(std::string_view text, const std::string& place) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK(error == std::errc() && rest == text.data() + text.size(),
        place + ": not a number: " + std::string(text));
  return number;
}

/// `digits` significant ones.
double rounded(double value, int digits) {
  return parse_number(fmt::format("{:.{}g}", value, digits), "rounded");
}

/// Words between blanks and line ends, one after another.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}
  /// Empty at the end.
  std::string_view next() {
    const std::size_t begin = rest_.find_first_not_of(" \n");
    if (begin == std::string_view::npos) return {};
    rest_.remove_prefix(begin);
    const std::string_view word = rest_.substr(0, rest_.find_first_of(" \n"));
    rest_.remove_prefix(word.size());
    return word;
  }

 private:
  std::string_view rest_;
};

double number_of(CatalogueMap& map, const std::string& key, const std::string& place) {
  return parse_number(map.text(key), place + "." + key);
}

/// A text between quotes; ours hold neither quotes nor backslashes.
std::string quoted(const std::string& text) {
  CHECK(text.find_first_of("\"\\\n") == std::string::npos, text);
  return fmt::format("\"{}\"", text);
}

void write_surface(const LogSurface& surface, fmt::memory_buffer& into) {
  const auto out = std::back_inserter(into);
  if (surface.axes().empty()) return;
  fmt::format_to(out, "    axes:\n");
  for (const LogSurface::Axis& axis : surface.axes())
    fmt::format_to(out, "      - {{name: {}, knots: \"{}\"}}\n", axis.name,
                   fmt::join(axis.knots, " "));
  fmt::format_to(out, "    ln_factor: |\n");
  const std::size_t row = surface.axes().back().knots.size();
  long before = 0;
  for (std::size_t i = 0; i < surface.ln_factor().size(); ++i) {
    const long thousandths = std::lround(surface.ln_factor()[i] / kThousandth);
    const bool measured = surface.measured()[i] != 0, first = i % row == 0;
    fmt::format_to(out, "{}", first ? "      " : " ");
    if (measured || first || thousandths != before) fmt::format_to(out, "{}", thousandths);
    fmt::format_to(out, "{}{}", measured ? "" : "?", i % row + 1 == row ? "\n" : "");
    before = thousandths;
  }
}

LogSurface read_surface(CatalogueMap& family, std::string_view values, const std::string& place) {
  if (!family.has("axes")) return {};
  std::vector<LogSurface::Axis> axes;
  std::size_t size = 1;
  for (CatalogueMap& entry : family.maps("axes")) {
    LogSurface::Axis axis;
    axis.name = entry.text("name");
    const std::string knots = entry.text("knots");
    Words words(knots);
    for (std::string_view word = words.next(); !word.empty(); word = words.next())
      axis.knots.push_back(parse_number(word, place));
    entry.finish();
    size *= axis.knots.size();
    axes.push_back(std::move(axis));
  }
  std::vector<double> ln_factor;
  std::vector<char> measured;
  ln_factor.reserve(size);
  measured.reserve(size);
  CHECK(family.text("ln_factor").empty(), place + ": cut out before");
  Words words(values);
  for (std::string_view word = words.next(); !word.empty(); word = words.next()) {
    measured.push_back(word.back() != '?');
    if (word.back() == '?') word.remove_suffix(1);
    if (word.empty()) {
      CHECK(!ln_factor.empty(), place + ": nothing to repeat");
      ln_factor.push_back(ln_factor.back());
      continue;
    }
    int thousandths = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), thousandths);
    CHECK(error == std::errc() && rest == word.data() + word.size(),
          place + ": not thousandths: " + std::string(word));
    ln_factor.push_back(kThousandth * thousandths);
  }
  CHECK(ln_factor.size() == size,
        fmt::format("{}: {} of {} values", place, ln_factor.size(), size));
  return {std::move(axes), std::move(ln_factor), std::move(measured)};
}

FitQuality read_quality(CatalogueMap quality, const std::string& place) {
  FitQuality result;
  result.rows = quality.integer("rows");
  result.median_error = number_of(quality, "median_error", place);
  result.p90_error = number_of(quality, "p90_error", place);
  if (quality.has("held_out")) {
    result.held_out = quality.text("held_out");
    result.held_out_rows = quality.integer("held_out_rows");
    result.held_out_median_error = number_of(quality, "held_out_median_error", place);
    result.held_out_p90_error = number_of(quality, "held_out_p90_error", place);
  }
  quality.finish();
  return result;
}

/// A file without its numbers, which stand beside it: what reads YAML takes a character at a time,
/// and most of a file is numbers.
struct CutFile {
  std::string rest;
  std::vector<std::string_view> values;  // the lines under each `ln_factor: |`
};

CutFile cut_out_values(std::string_view text) {
  constexpr std::string_view kBegin = "    ln_factor: |\n", kIndent = "      ";
  CutFile cut;
  for (std::size_t place = 0; place < text.size();) {
    const std::size_t begin = text.find(kBegin, place);
    if (begin == std::string_view::npos) {
      cut.rest += text.substr(place);
      break;
    }
    const std::size_t first = begin + kBegin.size();
    cut.rest += text.substr(place, first - place);
    place = first;
    while (text.substr(place, kIndent.size()) == kIndent) {
      const std::size_t end = text.find('\n', place);
      place = end == std::string_view::npos ? text.size() : end + 1;
    }
    cut.values.push_back(text.substr(first, place - first));
  }
  return cut;
}

OperatorFamily read_family(CatalogueMap& map, std::string_view values) {
  OperatorFamily family;
  family.name = map.text("name");
  family.source = map.text("source");
  family.transferred_from = map.text_or("transferred_from", "");
  CatalogueMap form = map.map("form");
  family.floor_seconds = number_of(form, "floor_us", family.name) * 1e-6;
  family.flops_per_second = number_of(form, "tflop_per_s", family.name) * 1e12;
  family.bytes_per_second = number_of(form, "gb_per_s", family.name) * 1e9;
  family.flop_limit = number_of(form, "limit_tflop_per_s", family.name) * 1e12;
  family.byte_limit = number_of(form, "limit_gb_per_s", family.name) * 1e9;
  form.finish();
  family.surface = read_surface(map, values, family.name);
  family.quality = read_quality(map.map("quality"), family.name);
  map.finish();
  return family;
}

}  // namespace

void round_as_in_file(OperatorFamily& family) {
  // through the file's units, so that the products below come out alike
  family.floor_seconds = rounded(family.floor_seconds * 1e6, 4) * 1e-6;
  family.flops_per_second = rounded(family.flops_per_second * 1e-12, 4) * 1e12;
  family.bytes_per_second = rounded(family.bytes_per_second * 1e-9, 4) * 1e9;
  family.flop_limit = rounded(family.flop_limit * 1e-12, 6) * 1e12;
  family.byte_limit = rounded(family.byte_limit * 1e-9, 6) * 1e9;
  for (double* share : {&family.quality.median_error, &family.quality.p90_error,
                        &family.quality.held_out_median_error, &family.quality.held_out_p90_error})
    *share = rounded(*share, 3);
  if (family.surface.axes().empty()) return;
  std::vector<double> ln_factor = family.surface.ln_factor();
  for (double& value : ln_factor)
    value = kThousandth * static_cast<int>(std::lround(value / kThousandth));
  family.surface = {family.surface.axes(), std::move(ln_factor), family.surface.measured()};
}

std::string fitted_text(const FittedGpu& fitted) {
  fmt::memory_buffer text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out,
                 "# Written by `fleetsim calibrate fit`; hw_models/fitted/refit makes it again. Do "
                 "not edit.\n"
                 "# t = (floor + max(flops / flop rate, bytes / byte rate)) x exp(surface), never "
                 "under the limits.\n"
                 "schema: {}\ngpu: {}\nprovenance: {}\nfamilies:\n",
                 kSchema, fitted.gpu, quoted(fitted.provenance));
  for (const OperatorFamily& family : fitted.families) {
    fmt::format_to(out, "  - name: {}\n    source: {}\n", family.name, quoted(family.source));
    if (!family.transferred_from.empty())
      fmt::format_to(out, "    transferred_from: {}\n", family.transferred_from);
    fmt::format_to(out,
                   "    form: {{floor_us: {:.4g}, tflop_per_s: {:.4g}, gb_per_s: {:.4g}, "
                   "limit_tflop_per_s: {:.6g}, limit_gb_per_s: {:.6g}}}\n",
                   family.floor_seconds * 1e6, family.flops_per_second * 1e-12,
                   family.bytes_per_second * 1e-9, family.flop_limit * 1e-12,
                   family.byte_limit * 1e-9);
    const FitQuality& quality = family.quality;
    fmt::format_to(out, "    quality: {{rows: {}, median_error: {:.3g}, p90_error: {:.3g}",
                   quality.rows, quality.median_error, quality.p90_error);
    if (!quality.held_out.empty())
      fmt::format_to(out,
                     ", held_out: {}, held_out_rows: {}, held_out_median_error: {:.3g}, "
                     "held_out_p90_error: {:.3g}",
                     quoted(quality.held_out), quality.held_out_rows, quality.held_out_median_error,
                     quality.held_out_p90_error);
    fmt::format_to(out, "}}\n");
    write_surface(family.surface, text);
  }
  return fmt::to_string(text);
}

FittedGpu read_fitted(std::string_view text, const std::string& name) {
  const CutFile cut = cut_out_values(text);
  const YamlNode root = CatalogueMap::parse({name, cut.rest});
  CatalogueMap file(root, name);
  CHECK(file.text("schema") == kSchema, name + ": schema " + file.text("schema"));
  FittedGpu fitted;
  fitted.gpu = file.text("gpu");
  fitted.provenance = file.text("provenance");
  std::size_t surfaces = 0;
  for (CatalogueMap& map : file.maps("families")) {
    const bool has_surface = map.has("ln_factor");
    CHECK(!has_surface || surfaces < cut.values.size(), name);
    fitted.families.push_back(read_family(map, has_surface ? cut.values[surfaces++] : ""));
  }
  file.finish();
  CHECK(std::is_sorted(fitted.families.begin(), fitted.families.end(),
                       [](const auto& a, const auto& b) { return a.name < b.name; }),
        name + ": families out of order");
  return fitted;
}

}  // namespace fleetsim
