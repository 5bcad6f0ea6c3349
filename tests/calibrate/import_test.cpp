// Tables of measurements become shapes with a time, and rows that a fit must not trust are found.
// The texts are made up in the owners' forms; no GPU printed any of their numbers.

#include "calibrate/import.h"

#include <cmath>
#include <string>
#include <vector>

#include "calibrate/chunk_attention.h"
#include "calibrate/measured_folder.h"
#include "calibrate/row_flags.h"
#include "hw_models/attention_work.h"
#include "kernels/measure/profile_writer.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

const GpuSpec& h200() { return *find_gpu("h200"); }

/// What reading one file of this name and text comes to.
struct Read {
  Import import;
  Problems problems;
};
Read read(TableOwner owner, const std::string& name, const std::string& text,
          const std::string& gpu = "h200") {
  const ScratchFolder scratch;
  write_file(scratch.path(name), text);
  Read result;
  result.import = import_tables(owner, {scratch.path(name)}, *find_gpu(gpu), result.problems);
  return result;
}

const MeasuredOperator& only_row(const Read& result) {
  INFO(result.problems.text());
  REQUIRE(result.problems.empty());
  REQUIRE(result.import.table.rows.size() == 1);
  return result.import.table.rows.front();
}

void check_fault(const Read& result, const std::string& part) {
  INFO(result.problems.text() << "must hold " << part);
  CHECK(result.problems.text().find(part) != std::string::npos);
}

std::size_t flagged(const Read& result, RowFlag flag) {
  std::size_t count = 0;
  for (const MeasuredOperator& row : result.import.table.rows) count += row.flag == flag ? 1 : 0;
  return count;
}

/// Sums what mask and window leave, key by key.
ChunkAttention by_hand(double queries, double cached, double window, double& pairs, double& keys) {
  pairs = 0;
  double first_seen = cached + queries;
  for (double q = 1; q <= queries; ++q) {
    const double end = cached + q, begin = window > 0 ? std::max(0.0, end - window) : 0;
    pairs += end - begin;
    first_seen = std::min(first_seen, begin);
  }
  keys = cached + queries - first_seen;
  return {queries, cached, window};
}

}  // namespace

TEST_CASE("pairs and keys of a chunk are those that the mask and the window leave") {
  for (const double queries : {1., 2., 5., 16.})
    for (const double cached : {0., 1., 4., 7., 30.})
      for (const double window : {0., 1., 4., 5., 8., 20., 100.}) {
        double pairs = 0, keys = 0;
        const ChunkAttention chunk = by_hand(queries, cached, window, pairs, keys);
        INFO(queries << " behind " << cached << ", window " << window);
        CHECK(chunk.pairs() == pairs);
        CHECK(chunk.keys_in_reach() == keys);
        CHECK(chunk.cut_by_window() == (pairs < queries * cached + queries * (queries + 1) / 2));
      }
}

TEST_CASE("a GEMM row of AIConfigurator keeps shape, engine, kernel and microseconds") {
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv",
                           "dtype,kernel,m,n,k,latency_us\nfp8_block,Deep,16,4096,7168,12.5\n");
  const MeasuredOperator& row = only_row(result);
  const auto& shape = std::get<GemmShape>(row.shape);
  CHECK(shape.format == GemmFormat::fp8_block);
  CHECK(shape.m == 16);
  CHECK(shape.n == 4096);
  CHECK(shape.k == 7168);
  CHECK(row.engine == "vllm");
  CHECK(row.kernel == "Deep");
  CHECK(std::abs(row.seconds - 12.5e-6) < 1e-15);
  CHECK(row.flag == RowFlag::none);
  CHECK(result.import.table.gpu == "h200-sxm");
}

