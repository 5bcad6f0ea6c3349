// Every number that a measured service decided, and the rows that decided it.

#include "sim/validation/fitted_on.h"

namespace fleetsim {

const std::vector<FittedRows>& fitted_rows() {
  static const std::vector<FittedRows> table = {
      {"inferencex", "llama-3.3-70b", "h100", "0.10.2",
       "KernelAge::fp8_kv_decode 1.9 on Hopper before November 2025"},
      {"inferencex", "llama-3.3-70b", "b200", "0.10.2",
       "KernelAge::nvfp4_gemm 1.2 before November 2025; HostTime::per_eager_launch 45 us"},
      {"inferencex", "minimax-m2.5", "b200", "0.19.0", "HostTime::per_eager_launch 45 us"},
      {"inferencex", "gpt-oss-120b", "b200", "0.15.1",
       "front end 9 ms + 1.6 us a token, one prompt at a time; routing_skew 1.0 of gpt-oss; "
       "HostTime::between_per_request "
       "8 us"},
      {"inferencex", "gpt-oss-120b", "h100", "0.18.0", "routing_skew 1.0 of gpt-oss"},
      {"inferencex", "minimax-m2.5", "h200", "0.18.0", "routing_skew 0.7, every model's default"},
      {"inferencex", "kimi-k2.5", "h200", "0.16.0", "routing_skew 0.9 of Kimi"},
      {"inferencex", "kimi-k2.5", "b200", "0.17.0", "routing_skew 0.9 of Kimi"},
      {"inferencex", "minimax-m2.5", "", "", "10 ns a token and chosen expert (expert choice)"},
      {"inferencex", "gpt-oss-120b", "", "",
       "10 ns a token and chosen expert; KernelAge::fp4_experts_rate on Hopper"},
      {"inferencex", "kimi-k2.5", "", "", "10 ns a token and chosen expert (expert choice)"},
      {"vllm-openloop", "", "h100", "0.15.1",
       "front end 6 ms + 1.6 us a token; HostTime::between_per_request 8 us; top-p sampling 0.5 ms "
       "+ 8 us a row (Llama 3.1)"},
  };
  return table;
}

bool is_fitted_on(const ServiceRow& row) {
  const auto agrees = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  for (const FittedRows& rows : fitted_rows())
    if (agrees(rows.source, row.source) && agrees(rows.model, row.model) &&
        agrees(rows.gpu, row.gpu) && agrees(rows.version, row.version))
      return true;
  return false;
}

}  // namespace fleetsim
