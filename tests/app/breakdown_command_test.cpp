// `fleetsim breakdown` started as a user would.

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/catch.h"

namespace {

struct Answer {
  int exit_code;
  std::string text;  // stdout and stderr
};

Answer ask(const std::string& arguments) {
  std::FILE* pipe =
      popen((std::string(FLEETSIM_PROGRAM) + " breakdown " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Answer answer{};
  char piece[512];
  while (std::fgets(piece, sizeof piece, pipe) != nullptr) answer.text += piece;
  answer.exit_code = WEXITSTATUS(pclose(pipe));
  return answer;
}

bool says(const Answer& answer, const std::string& words) {
  return answer.text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("a model and a GPU are enough to be taken apart", "[app]") {
  const Answer answer = ask("--model llama-3.1-8b --gpu h100");
  CAPTURE(answer.text);
  CHECK(answer.exit_code == 0);
  CHECK(says(answer, "Llama 3.1 8B on 1 × NVIDIA H100"));
  CHECK(says(answer, "1,610,612,736"));
  CHECK(ask("chat-2k-rps").exit_code == 0);
}

TEST_CASE("options that cannot be are refused under their own names, with a hint", "[app]") {
  const Answer model = ask("--model llama-3.1-8 --gpu h100");
  CHECK(model.exit_code == 2);
  CHECK(says(model, "--model llama-3.1-8: error: "));
  CHECK(says(model, "did you mean 'llama-3.1-8b'?"));
  const Answer gpu = ask("--model llama-3.1-8b --gpu h1000");
  CHECK(gpu.exit_code == 2);
  CHECK(says(gpu, "--gpu h1000: error: "));
  const Answer split = ask("--model llama-3.1-8b --gpu h100 --tp 3");
  CHECK(split.exit_code == 2);
  CHECK(says(split, "--tp 3: error: "));
  const Answer batch = ask("--model llama-3.1-8b --gpu h100 --batch 512 --context 8192");
  CHECK(batch.exit_code == 2);
  CHECK(says(batch, "bytes are missing on each h100-sxm"));
  CHECK(ask("").exit_code == 2);
  CHECK(ask("--model llama-3.1-8b").exit_code == 2);
  CHECK(ask("chat-2k-rps --model llama-3.1-8b --gpu h100").exit_code == 2);
  CHECK(ask("--model llama-3.1-8b --gpu h100 --batch 0").exit_code == 2);
}

TEST_CASE("files appear together, and a folder of other things is left alone", "[app]") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "fleetsim_breakdown_test";
  fs::remove_all(folder);
  const std::string ask_for = "--model qwen3-0.6b --gpu l40s --out " + folder.string();
  CHECK(ask(ask_for).exit_code == 0);
  CHECK(fs::exists(folder / "breakdown.json"));
  CHECK(fs::exists(folder / "breakdown.html"));
  CHECK(ask(ask_for).exit_code == 0);  // its own folder again
  fs::remove_all(folder);
  fs::create_directories(folder / "photographs");
  const Answer refused = ask(ask_for);
  CHECK(refused.exit_code == 2);
  CHECK(says(refused, "--force"));
  CHECK_FALSE(fs::exists(folder / "breakdown.json"));
  fs::remove_all(folder);
}