TEST_CASE(
    "attention of chunks sums a batch; vLLM runs FA3 on Hopper and TensorRT-LLM's on Blackwell") {
  const std::string text =
      "attn_dtype,kv_dtype,batch,isl,prefix,q_heads,kv_heads,head_dim,window,latency_us\n"
      "bfloat16,fp8,3,10,5,32,8,128,0,50\n";
  const Read hopper = read(TableOwner::aiconfigurator, "attn_context_h200_vllm.csv", text);
  const auto& shape = std::get<PrefillAttentionShape>(only_row(hopper).shape);
  CHECK(shape.backend == AttentionBackend::fa3);
  CHECK(shape.kv_element_bytes == 1);
  CHECK(shape.requests == 3);
  CHECK(shape.queries == 30);
  CHECK(shape.pairs == 3 * (10 * 5 + 55));
  CHECK(shape.context == 45);
  CHECK_FALSE(shape.windowed);
  const Read blackwell =
      read(TableOwner::aiconfigurator, "attn_context_b200_vllm.csv", text, "b200");
  CHECK(std::get<PrefillAttentionShape>(only_row(blackwell).shape).backend ==
        AttentionBackend::trtllm);
}

TEST_CASE("a decode sees its window where that cuts keys off, and all keys where it does not") {
  const std::string head =
      "attn_dtype,kv_dtype,batch,kv_len,q_heads,kv_heads,head_dim,window,latency_us\n";
  const Read cut = read(TableOwner::aiconfigurator, "attn_generation_h200_trtllm.csv",
                        head + "bfloat16,bfloat16,4,1000,8,1,64,128,20\n");
  CHECK(std::get<DecodeAttentionShape>(only_row(cut).shape).context == 128);
  CHECK(std::get<DecodeAttentionShape>(only_row(cut).shape).windowed);
  CHECK(std::get<DecodeAttentionShape>(only_row(cut).shape).backend == AttentionBackend::trtllm);
  const Read whole = read(TableOwner::aiconfigurator, "attn_generation_h200_trtllm.csv",
                          head + "bfloat16,bfloat16,4,100,8,1,64,128,20\n");
  CHECK(std::get<DecodeAttentionShape>(only_row(whole).shape).context == 100);
  CHECK_FALSE(std::get<DecodeAttentionShape>(only_row(whole).shape).windowed);
}

TEST_CASE("experts are divided by their ranks and keep the law that spreads the tokens") {
  const Read result = read(TableOwner::aiconfigurator, "moe_h200_trtllm.csv",
                           "dtype,kernel,num_tokens,hidden,inter,topk,experts,moe_tp,moe_ep,"
                           "distribution,latency_us\n"
                           "int4_wo,marlin,64,2048,768,8,128,2,4,power_law_1.2,900\n");
  const auto& shape = std::get<ExpertsShape>(only_row(result).shape);
  CHECK(shape.format == GemmFormat::w4a16);
  CHECK(shape.tokens == 64);
  CHECK(shape.ffn == 384);
  CHECK(shape.experts == 128);
  CHECK(shape.local_experts == 32);
  CHECK(shape.experts_per_token == 8);
  CHECK(shape.skew == 1.2);
}

TEST_CASE("a file of several GPUs gives the rows of one and counts the others") {
  const Read result = read(TableOwner::aiconfigurator, "nccl.csv",
                           "gpu,nccl_version,op,dtype,num_gpus,bytes,latency_us\n"
                           "b200,2.29.2,all_gather,half,8,1024,9\n"
                           "h200,2.29.2,all_gather,half,8,1024,11\n");
  const MeasuredOperator& row = only_row(result);
  CHECK(std::get<CollectiveShape>(row.shape).collective == Collective::all_gather);
  CHECK(std::get<CollectiveShape>(row.shape).bytes == 1024);
  CHECK(std::abs(row.seconds - 11e-6) < 1e-15);
  REQUIRE(result.import.files.size() == 1);
  CHECK(result.import.files[0].rows_read == 2);
  CHECK(result.import.files[0].rows_of_other_gpus == 1);
}

