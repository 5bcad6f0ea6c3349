// iterations.jsonl read back: what a run writes comes through whole, and every fault has its place.

#include "calibrate/iteration_log.h"

#include <fmt/format.h>

#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

const std::string kHeader =
    R"({"schema":"fleetsim.iterations/1","model":"llama-3.1-8b","precision":{"weights":"bf16",)"
    R"("activations":"bf16","kv_cache":"fp8"},"block_size":16,"tp":1})"
    "\n";

std::string iteration(int number, const std::string& scheduled, int replica = 0) {
  return fmt::format(
      R"({{"t":0.5,"scheduled_at":0.5,"duration":0.01,"pool":"main","replica":{},"iteration":{},)"
      R"("scheduled":[{}],"preempted":[],"finished":[],"kv_blocks_used":1,"waiting":0,"running":1}})"
      "\n",
      replica, number, scheduled);
}
const std::string kDecode = R"({"id":0,"tokens":1,"context":40,"phase":"decode"})";
const std::string kChunk = R"({"id":"a","tokens":512,"context":0,"phase":"prefill"})";

struct Read {
  std::optional<IterationLogHeader> header;
  std::vector<Composition> taken;
  std::string faults;
};
Read read_text(const std::string& text, const std::string& name = "log") {
  const ScratchFolder scratch;
  write_file(scratch.path(name), text);
  Read read;
  Problems problems;
  try {
    read.header = read_iteration_log(
        scratch.path(name), [&](const Composition& one) { read.taken.push_back(one); }, problems);
    read.faults = problems.text();
  } catch (const ConfigError& error) {
    read.faults = error.problems().text();
  }
  for (std::size_t at = read.faults.find(scratch.path("")); at != std::string::npos;
       at = read.faults.find(scratch.path("")))
    read.faults.erase(at, scratch.path("").size());
  return read;
}

/// The faults of a log with one iteration of this text.
std::string faults_of(const std::string& line) { return read_text(kHeader + line).faults; }

