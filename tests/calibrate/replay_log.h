#pragma once
// A small log of iterations as `run` writes it: decodes of several batches, chunks, both together,
// and one iteration that fills 20 GB of KV cache on llama-3.1-8b.

#include <fmt/format.h>

#include <string>

namespace fleetsim {

inline std::string replay_log(const std::string& model, int tp,
                              const std::string& format = "bf16") {
  std::string text =
      fmt::format(R"({{"schema":"fleetsim.iterations/1","model":"{}","precision":{{"weights":"{}",)"
                  R"("activations":"{}","kv_cache":"{}"}},"block_size":16,"tp":{}}})"
                  "\n",
                  model, format, format, format, tp);
  int number = 0;
  const auto add = [&](const std::string& scheduled) {
    text += fmt::format(
        R"({{"t":0,"scheduled_at":0,"duration":0.01,"pool":"main","replica":0,"iteration":{},)"
        R"("scheduled":[{}],"preempted":[],"finished":[],"kv_blocks_used":1,"waiting":0,)"
        R"("running":1}})"
        "\n",
        ++number, scheduled);
  };
  const auto requests = [](int count, int tokens, int context, const char* phase, int first = 0) {
    std::string list;
    for (int i = 0; i < count; ++i)
      list += fmt::format(R"({}{{"id":{},"tokens":{},"context":{},"phase":"{}"}})",
                          i == 0 ? "" : ",", first + i, tokens, context, phase);
    return list;
  };
  for (const int batch : {1, 2, 5, 12, 30})
    for (const int context : {100, 700}) add(requests(batch, 1, context, "decode"));
  for (const int tokens : {60, 500}) add(requests(1, tokens, 0, "prefill"));
  add(requests(1, 512, 0, "prefill") + "," + requests(8, 1, 300, "decode", 1));
  add(requests(20, 1, 8000, "decode"));
  return text;
}

}  // namespace fleetsim