TEST_CASE("what no shape stands for is counted by its name") {
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_trtllm.csv",
                           "dtype,kernel,m,n,k,latency_us\nint7,x,1,32,32,3\nint7,x,2,32,32,3\n"
                           "fp8,x,1,32,32,3\n");
  only_row(result);
  CHECK(result.import.files[0].without_shape.at("dtype 'int7'") == 2);
  CHECK(import_report(result.import, h200()).find("2 that no shape stands for: dtype 'int7'") !=
        std::string::npos);
}

TEST_CASE("faults of a table are named with file, line and column") {
  const std::string head = "dtype,kernel,m,n,k,latency_us\n", name = "gemm_h200_vllm.csv";
  const auto gemm = [&](const std::string& text) {
    return read(TableOwner::aiconfigurator, name, text);
  };
  check_fault(gemm("dtype,kernel,m,n,kk,latency_us\n"), "gemm_h200_vllm.csv:1:18: error: ");
  check_fault(gemm(head + "fp8,x,1,2,3,4\nfp8,x,one,2,3,4\n"),
              "gemm_h200_vllm.csv:3:7: error: m must be a whole number, not 'one'");
  check_fault(gemm(head + "fp8,x,1,2,3,0\n"), ":2:13: error: latency_us must be a number above 0");
  check_fault(gemm(head + "fp8,x,1,2,3\n"), "row has 5 cells where the header has 6");
  check_fault(read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv.gz", head), "is not gzip data");
  check_fault(read(TableOwner::aiconfigurator, "gemm_b200_vllm.csv", head),
              "holds rows of b200, and --gpu is h200-sxm");
  check_fault(read(TableOwner::aiconfigurator, "gemms.csv", head), "no table of aiconfigurator");
  Problems problems;
  import_tables(TableOwner::vidur, {"/nowhere"}, h200(), problems);
  CHECK(problems.text().find("/nowhere: error: no such file or folder") != std::string::npos);
}

TEST_CASE("a call faster than the datasheet is flagged; small operands may be warm in the cache") {
  // 8192^3 is 1.1 PFLOP: 1112 us at 989 TFLOP/s, and 1010 with the highest clock
  // 8192 x 65536 in bf16 is 1.07 GB: 224 us at 4.8 TB/s; 1024 x 1024 is 2.1 MB: 0.44 us
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv",
                           "dtype,kernel,m,n,k,latency_us\n"
                           "bfloat16,x,8192,8192,8192,900\n"
                           "bfloat16,x,8192,8192,8192,1050\n"
                           "bfloat16,x,1,8192,65536,200\n"
                           "bfloat16,x,1,8192,65536,250\n"
                           "bfloat16,x,1,1024,1024,0.4\n"
                           "bfloat16,x,1,1024,1024,2.5\n");
  std::vector<RowFlag> flags;
  for (const MeasuredOperator& row : result.import.table.rows) flags.push_back(row.flag);
  // the second row of each shape is the first's call again
  CHECK(flags == std::vector<RowFlag>{RowFlag::under_floor, RowFlag::repeated, RowFlag::none,
                                      RowFlag::repeated, RowFlag::none, RowFlag::repeated});
}

TEST_CASE("the first of repeated calls keeps the median time") {
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv",
                           "dtype,kernel,m,n,k,latency_us\nfp8,x,1,64,64,5\nfp8,y,1,64,64,7\n"
                           "fp8,x,1,64,64,9\nfp8,x,1,64,64,6\n");
  REQUIRE(result.import.table.rows.size() == 4);
  CHECK(std::abs(result.import.table.rows[0].seconds - 6e-6) < 1e-15);
  CHECK(result.import.table.rows[0].flag == RowFlag::none);
  CHECK(result.import.table.rows[1].flag == RowFlag::none);  // another kernel
  CHECK(flagged(result, RowFlag::repeated) == 2);
}

