// Collected user errors: ordering, text form, and the "did you mean" search by edit distance
// (Damerau-Levenshtein restricted to adjacent swaps; a hint is given up to a third of the length).

#include "hw_models/problems.h"

#include <fmt/format.h>

#include <algorithm>

namespace fleetsim {

std::string Problem::text() const {
  if (position.line == 0) return fmt::format("{}: error: {}", file, message);
  return fmt::format("{}:{}:{}: error: {}", file, position.line, position.column, message);
}

void Problems::add(std::string file, SourcePosition position, std::string message) {
  list_.push_back({std::move(file), position, std::move(message)});
}

std::vector<Problem> Problems::sorted() const {
  std::vector<std::string> files;
  for (const Problem& problem : list_) {
    if (std::find(files.begin(), files.end(), problem.file) == files.end()) {
      files.push_back(problem.file);
    }
  }
  const auto file_rank = [&](const Problem& problem) {
    return std::find(files.begin(), files.end(), problem.file) - files.begin();
  };
  std::vector<Problem> ordered = list_;
  std::stable_sort(ordered.begin(), ordered.end(), [&](const Problem& a, const Problem& b) {
    if (a.file != b.file) return file_rank(a) < file_rank(b);
    if (a.position.line != b.position.line) return a.position.line < b.position.line;
    return a.position.column < b.position.column;
  });
  return ordered;
}

std::string Problems::text() const {
  std::string text;
  for (const Problem& problem : sorted()) text += problem.text() + "\n";
  return text;
}

void Problems::throw_if_any() const {
  if (!empty()) throw ConfigError(*this);
}

namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, substitute});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string nearest_word(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > 100) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string unknown_name(const std::string& what, const std::string& word,
                         const std::vector<std::string>& known) {
  const std::string hint = nearest_word(word, known);
  return fmt::format("unknown {} '{}'{}; known are {}", what, word,
                     hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint),
                     fmt::join(known, ", "));
}

}  // namespace fleetsim
