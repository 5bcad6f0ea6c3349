#include "calibrate/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "calibrate/aiconfigurator_tables.h"
#include "calibrate/llmservingsim_tables.h"
#include "calibrate/profile_rows.h"
#include "calibrate/row_flags.h"
#include "calibrate/vidur_tables.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

namespace fs = std::filesystem;

/// What a form knows about a file by its name.
struct NamedFile {
  bool known = false;
  std::string gpu;  // empty: the name does not say
};

struct Form {
  TableOwner owner;
  const char* name;
  std::string source, licence;
  std::function<NamedFile(const std::string& path)> recognise;
  ImportedFile (*read)(const std::string&, const GpuSpec&, std::vector<MeasuredOperator>&,
                       Problems&);
};

const std::vector<Form>& forms() {
  static const std::vector<Form> table = {
      {TableOwner::aiconfigurator, "aiconfigurator",
       "github.com/ai-dynamo/aiconfigurator, commit 095f58a51c4ca8e61b66ec108d86f223f8d559ce: "
       "TensorRT-LLM 1.3.0rc20, vLLM 0.24.0, NCCL 2.29.2, SGLang 0.5.14 (all-reduce) and 0.5.12 "
       "(DeepEP)",
       "Apache-2.0 (Copyright (c) 2026 NVIDIA CORPORATION & AFFILIATES)",
       [](const std::string& path) {
         const auto name = aiconfigurator_name(path);
         return name ? NamedFile{true, name->gpu} : NamedFile{};
       },
       read_aiconfigurator_table},
      {TableOwner::vidur, "vidur",
       "github.com/microsoft/vidur, commit 7d47513363ec447a741ac5e47241580b47724fbf: PyTorch and "
       "Sarathi kernels, FP16",
       "MIT",
       [](const std::string& path) {
         const auto name = vidur_name(path);
         return name ? NamedFile{true, name->gpu} : NamedFile{};
       },
       read_vidur_table},
      {TableOwner::llmservingsim, "llmservingsim",
       "github.com/casys-kaist/LLMServingSim, commit 5daddb21a545658d5150b535712d0494584b5278: "
       "vLLM "
       "kernels, 16-bit weights; RTX tables vLLM 0.19.0",
       "MIT (Copyright (c) 2024, CASYS Lab at KAIST)",
       [](const std::string& path) {
         const auto name = llmservingsim_name(path);
         return name ? NamedFile{true, name->gpu} : NamedFile{};
       },
       read_llmservingsim_table},
      {TableOwner::profile, "profile", "our own measurements: fleetsim calibrate bench",
       "as fleetsim",
       [](const std::string& path) {
         return NamedFile{fs::exists(fs::path(path) / "manifest.yaml"), ""};
       },
       read_profile_rows},
  };
  return table;
}

const Form& form_of(TableOwner owner) {
  for (const Form& form : forms())
    if (form.owner == owner) return form;
  CHECK(false, "an owner without a form");
}

/// Files below `paths`, ascending and once each; what is named by the user must be of use.
class FileList {
 public:
  FileList(const Form& form, const GpuSpec& gpu, Import& import, Problems& problems)
      : form_(form), gpu_(gpu), import_(import), problems_(problems) {}

  std::vector<std::string> collect(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      std::error_code error;
      const fs::file_status status = fs::status(path, error);
      if (fs::is_directory(status) && form_.owner != TableOwner::profile) {
        add_folder(path);
      } else if (fs::is_directory(status)) {  // a profile is a folder
        add_named(path);
      } else if (fs::is_regular_file(status)) {
        add_named(path);
      } else {
        problems_.add(path, {}, "no such file or folder");
      }
    }
    std::sort(files_.begin(), files_.end());
    files_.erase(std::unique(files_.begin(), files_.end()), files_.end());
    return std::move(files_);
  }

 private:
  bool of_another_gpu(const std::string& named) const {
    if (named.empty()) return false;
    const GpuSpec* found = find_gpu(named);
    return found == nullptr || found->name != gpu_.name;
  }

  void add_named(const std::string& path) {
    const NamedFile named = form_.recognise(path);
    if (!named.known) {
      problems_.add(path, {}, fmt::format("no table of {} is called so", form_.name));
    } else if (of_another_gpu(named.gpu)) {
      problems_.add(path, {},
                    fmt::format("holds rows of {}, and --gpu is {}", named.gpu, gpu_.name));
    } else {
      files_.push_back(path);
    }
  }

  void add_folder(const std::string& folder) {
    std::vector<std::string> entries;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file()) entries.push_back(it->path().string());
    if (error) {
      problems_.add(folder, {}, "cannot be read: " + error.message());
      return;
    }
    std::sort(entries.begin(), entries.end());
    std::size_t used = 0;
    for (const std::string& path : entries) {
      const NamedFile named = form_.recognise(path);
      if (named.known && !of_another_gpu(named.gpu)) {
        files_.push_back(path);
        ++used;
        continue;
      }
      ImportedFile left;
      left.file = path;
      left.left_out =
          named.known ? "rows of " + named.gpu : fmt::format("no table of {}", form_.name);
      import_.files.push_back(std::move(left));
    }
    if (used == 0)
      problems_.add(folder, {}, fmt::format("holds no table of {} for {}", form_.name, gpu_.name));
  }

  const Form& form_;
  const GpuSpec& gpu_;
  Import& import_;
  Problems& problems_;
  std::vector<std::string> files_;
};

}  // namespace

const char* name_of(TableOwner owner) { return form_of(owner).name; }

std::optional<TableOwner> table_owner_named(std::string_view name) {
  for (const Form& form : forms())
    if (form.name == name) return form.owner;
  return std::nullopt;
}

std::vector<std::string> table_owner_names() {
  std::vector<std::string> names;
  for (const Form& form : forms()) names.emplace_back(form.name);
  return names;
}

Import import_tables(TableOwner owner, const std::vector<std::string>& paths, const GpuSpec& gpu,
                     Problems& problems) {
  const Form& form = form_of(owner);
  Import import;
  import.table.gpu = gpu.name;
  import.table.owner = form.name;
  import.table.source = form.source;
  import.table.licence = form.licence;
  for (const std::string& path : FileList(form, gpu, import, problems).collect(paths)) {
    try {
      import.files.push_back(form.read(path, gpu, import.table.rows, problems));
    } catch (const ConfigError& error) {  // one unreadable file does not hide the faults of others
      for (const Problem& problem : error.problems().sorted())
        problems.add(problem.file, problem.position, problem.message);
    }
  }
  std::sort(import.files.begin(), import.files.end(),
            [](const ImportedFile& a, const ImportedFile& b) { return a.file < b.file; });
  flag_rows(import.table.rows, gpu);
  return import;
}

}  // namespace fleetsim