TEST_CASE("rows that the host's launch bounds are found by their implementation's fastest call") {
  // one kernel never under 100 us whatever the size, one whose time follows its size
  std::string text = "dtype,kernel,m,n,k,latency_us\n";
  for (const int m : {1, 16, 256}) {
    text += "fp8_block,eager," + std::to_string(m) + ",1024,1024,100\n";
    text += "fp8,graph," + std::to_string(m) + ",1024,1024," + std::to_string(3 + m / 64) + "\n";
  }
  text += "fp8_block,eager,65536,8192,8192,9000\n";  // its work hides the launch
  text += "fp8,big,4096,16384,16384,2500\n";         // slow because it is long
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv", text);
  CHECK(flagged(result, RowFlag::launch_bound) == 3);
  for (const MeasuredOperator& row : result.import.table.rows)
    if (row.flag == RowFlag::launch_bound) CHECK(row.kernel == "eager");
}

TEST_CASE("eager all-reduces are told from those in a graph") {
  std::string text = "gpu,engine,version,impl,dtype,num_gpus,bytes,latency_us\n";
  for (const char* bytes : {"256", "4096"}) {
    text += std::string("h200,vllm,1,eager,bfloat16,8,") + bytes + ",21\n";
    text += std::string("h200,vllm,1,graph,bfloat16,8,") + bytes + ",5\n";
    text += std::string("h200,trt,1,plain,bfloat16,8,") + bytes + ",3\n";
  }
  const Read result = read(TableOwner::aiconfigurator, "custom_allreduce.csv", text);
  CHECK(flagged(result, RowFlag::launch_bound) == 2);
  for (const MeasuredOperator& row : result.import.table.rows)
    CHECK((row.flag == RowFlag::launch_bound) == (row.kernel == "eager"));
}

TEST_CASE("a site of experts with rows under the floor is not trusted elsewhere either") {
  // 128 experts of 3 x 2048 x 768 in bf16 are 1.2 GB: 252 us at 4.8 TB/s once all are reached
  const std::string head =
      "dtype,kernel,num_tokens,hidden,inter,topk,experts,moe_tp,moe_ep,distribution,latency_us\n";
  const auto row = [](const char* kernel, int experts, int tokens, const char* law, int us) {
    return std::string("bfloat16,") + kernel + "," + std::to_string(tokens) + ",2048,768,8," +
           std::to_string(experts) + ",1,1," + law + "," + std::to_string(us) + "\n";
  };
  std::string text = head;
  text += row("triton", 128, 1024, "balanced", 150);      // impossible
  text += row("triton", 128, 8192, "balanced", 2000);     // so its router is not what it says
  text += row("other", 128, 1024, "power_law_1.2", 400);  // nor for another kernel
  for (const int experts : {16, 32, 64, 256, 512})
    text += row("triton", experts, 1024, "balanced", 3000);  // other sites are sound
  text += row("triton", 64, 1024, "power_law_1.2", 120);  // skewed: bytes not known, FLOPs allow it
  const Read result = read(TableOwner::aiconfigurator, "moe_h200_vllm.csv", text);
  INFO(import_report(result.import, h200()));
  CHECK(flagged(result, RowFlag::under_floor) == 1);
  CHECK(flagged(result, RowFlag::not_modelled) == 2);
  CHECK(flagged(result, RowFlag::none) == 6);
}

