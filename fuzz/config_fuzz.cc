// Any text is a configuration or an error of the user's with its place; nothing else happens.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/yaml_reader.h"
#include "pipeline/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // A file of this machine is no input of ours, and /dev/stdin never ends.
  if (text.find("${file:") != std::string_view::npos) return 0;
  freshet::pipeline::Options options;
  const freshet::Status read = freshet::config::ReadYaml(
      text, "fuzz.yaml",
      [&](freshet::config::Binder& binder) { freshet::pipeline::Bind(binder, options); });
  if (read.has_value()) {
    CHECK(!options.sinks.empty());
    return 0;
  }
  CHECK(read.error().kind == freshet::ErrorKind::kConfig);
  CHECK(read.error().message.starts_with("fuzz.yaml:"));
  return 0;
}
