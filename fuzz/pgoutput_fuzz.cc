// Any bytes are parsed or refused, and what a parsed row points to lies inside of its message.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "postgres/pgoutput.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres::pgoutput {
namespace {

void CheckInside(const Tuple& tuple, std::span<const std::byte> message) {
  int fields = 0;
  tuple.ForEach([&](const Field& field) {
    ++fields;
    if (field.value.empty()) return;
    CHECK(field.value.data() > message.data());
    CHECK(field.value.data() + field.value.size() <= message.data() + message.size());
  });
  CHECK(fields == tuple.columns());
}

void Run(std::span<const std::byte> file) {
  Parser parser;
  for (const test::MessageBytes& message : test::SplitMessages(file)) {
    const bool in_stream = parser.in_stream();
    const auto parsed = parser.Parse(message);
    if (!IsRow(message)) continue;
    CHECK(parser.in_stream() == in_stream);
    Row row;
    CHECK(parser.ParseRow(message, row).has_value() == parsed.has_value());
    if (!parsed.has_value()) continue;
    CHECK((row.old_kind == OldTuple::kNone) == (row.old_tuple.bytes().data() == nullptr));
    CheckInside(row.old_tuple, message);
    CheckInside(row.new_tuple, message);
  }
}

}  // namespace
}  // namespace freshet::postgres::pgoutput

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  freshet::postgres::pgoutput::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