TEST_CASE("a layer of Vidur becomes its matrices per rank and its streams") {
  const Read result = read(TableOwner::vidur, "h100_layer_ops.csv",
                           "model,tp,num_tokens,emb_us,input_layernorm_us,attn_pre_proj_us,"
                           "attn_rope_us,attn_post_proj_us,post_attention_layernorm_us,"
                           "mlp_up_proj_us,mlp_act_us,mlp_down_proj_us,add_us\n"
                           "llama-2-70b,8,4096,30,40,250,20,200,40,1000,60,500,60\n"
                           "of-nobody,1,1,1,1,1,1,1,1,1,1,1,1\n",
                           "h100");
  INFO(result.problems.text());
  REQUIRE(result.problems.empty());
  CHECK(result.import.files[0].without_shape.at("model 'of-nobody'") == 1);
  REQUIRE(result.import.table.rows.size() == 10);
  const auto gemm = [&](std::size_t i) {
    return std::get<GemmShape>(result.import.table.rows[i].shape);
  };
  CHECK(gemm(2).n == 64 * 128 / 8 + 2 * 128);  // 64 heads and 8 KV heads of 128
  CHECK(gemm(2).k == 8192);
  CHECK(gemm(4).n == 8192);
  CHECK(gemm(4).k == 1024);
  CHECK(gemm(6).n == 2 * 28672 / 8);
  CHECK(gemm(8).k == 28672 / 8);
  const auto bytes = [&](std::size_t i) {
    return std::get<ElementwiseShape>(result.import.table.rows[i].shape).bytes;
  };
  CHECK(bytes(1) == 4. * 4096 * 8192);
  CHECK(bytes(7) == 6. * 4096 * 28672 / 8);
}

TEST_CASE("Vidur's sends have no shape, and pairwise NVLink is no property of the GPU") {
  const Read result = read(TableOwner::vidur, "h100_network.csv",
                           "topology,collective,num_gpus,devices_per_node,bytes,latency_us\n"
                           "h100_dgx,all_reduce,8,8,67108864,330\n"
                           "h100_dgx,send_recv,2,1,2048,9\n"
                           "h100_pairwise_nvlink,all_reduce,4,4,67108864,2000\n",
                           "h100");
  REQUIRE(result.import.table.rows.size() == 2);
  CHECK(result.import.table.rows[0].flag == RowFlag::none);
  CHECK(result.import.table.rows[1].flag == RowFlag::not_modelled);
  CHECK(result.import.files[0].without_shape.at("send_recv") == 1);
}

TEST_CASE("LLMServingSim's mixed calls keep the chunk and the decodes beside it") {
  const Read result = read(TableOwner::llmservingsim, "rtx4090_llama-3.1-8b_tp1_attention.csv",
                           "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
                           "0,0,4,512,20\n64,128,0,0,30\n64,128,4,512,45\n",
                           "rtx4090");
  INFO(result.problems.text());
  REQUIRE(result.import.table.rows.size() == 3);
  const auto& decode = std::get<DecodeAttentionShape>(result.import.table.rows[0].shape);
  CHECK(decode.backend == AttentionBackend::fa2);
  CHECK(decode.batch == 4);
  CHECK(decode.context == 512);
  CHECK(decode.kv_heads == 8);
  const auto& alone = std::get<PrefillAttentionShape>(result.import.table.rows[1].shape);
  CHECK(alone.pairs == 64 * 128 + 64 * 65 / 2);
  CHECK(alone.decodes == 0);
  const auto& mixed = std::get<PrefillAttentionShape>(result.import.table.rows[2].shape);
  CHECK(mixed.decodes == 4);
  CHECK(mixed.decode_context == 512);
  CHECK(mixed.queries == 64);
}

TEST_CASE(
    "LLMServingSim's experts stand for a layer of the experts in use, where routing reaches them") {
  const Read result =
      read(TableOwner::llmservingsim, "rtxpro6000_qwen3-30b-a3b_tp1_moe.csv",
           "tokens,activated_experts,time_us\n4,8,90\n4,32,300\n64,32,330\n", "rtx-pro-6000");
  INFO(result.problems.text());
  REQUIRE(result.import.table.rows.size() == 3);
  CHECK(std::get<ExpertsShape>(result.import.table.rows[0].shape).experts == 8);
  CHECK(result.import.table.rows[0].flag == RowFlag::none);
  CHECK(result.import.table.rows[1].flag == RowFlag::not_modelled);
  CHECK(result.import.table.rows[2].flag == RowFlag::none);
}