void check_fault(const std::string& faults, const std::string& part) {
  INFO(faults << "must hold " << part);
  CHECK(faults.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a log gives its deployment and what each iteration computes", "[iteration_log]") {
  const Read read = read_text(kHeader + iteration(1, kChunk) +
                              iteration(2, kChunk + "," + kDecode) + iteration(1, kDecode, 1));
  CHECK(read.faults == "");
  REQUIRE(read.header.has_value());
  CHECK(read.header->first.model == "llama-3.1-8b");
  CHECK(read.header->first.block_size == 16);
  CHECK(read.header->first.precision.kv_cache == NumberFormat::fp8);
  REQUIRE(read.taken.size() == 3);
  CHECK(read.taken[0] == Composition{{512}, {0}});
  CHECK(read.taken[1] == Composition{{512, 1}, {0, 40}});
  CHECK(read.taken[2] == Composition{{1}, {40}});
}

TEST_CASE("pools of several models are told apart", "[iteration_log]") {
  std::string header = kHeader;
  header.insert(header.size() - 2,
                R"(,"pools":[{"pool":"a","model":"llama-3.1-8b","precision":{"weights":"bf16",)"
                R"("activations":"bf16","kv_cache":"bf16"},"block_size":16,"tp":1},{"pool":"b",)"
                R"("model":"llama-3.1-70b","precision":{"weights":"fp8","activations":"fp8",)"
                R"("kv_cache":"bf16"},"block_size":32,"tp":8}])");
  const Read read = read_text(header + iteration(1, kChunk));
  CHECK(read.faults == "");
  REQUIRE(read.header.has_value());
  REQUIRE(read.header->pools.size() == 2);
  CHECK(read.header->pools[1].model == "llama-3.1-70b");
  CHECK(read.header->pools[1].tp == 8);
}

TEST_CASE("a file that is no log of iterations is refused by its first line", "[iteration_log]") {
  CHECK(read_text("").faults ==
        "log:1:1: error: file is empty; expected the header of fleetsim.iterations/1\n");
  check_fault(read_text(iteration(1, kChunk)).faults, "log:1:1: error: the first line must be the");
  check_fault(read_text("{\"schema\":\"fleetsim.iterations/2\"}\n").faults,
              "log:1:2: error: the schema is 'fleetsim.iterations/2'; this version reads");
  check_fault(read_text("id,tokens\n1,2\n").faults, "log:1:1: error: line is not valid JSON");
  check_fault(read_text(std::string("\0\1\2", 3)).faults, "NUL byte");
  check_fault(read_text("[1]\n").faults, "line must be a JSON object, not 'a list'");
  check_fault(read_text(kHeader).faults, "the log holds no iteration");
  std::string header = kHeader;
  header.replace(header.find("\"block_size\":16"), 15, "\"block_size\":0");
  check_fault(read_text(header).faults, "block_size must be a whole number from 1 to");
  header = kHeader;
  header.replace(header.find("fp8"), 3, "fp7");
  check_fault(read_text(header).faults, "kv_cache must be one of");
  Problems problems;
  CHECK_THROWS_AS(read_iteration_log(
                      "/nowhere/at/all", [](const Composition&) {}, problems),
                  ConfigError);
  CHECK_THROWS_AS(read_iteration_log(
                      "/", [](const Composition&) {}, problems),
                  ConfigError);
}

TEST_CASE("each bad iteration has its line and column, and the others are read on",
          "[iteration_log]") {
  const std::string twice = kDecode + "," + kDecode;
  const Read read = read_text(kHeader + iteration(1, kChunk) + iteration(2, twice) +
                              iteration(2, kChunk) + iteration(2, kChunk));
  CHECK_FALSE(read.header.has_value());
  check_fault(read.faults, "log:3:99: error: request '0' is scheduled twice");
  check_fault(read.faults, "log:5:71: error: iteration 2 of replica 0 of pool 'main' comes after");
  CHECK(read.taken.size() == 2);
}

TEST_CASE("counts that mean nothing are refused", "[iteration_log]") {
  check_fault(faults_of(iteration(1, "")), "scheduled is empty: an iteration computes something");
  check_fault(faults_of(iteration(0, kChunk)), "iteration must be a whole number from 1");
  const auto with = [](const std::string& tokens, const std::string& context,
                       const std::string& phase = "prefill") {
    return faults_of(iteration(1, fmt::format(R"({{"id":0,"tokens":{},"context":{},"phase":"{}"}})",
                                              tokens, context, phase)));
  };
  for (const char* tokens : {"0", "-1", "1.5", "16777217", "18446744073709551616", "\"8\"", "null",
                             "[[[[1]]]]", "1e3"}) {
    CAPTURE(tokens);
    check_fault(with(tokens, "0"), "tokens must be a whole number from 1 to 16777216");
  }
  check_fault(with("1e400", "0"), "error: line ");
  check_fault(with("1", "-1"), "context must be a whole number from 0");
  check_fault(with("1", "0", "decode"), "a decode without cached tokens");
  check_fault(with("1", "1", "verify"), "phase must be prefill or decode, not 'verify'");
  check_fault(faults_of(iteration(1, R"({"id":0,"tokens":1,"phase":"prefill"})")),
              "key 'context' is missing");
  check_fault(faults_of(iteration(1, "7")), "a scheduled request must be an object");
}

TEST_CASE("a line that was cut short says so; an empty one in the middle is a fault",
          "[iteration_log]") {
  const std::string whole = iteration(1, kChunk);
  for (const std::size_t length : {1, 20, 100, 150}) {
    CAPTURE(length);
    check_fault(read_text(kHeader + whole.substr(0, length)).faults,
                "the line ends in the middle of its object: the file was cut short");
  }
  CHECK(read_text(kHeader + whole + "\n\n").faults == "");
  check_fault(read_text(kHeader + "\n" + whole).faults, "log:2:1: error: line is empty");
}

TEST_CASE("a line that nests without end is a fault, not a crash", "[iteration_log]") {
  std::string deep = iteration(1, kChunk);
  const std::string brackets(200'000, '[');
  deep.replace(deep.find("0.5"), 3, brackets);
  CHECK_FALSE(read_text(kHeader + deep).faults.empty());
  std::string closed = iteration(1, std::string(100'000, '[') + std::string(100'000, ']'));
  check_fault(faults_of(closed), "a scheduled request must be an object, not 'a list'");
}

TEST_CASE("many faults are counted, not printed", "[iteration_log]") {
  std::string text = kHeader;
  for (int i = 0; i < 100; ++i) text += "{}\n";
  const std::string faults = read_text(text).faults;
  CHECK(std::count(faults.begin(), faults.end(), '\n') < 30);
}
