#include "sim/validation/replay_text.h"

#include <fmt/format.h>

#include "sim/breakdown/text_table.h"
#include "sim/validation/replay_words.h"

namespace fleetsim {
namespace {

constexpr std::size_t kWorst = 5;

std::string aligned(const ReplayTable& table, bool color) {
  if (table.rows.empty()) return "";
  TextTable text(table.head);
  for (const std::vector<std::string>& row : table.rows) text.add(row);
  return "\n" + table.title + "\n" + text.text(color);
}

}  // namespace

std::string replay_text(const ReplayScores& scores, bool color) {
  std::string out = replay_headline(scores) + "\n";
  if (scores.all.count > 0) out += aligned(kinds_table(scores), color);
  out += aligned(parts_table(scores), color);
  const std::vector<std::size_t> worst = scores.worst(kWorst);
  for (std::size_t i = 0; i < worst.size(); ++i) {
    if (i == 0) out += "\nThe worst\n";
    out += aligned(operators_table(scores.iterations[worst[i]]), color).substr(1);
  }
  out += "\n";
  for (const std::string& finding : replay_findings(scores)) out += "- " + finding + "\n";
  return out;
}

}  // namespace fleetsim