TEST_CASE("a measured folder gives back what was written, the same bytes each time") {
  const Read result = read(TableOwner::llmservingsim, "rtx4090_llama-3.1-8b_tp1_attention.csv",
                           "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
                           "0,0,4,512,20.3333\n64,128,0,0,30\n64,128,0,0,31\n64,128,4,512,45\n",
                           "rtx4090");
  const ScratchFolder scratch;
  write_measured_folder(result.import.table, scratch.path("a"), false);
  Problems problems;
  const auto table = read_measured_folder(scratch.path("a"), problems);
  INFO(problems.text());
  REQUIRE(table.has_value());
  CHECK(table->gpu == "rtx4090");
  CHECK(table->owner == "llmservingsim");
  CHECK(table->licence == result.import.table.licence);
  CHECK(table->source == result.import.table.source);
  REQUIRE(table->rows.size() == 4);
  const MeasuredOperator& mixed = table->rows.back();
  CHECK(std::get<PrefillAttentionShape>(mixed.shape).decode_context == 512);
  CHECK(table->rows[2].flag == RowFlag::repeated);
  CHECK(std::abs(table->rows[0].seconds / 20.3333e-6 - 1) < 1e-9);
  write_measured_folder(*table, scratch.path("b"), false);
  for (const char* file : {"manifest.yaml", "decode_attention.csv", "prefill_attention.csv"})
    CHECK(text_of_file(scratch.path(std::string("a/") + file)) ==
          text_of_file(scratch.path(std::string("b/") + file)));
  CHECK_THROWS_AS(write_measured_folder(*table, scratch.path("b"), false), ConfigError);
  write_measured_folder(*table, scratch.path("b"), true);
}

TEST_CASE("a measured folder that was changed by hand is refused") {
  const Read result = read(TableOwner::aiconfigurator, "gemm_h200_vllm.csv",
                           "dtype,kernel,m,n,k,latency_us\nfp8,x,1,64,64,5\n");
  const ScratchFolder scratch;
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& file,
                           const std::string& why) {
    write_measured_folder(result.import.table, scratch.path("t"), true);
    edit_file(scratch.path("t/" + file), from, to);
    Problems problems;
    CHECK_FALSE(read_measured_folder(scratch.path("t"), problems).has_value());
    INFO(problems.text() << "must hold " << why);
    CHECK(problems.text().find(why) != std::string::npos);
  };
  refused("5000", "5001", "gemm.csv", "gemm.csv: error: is not what the manifest vouches for");
  refused("fleetsim.measured/1", "fleetsim.measured/2", "manifest.yaml", "schema is not");
  refused("gemm.csv", "gemn.csv", "manifest.yaml", "'gemn.csv' is the table of no operator");
  refused("h200-sxm", "h201-sxm", "manifest.yaml", "gpu 'h201-sxm' is not known here");
  Problems problems;
  CHECK_FALSE(read_measured_folder(scratch.path("nothing"), problems).has_value());
}

