#include "base/failpoint.h"

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace freshet::internal {
namespace {

struct Armed {
  std::string name;
  int at_pass = 1;
};

Armed ReadEnvironment() {
  const char* text = std::getenv("FRESHET_FAILPOINT");
  if (text == nullptr) return {};
  const std::string_view spec(text);
  const size_t colon = spec.find(':');
  Armed armed{.name = std::string(spec.substr(0, colon))};
  if (colon != std::string_view::npos) {
    const std::string_view count = spec.substr(colon + 1);
    std::from_chars(count.data(), count.data() + count.size(), armed.at_pass);
  }
  return armed;
}

const Armed& TheArmed() {
  static const Armed armed = ReadEnvironment();
  return armed;
}

}  // namespace

bool FailpointsArmed() {
  static const bool armed = !TheArmed().name.empty();
  return armed;
}

void PassFailpoint(const char* name) {
  static std::atomic<int> passes{0};
  if (TheArmed().name != name) return;
  if (++passes == TheArmed().at_pass) std::raise(SIGKILL);
}

}  // namespace freshet::internal
