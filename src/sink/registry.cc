#include "sink/registry.h"

#include "sink/discard/discard_sink.h"

namespace freshet::sink {

std::span<const Registration> Registrations() {
  static constexpr Registration kRegistrations[] = {
      {"discard", "Counts changes and throws them away.", WriteMode::kAppend,
       &discard::MakeFactory},
  };
  return kRegistrations;
}

}  // namespace freshet::sink
