// Trace readers: what each format means, and the exact words for every way to break a file.

#include "sim/workload/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "hw_models/text_file.h"
#include "tests/workload/trace_files.h"

#include "tests/catch.h"

using namespace fleetsim;
using test::TemporaryFile;
using Format = Arrivals::TraceFormat;

namespace {

constexpr SimTime kMillisecond = 1'000'000;

struct Outcome {
  Trace trace;
  std::string problems;
};

Outcome read(Format format, const std::string& name, const std::string& content,
             const std::vector<std::string>& classes = {"default"}) {
  const TemporaryFile file(name, content);
  Arrivals arrivals;
  arrivals.process = Arrivals::Process::trace;
  arrivals.format = format;
  arrivals.path = file.path();
  Problems problems;
  Outcome outcome;
  outcome.trace = read_trace(arrivals, classes, problems);
  outcome.problems = file.shorten(problems.text());
  for (std::string& note : outcome.trace.notes) note = file.shorten(note);
  return outcome;
}

const std::string kAzure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
const std::string kBurst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
const std::string kPlain = "arrival_s,prompt_tokens,output_tokens\n";

std::string azure(const std::string& rows) {
  return read(Format::azure, "t.csv", kAzure + rows).problems;
}
std::string plain(const std::string& rows) {
  return read(Format::csv, "t.csv", kPlain + rows).problems;
}
std::string mooncake(const std::string& rows) {
  return read(Format::mooncake, "t.jsonl", rows).problems;
}
std::string burst(const std::string& rows) {
  return read(Format::burstgpt, "t.csv", kBurst + rows).problems;
}

}  // namespace

TEST_CASE("azure timestamps are exact to 100 ns, with CRLF and without a last newline", "[unit]") {
  for (const char* name : {"t.csv", "t.csv.gz"}) {
    const Outcome got = read(Format::azure, name,
                             "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                             "2023-11-16 23:59:59.9799600,4808,10\r\n"
                             "2023-11-17 00:00:00.0000001,3180,0\r\n"
                             "2024-02-29 00:00:00,7,1\r\n"
                             "2024-03-01 00:00:00.5+00:00,8,2");
    REQUIRE(got.problems == "");
    REQUIRE(got.trace.arrival ==
            std::vector<SimTime>{0, 20'040'100, 104LL * 86400 * kNanosecondsPerSecond + 20'040'000,
                                 105LL * 86400 * kNanosecondsPerSecond + 520'040'000});
    REQUIRE(got.trace.prompt_tokens == std::vector<std::int32_t>{4808, 3180, 7, 8});
    REQUIRE(got.trace.output_tokens == std::vector<std::int32_t>{10, 0, 1, 2});
  }
}

