// Any messages become sound batches or an error, and every row counted is in a batch; those of
// transactions that run go through the spool, in memory and in files.

#include <arrow/record_batch.h>
#include <arrow/status.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/clock.h"
#include "postgres/assembler.h"
#include "postgres/spool.h"
#include "support/memory_file_system.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {
namespace {

/// Takes all finished batches; their rows.
int64_t TakeAll(Assembler& assembler) {
  int64_t rows = 0;
  while (const auto batch = assembler.Take()) {
    change::CheckInvariants(*batch);
    for (const change::TableChanges& table : batch->tables) CHECK(table.rows->ValidateFull().ok());
    rows += batch->num_rows();
  }
  return rows;
}

void Run(std::span<const std::byte> file) {
  constexpr AssemblerLimits kSmall{.batch_rows = 5, .batch_bytes = 4096};
  test::MessageSchemaSource schemas;
  test::MemoryFileSystem fs;
  auto spool = Spool::Create(fs, SystemClock(),
                             {.folder = "spool", .budget_bytes = 1 << 20, .memory_bytes = 1'000});
  CHECK(spool.has_value());
  Assembler assembler(kSmall, schemas, {}, {}, spool->get());
  int64_t rows = 0;
  int messages = 0;
  for (const test::MessageBytes& message : test::SplitMessages(file)) {
    if (!assembler.Add(message).has_value()) return;
    while (assembler.replaying()) {
      rows += TakeAll(assembler);
      if (!assembler.Replay().has_value()) return;
    }
    if (++messages % 3 == 0 && !assembler.Cut().has_value()) return;
    rows += TakeAll(assembler);
  }
  if (!assembler.Cut().has_value()) return;
  rows += TakeAll(assembler);
  CHECK(!assembler.idle() || rows == assembler.counters().rows);
  CHECK(spool->get()->figures().transactions > 0 || spool->get()->figures().bytes == 0);
}

}  // namespace
}  // namespace freshet::postgres

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  freshet::postgres::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
