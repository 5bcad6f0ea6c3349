// What the program answers to words it does not know, started as a user would.

#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "tests/catch.h"

namespace {

struct Answer {
  int exit_code;
  std::string text;  // stdout and stderr
};

Answer ask(const std::string& arguments) {
  std::FILE* pipe = popen((std::string(FLEETSIM_PROGRAM) + " " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Answer answer{};
  char piece[512];
  while (std::fgets(piece, sizeof piece, pipe) != nullptr) answer.text += piece;
  answer.exit_code = WEXITSTATUS(pclose(pipe));
  return answer;
}

}  // namespace

TEST_CASE("a command that does not exist is named, with the nearest one and all there are",
          "[app]") {
  const Answer typo = ask("rn scenarios/tiny-teaching.yaml");
  CHECK(typo.exit_code == 2);
  CHECK(typo.text.starts_with(
      "fleetsim: error: there is no command 'rn'; did you mean 'run'?; there are run, check, "));
  for (const char* command : {"breakdown", "calibrate", "report"})
    CHECK(typo.text.find(command) != std::string::npos);
  const Answer later = ask("calibrate repley");
  CHECK(later.exit_code == 2);
  CHECK(later.text.starts_with(
      "calibrate: error: there is no command 'repley'; did you mean 'replay'?"));
  for (const char* command : {"bench", "import", "fit", "transfer", "validate", "replay"})
    CHECK(later.text.find(command) != std::string::npos);
  CHECK(ask("").text.find("subcommand is required") != std::string::npos);
}

TEST_CASE("a seed is a whole number from 0 on; -1 does not become the largest one", "[app]") {
  const Answer negative = ask("check tiny-teaching --seed=-1");
  CHECK(negative.exit_code == 2);
  CHECK(negative.text.find("--seed") != std::string::npos);
  CHECK(ask("check tiny-teaching --seed=18446744073709551615").exit_code == 0);
  CHECK(ask("check tiny-teaching --seed=18446744073709551616").exit_code == 2);
}
