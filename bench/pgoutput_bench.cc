// What decoding costs: the parser alone, and parser, assembler and columns together, over fixed
// bytes of 1,000-row transactions of (int8, int4, text, timestamptz, numeric(12,2)). One core.

#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "postgres/assembler.h"
#include "postgres/copy_text.h"
#include "postgres/pgoutput.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {
namespace {

constexpr uint32_t kTable = 16'385;
constexpr int kRowsPerTransaction = 1000;

pgoutput::Relation Relation() {
  constexpr int32_t kNumeric12And2 = ((12 << 16) | 2) + 4;
  return {.xid = {},
          .id = {kTable},
          .schema = "public",
          .table = "items",
          .columns = {{.name = "id", .type_oid = 20, .key = true},
                      {.name = "quantity", .type_oid = 23},
                      {.name = "name", .type_oid = 25},
                      {.name = "changed_at", .type_oid = 1184},
                      {.name = "price", .type_oid = 1700, .typmod = kNumeric12And2}}};
}

test::TupleFields RowOf(int64_t i) {
  return {fmt::format("{}", 1'000'000 + i), fmt::format("{}", i * 7919 % 100'000),
          fmt::format("customer name {}", i),
          fmt::format("2026-11-21 {:02}:{:02}:{:02}.{:06}+00", i % 24, i % 60, i % 59,
                      i * 7919 % 1'000'000),
          fmt::format("{}.{:02}", i * 31 % 100'000, i % 100)};
}

enum class Mix { kInserts, kInsertUpdateDelete };

/// The stream of `rows` row messages, as one buffer cut into messages.
class Stream {
 public:
  Stream(int64_t rows, Mix mix) {
    Add(test::RelationBytes(Relation()));
    uint64_t lsn = 1'000'000;
    for (int64_t i = 0; i < rows; ++i) {
      if (i % kRowsPerTransaction == 0) Add(test::BeginBytes(lsn, static_cast<uint32_t>(i) + 700));
      const test::TupleFields row = RowOf(i);
      const int64_t kind = mix == Mix::kInserts ? 0 : i % 3;
      if (kind == 0) Add(test::InsertBytes(kTable, row));
      if (kind == 1) Add(test::UpdateBytes(kTable, 0, {}, row));
      if (kind == 2) {
        const auto null = test::NullField();
        Add(test::DeleteBytes(kTable, 'K', {row[0], null, null, null, null}));
      }
      if ((i + 1) % kRowsPerTransaction != 0) continue;
      Add(test::CommitBytes(lsn, lsn + 48));
      lsn += 100'000;
    }
    for (const auto& [offset, size] : places_) {
      messages_.push_back(std::span(bytes_).subspan(offset, size));
    }
  }

  const std::vector<std::span<const std::byte>>& messages() const { return messages_; }
  int64_t bytes() const { return std::ssize(bytes_); }

 private:
  void Add(const test::MessageBytes& message) {
    places_.emplace_back(bytes_.size(), message.size());
    bytes_.insert(bytes_.end(), message.begin(), message.end());
  }

  std::vector<std::byte> bytes_;
  std::vector<std::pair<size_t, size_t>> places_;
  std::vector<std::span<const std::byte>> messages_;
};

void Report(benchmark::State& state, int64_t rows, int64_t bytes) {
  state.SetItemsProcessed(state.iterations() * rows);
  state.SetBytesProcessed(state.iterations() * bytes);
}

void BM_Parse(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const Stream stream(rows, Mix::kInserts);
  pgoutput::Parser parser;
  for (auto _ : state) {
    for (const auto message : stream.messages()) {
      if (pgoutput::IsRow(message)) {
        pgoutput::Row row;
        CHECK(parser.ParseRow(message, row).has_value());
        benchmark::DoNotOptimize(row.new_tuple);
      } else {
        CHECK(parser.Parse(message).has_value());
      }
    }
  }
  Report(state, rows, stream.bytes());
}
BENCHMARK(BM_Parse)->ArgName("rows")->Arg(100'000);

/// `rows` row messages through the assembler, cut every `cut_rows` as by a drained socket.
void Assemble(benchmark::State& state, Mix mix) {
  const int64_t rows = state.range(0);
  const int64_t cut_rows = state.range(1);
  const Stream stream(rows, mix);
  for (auto _ : state) {
    test::MessageSchemaSource schemas;
    Assembler assembler({}, schemas);
    int64_t built = 0;
    int64_t until_cut = cut_rows;
    const auto take = [&] {
      while (const auto batch = assembler.Take()) built += batch->num_rows();
    };
    for (const auto message : stream.messages()) {
      CHECK(assembler.Add(message).has_value());
      if (--until_cut > 0) continue;
      until_cut = cut_rows;
      CHECK(assembler.Cut().has_value());
      take();
    }
    CHECK(assembler.Cut().has_value());
    take();
    CHECK(built == rows);
  }
  Report(state, rows, stream.bytes());
}

void BM_AssembleInserts(benchmark::State& state) { Assemble(state, Mix::kInserts); }
BENCHMARK(BM_AssembleInserts)
    ->ArgNames({"rows", "cut_rows"})
    ->Args({100'000, 100'000})
    ->Args({100'000, 300});

void BM_AssembleMix(benchmark::State& state) { Assemble(state, Mix::kInsertUpdateDelete); }
BENCHMARK(BM_AssembleMix)->ArgNames({"rows", "cut_rows"})->Args({100'000, 100'000});

/// Transactions of one row, each its own batch: the latency path.
void BM_AssembleSingleRows(benchmark::State& state) {
  std::vector<test::MessageBytes> messages;
  constexpr int kTransactions = 1000;
  for (int i = 0; i < kTransactions; ++i) {
    const auto lsn = static_cast<uint64_t>(i + 1) * 1000;
    messages.push_back(test::BeginBytes(lsn, static_cast<uint32_t>(i)));
    if (i == 0) messages.push_back(test::RelationBytes(Relation()));
    messages.push_back(test::InsertBytes(kTable, RowOf(i)));
    messages.push_back(test::CommitBytes(lsn, lsn + 48));
  }
  for (auto _ : state) {
    test::MessageSchemaSource schemas;
    Assembler assembler({}, schemas);
    for (const auto& message : messages) {
      CHECK(assembler.Add(message).has_value());
      if (static_cast<char>(message.front()) != 'C') continue;
      CHECK(assembler.Cut().has_value());
      benchmark::DoNotOptimize(assembler.Take());
    }
  }
  Report(state, kTransactions, 0);
}
BENCHMARK(BM_AssembleSingleRows);

void BM_CopyText(benchmark::State& state) {
  const int64_t rows = state.range(0);
  test::MessageSchemaSource schemas;
  const auto schema = schemas.Resolve(Relation());
  std::vector<std::string> lines;
  int64_t bytes = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const test::TupleFields row = RowOf(i);
    lines.push_back(fmt::format("{}\t{}\t{}\t{}\t{}\n", row[0].text, row[1].text, row[2].text,
                                row[3].text, row[4].text));
    bytes += std::ssize(lines.back());
  }
  for (auto _ : state) {
    CopyTextReader reader(*schema);
    for (const std::string& line : lines) CHECK(reader.Add(line).has_value());
    const auto changes = reader.Finish(0);
    CHECK(changes.has_value() && changes->num_rows() == rows);
  }
  Report(state, rows, bytes);
}
BENCHMARK(BM_CopyText)->ArgName("rows")->Arg(16'384);

}  // namespace
}  // namespace freshet::postgres