TEST_CASE("mooncake rows keep their clock and their blocks", "[unit]") {
  const Outcome got =
      read(Format::mooncake, "t.jsonl.gz",
           R"({"timestamp": 2000, "input_length": 513, "output_length": 5, "hash_ids": [46, 47]})"
           "\n"
           R"({"hash_ids": [46], "timestamp": 2000.5, "output_length": 0, "input_length": 512})"
           "\n\n");
  REQUIRE(got.problems == "");
  REQUIRE(got.trace.arrival ==
          std::vector<SimTime>{2000 * kMillisecond, 2000 * kMillisecond + 500'000});
  REQUIRE(got.trace.blocks == std::vector<std::uint64_t>{46, 47, 46});
  REQUIRE(got.trace.block_end == std::vector<std::uint64_t>{2, 3});
  REQUIRE(got.trace.block_tokens == 512);
}

TEST_CASE("burstgpt leaves out failed calls and says how many", "[unit]") {
  const Outcome got = read(Format::burstgpt, "t.csv",
                           kBurst +
                               "5,ChatGPT,472,18,490,Conversation log\n"
                               "45,ChatGPT,100,0,100,API log\n"
                               "45.25,GPT-4,7,1,8,API log\n");
  REQUIRE(got.problems == "");
  REQUIRE(got.trace.arrival == std::vector<SimTime>{0, 40'250 * kMillisecond});
  REQUIRE(got.trace.notes ==
          std::vector<std::string>{
              "t.csv: 1 of 3 rows have no response tokens (failed calls) and are left out"});
  const Outcome later = read(Format::burstgpt, "t.csv",
                             "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response "
                             "tokens,Total tokens,Log Type\n0,abc,1.5,GPT-4,3,4,7,API log\n");
  REQUIRE(later.problems == "");
  REQUIRE(later.trace.prompt_tokens == std::vector<std::int32_t>{3});
}

TEST_CASE("plain csv takes its optional columns in any order", "[unit]") {
  const Outcome got =
      read(Format::csv, "t.csv",
           "priority,session,arrival_s,class,prompt_tokens,output_tokens,prefix_hashes\n"
           "-3,alice,0.5,code,33,4,7 8 9\n"
           "0,,0.5,chat,20,0,\n"
           "1,bob,1e1,chat,16,1,7\n"
           "1,alice,10.000000001,chat,5,1,\n",
           {"chat", "code"});
  REQUIRE(got.problems == "");
  REQUIRE(got.trace.arrival ==
          std::vector<SimTime>{500'000'000, 500'000'000, 10'000'000'000, 10'000'000'001});
  REQUIRE(got.trace.class_index == std::vector<std::uint16_t>{1, 0, 0, 0});
  REQUIRE(got.trace.session == std::vector<std::uint64_t>{1, 0, 2, 1});
  REQUIRE(got.trace.priority == std::vector<std::int64_t>{-3, 0, 1, 1});
  REQUIRE(got.trace.blocks == std::vector<std::uint64_t>{7, 8, 9, 7});
  REQUIRE(got.trace.block_end == std::vector<std::uint64_t>{3, 3, 4, 4});
  REQUIRE(got.trace.block_tokens == 16);
}

TEST_CASE("a bad cell names file, row and column", "[errors]") {
  const std::string good = "2023-11-16 18:17:03.9,10,10\n";
  const auto at = [](int line, int column, const std::string& message) {
    return fmt::format("t.csv:{}:{}: error: {}\n", line, column, message);
  };
  REQUIRE(azure(good + "2023-11-16 18:17:04,abc,1\n") ==
          at(3, 21, "ContextTokens must be a whole number, not 'abc'"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,12.5,1\n") ==
          at(3, 21, "ContextTokens must be a whole number, not '12.5'"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,,1\n") ==
          at(3, 21, "ContextTokens must be a whole number, not ''"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,0,1\n") ==
          at(3, 21, "ContextTokens must be between 1 and 2147483647, but is '0'"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,2147483648,1\n") ==
          at(3, 21, "ContextTokens must be between 1 and 2147483647, but is '2147483648'"));
  REQUIRE(
      azure(good + "2023-11-16 18:17:04,99999999999999999999,1\n") ==
      at(3, 21, "ContextTokens must be between 1 and 2147483647, but is '99999999999999999999'"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,1,-1\n") ==
          at(3, 23, "GeneratedTokens must be between 0 and 2147483647, but is '-1'"));
  REQUIRE(azure(good + "2023-13-16 18:17:04,1,1\n") ==
          at(3, 1,
             "TIMESTAMP must look like 2023-11-16 18:17:03.9799600, but is '2023-13-16 18:17:04'"));
  REQUIRE(azure(good + "2023-11-16 18:17:02,1,1\n") ==
          at(3, 1, "trace is not sorted: -1.9 s comes after 0 s"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,1,1,7\n") ==
          at(3, 25, "row has 4 cells where the header has 3"));
  REQUIRE(azure(good + "2023-11-16 18:17:04,1\n") ==
          at(3, 21, "row has 2 cells where the header has 3"));
  REQUIRE(azure(good + "\n" + good) == at(3, 1, "row is empty"));
  REQUIRE(azure(good + "\n\n") == "");

  REQUIRE(plain("0,1,1\n-0.5,1,1\n") ==
          at(3, 1, "arrival_s must be between 0 and 3e9 s, but is '-0.5'"));
  REQUIRE(plain("nan,1,1\n") == at(2, 1, "arrival_s must be a number of seconds, not 'nan'"));
  REQUIRE(plain("1e99,1,1\n") == at(2, 1, "arrival_s must be between 0 and 3e9 s, but is '1e99'"));
  REQUIRE(plain("1,5\xC3\xA4,1\n") == at(2, 3,
                                         "prompt_tokens must be a whole number, not '5?"
                                         "?'"));
  REQUIRE(plain("2,1,1\n1.5,1,1\n") == at(3, 1, "trace is not sorted: 1.5 s comes after 2 s"));

  REQUIRE(burst("5,GPT-4,3,4,8,API log\n") == at(2, 13, "Total tokens is 8, but 3 + 4 = 7"));
  REQUIRE(burst("5,GPT-4,0,4,4,API log\n") ==
          at(2, 9, "Request tokens must be between 1 and 2147483647, but is '0'"));
  REQUIRE(burst("5,GPT-4,9,0,9,API log\n") ==
          "t.csv: error: all 1 rows are failed calls without response tokens\n");
}

TEST_CASE("a bad header is told apart from bad rows", "[errors]") {
  const auto problems = [](Format format, const std::string& content) {
    return read(format, "t.csv", content).problems;
  };
  REQUIRE(problems(Format::azure, "") ==
          "t.csv:1:1: error: file is empty; expected a header with TIMESTAMP, ContextTokens, "
          "GeneratedTokens\n");
  REQUIRE(problems(Format::azure, kAzure) == "t.csv:1:1: error: file has a header and no rows\n");
  REQUIRE(problems(Format::azure, "TIMESTAMP,ContextToken,GeneratedTokens\nx\n") ==
          "t.csv:1:1: error: column 'ContextTokens' is missing from the header\n"
          "t.csv:1:11: error: unknown column 'ContextToken'; did you mean 'ContextTokens'?\n");
  REQUIRE(
      problems(Format::csv, "arrival_s,prompt_tokens,output_tokens,gpu\n0,1,1,x\n") ==
      "t.csv:1:39: error: unknown column 'gpu' (known: arrival_s, prompt_tokens, output_tokens, "
      "class, session, prefix_hashes, priority)\n");
  REQUIRE(problems(Format::csv, "arrival_s,prompt_tokens,output_tokens,arrival_s\n") ==
          "t.csv:1:39: error: column 'arrival_s' occurs twice\n");
  REQUIRE(problems(Format::csv, "\xEF\xBB\xBF" + kPlain + "0,1,1\n") == "");
}

TEST_CASE("plain csv judges its optional columns", "[errors]") {
  const auto problems = [](const std::string& header, const std::string& row) {
    return read(Format::csv, "t.csv",
                "arrival_s,prompt_tokens,output_tokens," + header + "\n0,33,1," + row + "\n",
                {"chat", "code"})
        .problems;
  };
  REQUIRE(problems("class", "chst") ==
          "t.csv:2:8: error: unknown class 'chst'; did you mean 'chat'?\n");
  REQUIRE(problems("class", "") == "t.csv:2:8: error: unknown class '' (known: chat, code)\n");
  REQUIRE(problems("priority", "1.5") ==
          "t.csv:2:8: error: priority must be a whole number, not '1.5'\n");
  REQUIRE(problems("prefix_hashes", "1 2 3 4") ==
          "t.csv:2:8: error: prefix_hashes has 4 blocks of 16 tokens; a prompt of 33 tokens has at "
          "most "
          "3\n");
  for (const char* bad : {"1;2", "1  2", "-1", "281474976710656"}) {
    const std::string word = bad == std::string("1  2") ? "" : bad;
    REQUIRE(problems("prefix_hashes", bad) ==
            "t.csv:2:8: error: prefix_hashes must be whole numbers below 2^48 separated by single "
            "spaces, "
            "but has '" +
                word + "'\n");
  }
}

TEST_CASE("mooncake judges every key", "[errors]") {
  const auto row = [](const std::string& time, const std::string& input, const std::string& output,
                      const std::string& ids) {
    return mooncake(fmt::format(
        R"({{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": {}}})", time,
        input, output, ids));
  };
  REQUIRE(row("0", "512", "1", "[3]") == "");
  REQUIRE(row("-1", "512", "1", "[3]") ==
          "t.jsonl:1:2: error: timestamp must be between 0 and 3e12 ms, but is '-1'\n");
  REQUIRE(row("\"0\"", "512", "1", "[3]") ==
          "t.jsonl:1:2: error: timestamp must be a number of milliseconds, not '\"0\"'\n");
  REQUIRE(row("0", "0", "1", "[]") ==
          "t.jsonl:1:18: error: input_length must be between 1 and 2147483647, but is '0'\n");
  REQUIRE(row("0", "3e9", "1", "[]") ==
          "t.jsonl:1:18: error: input_length must be a whole number, not '3000000000.0'\n");
  REQUIRE(row("0", "18446744073709551615", "1", "[]") ==
          "t.jsonl:1:18: error: input_length must be between 1 and 2147483647, but is "
          "'18446744073709551615'\n");
  REQUIRE(row("0", "5", "-2", "[3]") ==
          "t.jsonl:1:37: error: output_length must be between 0 and 2147483647, but is '-2'\n");
  REQUIRE(
      row("0", "513", "1", "[3]") ==
      "t.jsonl:1:59: error: hash_ids has 1 blocks; input_length 513 has 2 blocks of 512 tokens\n");
  REQUIRE(row("0", "5", "1", "[-3]") ==
          "t.jsonl:1:57: error: hash_ids must be whole numbers from 0 to 2^48-1, but has '-3'\n");
  REQUIRE(row("0", "5", "1", "7") == "t.jsonl:1:57: error: hash_ids must be a list, not '7'\n");
  REQUIRE(mooncake("{\"timestamp\": 0, \"input_length\": 5\n") ==
          "t.jsonl:1:35: error: line is not valid JSON\n");
  REQUIRE(mooncake("[1]\n") == "t.jsonl:1:1: error: line must be a JSON object, not '[1]'\n");
  REQUIRE(mooncake(R"({"timestamp": 0, "input_length": 5, "output_length": 5, "chat": 1})") ==
          "t.jsonl:1:1: error: key 'hash_ids' is missing\n"
          "t.jsonl:1:57: error: unknown key 'chat' (known: timestamp, input_length, output_length, "
          "hash_ids)\n");
  REQUIRE(mooncake("") == "t.jsonl:1:1: error: file is empty; expected one JSON object a line\n");
  REQUIRE(mooncake(std::string(200'000, '[')) ==
          "t.jsonl:1:200001: error: line is not valid JSON\n");
  const std::string late =
      R"({"timestamp": 9, "input_length": 5, "output_length": 5, "hash_ids": [1]})";
  const std::string early =
      R"({"timestamp": 8, "input_length": 5, "output_length": 5, "hash_ids": [1]})";
  REQUIRE(mooncake(late + "\n" + early) ==
          "t.jsonl:2:2: error: trace is not sorted: 0.008 s comes after 0.009 s\n");
}

TEST_CASE("a file in the wrong shape prints twenty faults and a count", "[errors]") {
  std::string rows;
  for (int i = 0; i < 1000; ++i) rows += "0,x,1\n";
  const std::string text = plain(rows);
  REQUIRE(std::count(text.begin(), text.end(), '\n') == 21);
  REQUIRE(text.find("980 more faults in this file are not shown\n") != std::string::npos);
}

TEST_CASE("broken gzip is told from broken rows", "[errors]") {
  std::string rows = kPlain;
  for (int i = 0; i < 20'000; ++i) rows += fmt::format("{},{},{}\n", i, i % 977 + 1, i % 31);
  const std::string packed = TemporaryFile::gzip(rows);
  const auto problems = [](const std::string& bytes) {
    // the name without .gz keeps TemporaryFile from packing; the file is renamed afterwards
    const TemporaryFile raw("t.csv", bytes);
    Arrivals arrivals;
    arrivals.format = Format::csv;
    arrivals.path = raw.path() + ".gz";
    std::filesystem::rename(raw.path(), arrivals.path);
    Problems found;
    read_trace(arrivals, {"default"}, found);
    return raw.shorten(found.text());
  };
  REQUIRE(problems(packed) == "");
  REQUIRE(problems(packed + TemporaryFile::gzip("20000,1,1\n")) == "");  // two members, one file
  REQUIRE(problems(packed.substr(0, packed.size() - 4)) ==
          "t.csv.gz: error: gzip data ends too early, after line 20001; the file is truncated\n");
  const std::string cut = problems(packed.substr(0, packed.size() / 2));
  REQUIRE(cut.find("t.csv.gz: error: gzip data ends too early, after line ") == 0);
  REQUIRE(problems(packed.substr(0, 5)) ==
          "t.csv.gz: error: gzip data ends too early, after line 0; the file is truncated\n");
  std::string corrupt = packed;
  corrupt[corrupt.size() - 6] =
      static_cast<char>(corrupt[corrupt.size() - 6] ^ 0x55);  // the checksum
  REQUIRE(problems(corrupt) == "t.csv.gz: error: gzip data is corrupt after line 20001\n");
  REQUIRE(problems(rows) ==
          "t.csv.gz: error: is not gzip data although its name ends in .gz, or is corrupt from the "
          "start\n");
  REQUIRE(problems("") == "t.csv.gz: error: is not gzip data although its name ends in .gz\n");
  REQUIRE(problems(packed + "junk") == "t.csv.gz: error: gzip data is corrupt after line 20001\n");
}

TEST_CASE("files that are no text are refused", "[errors]") {
  REQUIRE(plain("0,1,1\n" + std::string(10'000'000, '7') + "\n") ==
          "t.csv:3:1: error: line is longer than 1 MB; is this a text file?\n");
  REQUIRE(plain(std::string("0,1,1\n1,\0,1\n", 12)) ==
          "t.csv:3:3: error: line holds a NUL byte; is this a text file?\n");
  REQUIRE(mooncake(std::string(2'000'000, '1')) ==
          "t.jsonl:1:1: error: line is longer than 1 MB; is this a text file?\n");
  Arrivals arrivals;
  arrivals.path = "/nonexistent/t.csv";
  Problems problems;
  read_trace(arrivals, {}, problems);
  REQUIRE(problems.text() ==
          "/nonexistent/t.csv: error: cannot be opened: No such file or directory\n");
  arrivals.path = "/";
  Problems folder;
  read_trace(arrivals, {}, folder);
  REQUIRE(folder.text() == "/: error: cannot be read: Is a directory\n");
}

TEST_CASE("lines that span chunks come out whole", "[unit]") {
  std::string content;
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < 200; ++i) {
    lines.emplace_back((i * 7919) % 90'000, static_cast<char>('a' + i % 26));
    content += lines.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  for (const char* name : {"t.txt", "t.txt.gz"}) {
    const TemporaryFile file(name, content);
    TextFile text(file.path());
    std::string_view line;
    for (const std::string& expected : lines) {
      REQUIRE(text.next_line(line));
      REQUIRE(line == expected);
    }
    REQUIRE_FALSE(text.next_line(line));
    REQUIRE(text.line_number() == 200);
  }
}