TEST_CASE("prefills of a profile are told from calls with decodes, and from windowed ones") {
  using kernels::sound_point;
  const auto prefill = [](const char* fresh, const char* cached, const char* causal,
                          const char* window, const char* variant = "best") {
    return synthetic_row(sound_point("prefill_attention", {{"kv_dtype", "bf16"},
                                                           {"query_heads", "32"},
                                                           {"kv_heads", "8"},
                                                           {"head_dim", "128"},
                                                           {"page_tokens", "16"},
                                                           {"new_lengths", fresh},
                                                           {"cached_lengths", cached},
                                                           {"causal", causal},
                                                           {"window", window},
                                                           {"variant", variant}}),
                         5'000'000);
  };
  const ScratchFolder scratch;
  {
    kernels::ProfileWriter writer(scratch.path("profile"), synthetic_facts(), false);
    for (const auto& row : synthetic_rows()) writer.add(row);  // ceilings, to be judged by
    for (const auto& row :
         {prefill("1x512", "1x8192", "1", "0"), prefill("1x512,64x1", "1x8192,64x2047", "1", "0"),
          prefill("1x512,2x1", "1x8192,2x2047", "1", "1024"), prefill("1x512", "1x0", "1", "4096"),
          prefill("4x1", "4x2047", "1", "0"), prefill("1x512", "1x8192", "1", "0", "portable"),
          prefill("1x512", "1x0", "0", "0"), prefill("1x512", "1x0", "1", "0", "two_consumers")})
      writer.add(row);
    writer.finish("");
  }
  edit_file(scratch.path("profile/manifest.yaml"), "Synthetic GPU", "NVIDIA H200");
  Problems problems;
  const Import import =
      import_tables(TableOwner::profile, {scratch.path("profile")}, h200(), problems);
  INFO(problems.text());
  REQUIRE(problems.empty());
  std::vector<PrefillAttentionShape> shapes;
  for (const MeasuredOperator& row : import.table.rows)
    if (const auto* shape = std::get_if<PrefillAttentionShape>(&row.shape))
      shapes.push_back(*shape);
  REQUIRE(shapes.size() == 6);
  // not causal; a stage on the way to the kernel for Hopper
  CHECK(import.files[0].without_shape.at("prefill_attention") == 2);
  const auto shape = [&](std::size_t row) -> const auto& { return shapes[row]; };
  CHECK(shape(0).decodes == 0);
  CHECK(shape(0).context == 8704);
  // the chunk of the mixed call is that of the row before; its decodes are counted beside it
  CHECK(shape(1).requests == 1);
  CHECK(shape(1).queries == 512);
  CHECK(shape(1).pairs == shape(0).pairs);
  CHECK(shape(1).context == 8704);
  CHECK(shape(1).decodes == 64);
  CHECK(shape(1).decode_context == 2048);
  CHECK(family_of(shape(1)) != family_of(shape(0)));
  // a window cuts off what it cuts off
  CHECK(shape(2).windowed);
  CHECK(shape(2).pairs == 512 * 1024);
  CHECK(shape(2).context == 512 + 1023);
  CHECK(shape(2).decode_context == 1024);
  CHECK_FALSE(shape(3).windowed);
  CHECK(shape(3).pairs == 512 * 513 / 2);
  CHECK(shape(4).requests == 4);  // decodes alone
  CHECK(shape(4).decodes == 0);
  // engines run FlashAttention 3 on this GPU; the portable kernel is of the second's kind
  CHECK(shape(0).backend == AttentionBackend::fa3);
  CHECK(shape(5).backend == AttentionBackend::fa2);
  CHECK(shape(5).pairs == shape(0).pairs);
}

TEST_CASE("a profile of our own becomes rows of the same form") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("profile"));
  edit_file(scratch.path("profile/manifest.yaml"), "Synthetic GPU", "NVIDIA H200");
  Problems problems;
  const Import import =
      import_tables(TableOwner::profile, {scratch.path("profile")}, h200(), problems);
  INFO(problems.text());
  REQUIRE(problems.empty());
  bool gemm = false, decode = false, warm = false;
  for (const MeasuredOperator& row : import.table.rows) {
    CHECK(row.engine == "fleetsim-kernels");
    gemm = gemm || std::holds_alternative<GemmShape>(row.shape);
    decode = decode || std::holds_alternative<DecodeAttentionShape>(row.shape);
    warm = warm || row.flag == RowFlag::warm_l2;
  }
  CHECK(gemm);
  CHECK(decode);
  CHECK(warm);
  CHECK(import.files[0].without_shape.at("swap") == 1);
  import_tables(TableOwner::profile, {scratch.path("profile")}, *find_gpu("h100"), problems);
  CHECK(problems.text().find("was measured on") != std::string::npos);
}
