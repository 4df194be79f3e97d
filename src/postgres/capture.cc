#include "postgres/capture.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "postgres/assembler.h"
#include "postgres/backlog.h"
#include "postgres/catalog.h"
#include "postgres/connection.h"
#include "postgres/live_snapshot.h"
#include "postgres/pgoutput.h"
#include "postgres/preflight.h"
#include "postgres/publication.h"
#include "postgres/receiver.h"
#include "postgres/replication_stream.h"
#include "postgres/request_desk.h"
#include "postgres/side_watch.h"
#include "postgres/slot.h"
#include "postgres/snapshot.h"
#include "postgres/spool.h"
#include "postgres/status_board.h"
#include "postgres/table_choice.h"
#include "postgres/table_gate.h"
#include "postgres/table_keeper.h"

namespace freshet::postgres {

using change::Lsn;
using std::chrono::milliseconds;

std::string_view CaptureStateName(CaptureState state) {
  switch (state) {
    case CaptureState::kStopped:
      return "stopped";
    case CaptureState::kConnecting:
      return "connecting";
    case CaptureState::kCheckingContinuity:
      return "checking_continuity";
    case CaptureState::kCreatingSlot:
      return "creating_slot";
    case CaptureState::kSnapshotting:
      return "snapshotting";
    case CaptureState::kCatchingUp:
      return "catching_up";
    case CaptureState::kStreaming:
      return "streaming";
    case CaptureState::kWaitingForStandby:
      return "waiting_for_standby";
    case CaptureState::kWaitingForRoom:
      return "waiting_for_room";
    case CaptureState::kServerStopping:
      return "server_stopping";
  }
  return "stopped";
}

std::string_view SnapshotStateName(SnapshotState state) {
  switch (state) {
    case SnapshotState::kWanted:
      return "wanted";
    case SnapshotState::kReading:
      return "reading";
    case SnapshotState::kSweeping:
      return "sweeping";
    case SnapshotState::kFinished:
      return "finished";
  }
  return "wanted";
}

namespace {

/// Everything one Run() works with.
struct Session {
  const ResumePoint& resume;
  CaptureOutput& output;
  std::stop_token stop;
  Catalog& catalog;
  TableFilter filter;
  ServerIdentity server;
  std::unordered_set<uint32_t> known = {};  ///< tables whose older rows the log has; empty: any

  change::SnapshotLedger snapshots = {};  ///< as the log has them

  void Know(const Choice& choice) { known.merge(choice.Relations()); }
};

/// Those of a choice for which `keep(table)` holds.
template <typename Keep>
Choice Part(const Choice& choice, const Keep& keep) {
  Choice out;
  out.all_tables = choice.all_tables;
  for (const ChosenTable& table : choice.tables) {
    if (keep(table)) out.tables.push_back(table);
  }
  return out;
}

/// Whether the stream would send the same of each.
bool SameRelations(const Choice& a, const Choice& b) {
  return std::equal(
      a.tables.begin(), a.tables.end(), b.tables.begin(), b.tables.end(),
      [](const ChosenTable& x, const ChosenTable& y) { return x.relation == y.relation; });
}

class CaptureImpl final : public Capture {
 public:
  CaptureImpl(const Options& options, const Clock& clock)
      : options_(options), clock_(clock), board_(clock) {}

  Status Run(const ResumePoint& resume, CaptureOutput& output, std::stop_token stop) override;
  CaptureStatus status() const override { return board_.Read(); }

  Status RequestSnapshot(const change::TableName& table, bool replaces) override {
    return desk_.Ask({.table = table, .replaces = replaces}, kMaxRequests);
  }

  Status Reload(const std::vector<std::string>& tables,
                const std::vector<std::string>& exclude) override {
    FRESHET_TRY([[maybe_unused]] const auto filter, TableFilter::Create(tables, exclude));
    return desk_.Ask({.choice = std::pair(tables, exclude)}, kMaxRequests);
  }

 private:
  Status RunUntilBroken(const ResumePoint& resume, CaptureOutput& output, std::stop_token stop);

  /// Makes publication, slot and snapshot. Returns where the stream starts.
  Result<Lsn> Begin(Session& session, Connection& walsender);
  Result<Lsn> BeginWithoutSnapshot(Session& session, Connection& walsender, bool slot_exists,
                                   Lsn confirmed);

  /// Reads the rows of `before` through the slot's exported snapshot, as one transaction at its
  /// consistent point, and says what is `wanted` besides.
  Status TakeSnapshot(Session& session, const CreatedSlot& slot, const Choice& before,
                      const Choice& wanted);
  Status EnsurePublication(Session& session);
  Result<CreatedSlot> MakeSlot(Session& session, Connection& walsender, bool temporary);

  /// Proves that the server still has everything behind what the log holds.
  Status Continue(Session& session, Connection& walsender);

  /// What `check` says of log and server, as an error.
  Status ProveContinuity(const Session& session, Connection& walsender);
  Status CheckKnownTables(Session& session);

  /// Reads what the slot has piled up, where that is worth it. Moves `position` to where the stream
  /// goes on, then without `open`.
  Status CatchUpBacklog(Session& session, change::Position& position,
                        std::optional<change::Transaction>& open);

  /// Where transactions that still run are kept; none when they are not asked for.
  std::optional<SpoolOptions> SpoolFor(const Session& session) const;

  Status Stream(Session& session, Connection walsender, const change::Position& position,
                std::optional<change::Transaction> open);

  /// A broken stream may be more than a lost connection: names the gap if there is one.
  Error Diagnose(Error error, std::stop_token stop);

  change::SourceIdentity IdentityOf(const Session& session, Lsn consistent_point) const;

  /// Offers until taken. Errors: kCancelled when stopped, and the output's.
  static Status OfferAll(CaptureOutput& output,
                         const std::shared_ptr<const change::ChangeBatch>& batch,
                         std::stop_token stop);

  Options options_;  ///< but for its tables as configured
  const Clock& clock_;
  StatusBoard board_;
  RequestDesk desk_;
  TableKeeper::Ids left_out_;
  Truncated truncated_;
  bool spool_overflowed_ = false;  ///< from then on large transactions wait at the server
  bool catch_up_failed_ = false;   ///< in the last Run(): the next one streams
};

Status CaptureImpl::Run(const ResumePoint& resume, CaptureOutput& output, std::stop_token stop) {
  board_.Update([](CaptureStatus& status) {
    if (status.streamed) ++status.reconnects_total;
  });
  Status result = RunUntilBroken(resume, output, stop);
  if (result.has_value() || stop.stop_requested()) {
    board_.Enter(CaptureState::kStopped);
    return {};
  }
  if (board_.Read().state != CaptureState::kServerStopping) {
    board_.Enter(CaptureState::kStopped, result.error().message);
  }
  return result;
}

Status CaptureImpl::RunUntilBroken(const ResumePoint& resume, CaptureOutput& output,
                                   std::stop_token stop) {
  board_.Enter(CaptureState::kConnecting);
  FRESHET_TRY(TableFilter filter, TableFilter::Create(options_.tables, options_.exclude));
  FRESHET_TRY(Connection side, Connection::Connect(options_.url, BesideStream(), stop));
  Catalog catalog(std::move(side));

  board_.Enter(CaptureState::kCheckingContinuity);
  FRESHET_TRY(const std::vector<Check> checks, CheckServer(catalog.connection(), options_, stop));
  if (auto failure = FirstFailure(checks); failure.has_value()) return Fail(*std::move(failure));
  FRESHET_TRY(
      Connection walsender,
      Connection::Connect(
          options_.url,
          {.replication = true, .application_name = "freshet " + options_.slot, .settings = {}},
          stop));
  FRESHET_TRY(ServerIdentity server, Identify(walsender, catalog.connection(), stop));
  board_.Update([&](CaptureStatus& status) { status.end_at_connect = server.flush_end; });
  Session session{resume, output, stop, catalog, std::move(filter), std::move(server)};
  session.snapshots = resume.snapshots;

  const bool begun = resume.source.has_value() && resume.appended != change::Position{};
  if (begun && options_.snapshot == SnapshotMode::kOnly) return {};  // it is in the log already
  change::Position position = resume.appended;
  std::optional<change::Transaction> open = begun ? resume.open : std::nullopt;
  if (begun) {
    FRESHET_RETURN_IF_ERROR(Continue(session, walsender));
    auto caught_up = CatchUpBacklog(session, position, open);
    if (!caught_up.has_value()) {
      if (stop.stop_requested()) return {};
      return Fail(Diagnose(std::move(caught_up).error(), stop));
    }
  } else {
    FRESHET_TRY(const Lsn start, Begin(session, walsender));
    if (options_.snapshot == SnapshotMode::kOnly) return {};
    position = {.commit_end = start, .ordinal = 0};
  }
  Status streamed = Stream(session, std::move(walsender), position, std::move(open));
  if (streamed.has_value() || stop.stop_requested()) return {};
  return Fail(Diagnose(std::move(streamed).error(), stop));
}

change::SourceIdentity CaptureImpl::IdentityOf(const Session& session, Lsn consistent_point) const {
  return {.system_id = session.server.system_id,
          .timeline = session.server.timeline,
          .database = session.server.database,
          .database_oid = session.server.database_oid,
          .slot = options_.slot,
          .publication = options_.publication,
          .consistent_point = consistent_point,
          .created_at = clock_.Now()};
}

Result<Lsn> CaptureImpl::Begin(Session& session, Connection& walsender) {
  FRESHET_RETURN_IF_ERROR(ProveContinuity(session, walsender));
  FRESHET_TRY(const std::vector<Check> checks,
              CheckTables(session.catalog, options_, session.stop));
  if (auto failure = FirstFailure(checks); failure.has_value()) return Fail(*std::move(failure));

  FRESHET_TRY(const std::optional<Slot> slot,
              InspectSlot(session.catalog.connection(), options_.slot, session.stop));
  if (options_.snapshot == SnapshotMode::kNever) {
    return BeginWithoutSnapshot(session, walsender, slot.has_value(),
                                slot.has_value() ? slot->confirmed_flush : Lsn{});
  }
  const bool only = options_.snapshot == SnapshotMode::kOnly;
  // Only a slot that the log says we were about to make is ours to drop.
  const auto& source = session.resume.source;
  if (slot.has_value() && !only && source.has_value() && source->slot == options_.slot) {
    logging::Info("drop the slot of an unfinished snapshot", {{"slot", options_.slot}});
    FRESHET_RETURN_IF_ERROR(DropSlot(session.catalog.connection(), options_.slot, session.stop));
  }
  // Said before the slot is made, so that a slot left by a crash is known as ours.
  FRESHET_RETURN_IF_ERROR(session.output.SourceKnown(IdentityOf(session, Lsn{})));
  if (!only) FRESHET_RETURN_IF_ERROR(EnsurePublication(session));
  FRESHET_TRY(const Choice before, Choose(session.catalog, session.filter,
                                          only ? "" : options_.publication, session.stop));
  FRESHET_TRY(const CreatedSlot created, MakeSlot(session, walsender, only));
  FRESHET_RETURN_IF_ERROR(
      session.output.SourceKnown(IdentityOf(session, created.consistent_point)));
  // Tables with a key are read while the stream goes on, the others before it begins.
  // On a standby all are: its snapshots do not say what runs.
  FRESHET_TRY(const bool standby, IsStandby(session.catalog.connection(), session.stop));
  std::unordered_set<uint32_t> keyed;
  for (const ChosenTable& table : before.tables) {
    FRESHET_TRY(const auto schema, session.catalog.Resolve(table.relation));
    if (!only && !standby && !schema->key_columns().empty()) keyed.insert(table.table.id.value);
  }
  const auto is_keyed = [&](const ChosenTable& each) {
    return keyed.contains(each.table.id.value);
  };
  FRESHET_RETURN_IF_ERROR(
      TakeSnapshot(session, created, Part(before, std::not_fn(is_keyed)), Part(before, is_keyed)));
  return created.consistent_point;
}

Result<Lsn> CaptureImpl::BeginWithoutSnapshot(Session& session, Connection& walsender,
                                              bool slot_exists, Lsn confirmed) {
  FRESHET_RETURN_IF_ERROR(EnsurePublication(session));
  Lsn point = confirmed;
  if (!slot_exists) {
    FRESHET_TRY(const CreatedSlot created, MakeSlot(session, walsender, false));
    point = created.consistent_point;
  }
  FRESHET_RETURN_IF_ERROR(session.output.SourceKnown(IdentityOf(session, point)));
  auto batch = std::make_shared<change::ChangeBatch>();
  batch->transactions.push_back({.kind = change::TransactionKind::kSnapshot,
                                 .xid = {},
                                 .commit_lsn = point,
                                 .end_lsn = point,
                                 .commit_time = clock_.Now(),
                                 .origin = ""});
  FRESHET_RETURN_IF_ERROR(OfferAll(session.output, batch, session.stop));
  return point;
}

Status CaptureImpl::EnsurePublication(Session& session) {
  Connection& connection = session.catalog.connection();
  FRESHET_TRY(const std::optional<Publication> there,
              InspectPublication(connection, options_.publication, session.stop));
  if (there.has_value()) return {};  // CheckTables() looked at it
  FRESHET_TRY(const std::vector<CatalogTable> all, session.catalog.Tables(session.stop));
  FRESHET_TRY(const std::vector<CatalogTable> tables,
              ChooseTables(all, session.filter, connection.server_major()));
  logging::Info("make the publication", {{"publication", options_.publication},
                                         {"tables", static_cast<int64_t>(tables.size())}});
  return MakePublication(connection, options_.publication, tables, session.stop);
}

Result<CreatedSlot> CaptureImpl::MakeSlot(Session& session, Connection& walsender, bool temporary) {
  board_.Enter(CaptureState::kCreatingSlot);
  // A temporary slot goes with its session; its name must not meet that of a stream.
  const SlotRequest request{
      .name = temporary ? fmt::format("freshet_once_{}", walsender.backend_pid()) : options_.slot,
      .temporary = temporary,
      .failover = options_.slot_failover,
      .timeout = options_.slot_create_timeout,
      .on_wait = [&](const std::string& reason) {
        board_.Enter(CaptureState::kCreatingSlot, reason);
      }};
  FRESHET_TRY(CreatedSlot created,
              CreateSlot(walsender, session.catalog.connection(), request, session.stop));
  logging::Info(
      "made the slot",
      {{"slot", request.name}, {"consistent_point", change::ToString(created.consistent_point)}});
  return created;
}

Status CaptureImpl::TakeSnapshot(Session& session, const CreatedSlot& slot, const Choice& before,
                                 const Choice& wanted) {
  std::unique_ptr<SnapshotReader> reader;
  session.Know(wanted);
  if (!before.tables.empty()) {
    board_.Enter(CaptureState::kSnapshotting);
    std::vector<CatalogTable> tables;
    for (const ChosenTable& table : before.tables) tables.push_back(table.table);
    FRESHET_TRY(reader, SnapshotReader::Import(options_, slot.snapshot, tables, session.stop));
    // From here on locks keep the tables as they are. A table rewritten between the slot's making
    // and the lock looks empty to the snapshot, and one altered there differs from the stream.
    const bool only = options_.snapshot == SnapshotMode::kOnly;
    FRESHET_TRY(const Choice all, Choose(session.catalog, session.filter,
                                         only ? "" : options_.publication, session.stop));
    const Choice now =
        Part(all, [&](const ChosenTable& each) { return before.Find(each.table.id) != nullptr; });
    if (now.Filenodes() != before.Filenodes() || !SameRelations(now, before)) {
      return Fail(ErrorKind::kUnavailable,
                  "a table was altered, rewritten or truncated while the snapshot began; it is "
                  "taken anew");
    }
    std::vector<SnapshotSource> sources;
    for (const ChosenTable& table : now.tables) {
      FRESHET_TRY(auto schema, session.catalog.Resolve(table.relation));
      sources.push_back({table.table, std::move(schema), table.row_filter});
    }
    session.Know(now);
    FRESHET_RETURN_IF_ERROR(reader->Start(std::move(sources), session.stop));
  }

  constexpr milliseconds kPartWait{10};
  const int64_t rows_before = board_.Read().rows_total;
  int64_t ordinal = 0;
  bool begun = false;
  const UnixMicros taken_at = clock_.Now();
  const auto part = [&](bool ends) {
    auto batch = std::make_shared<change::ChangeBatch>();
    batch->transactions.push_back({.kind = change::TransactionKind::kSnapshot,
                                   .xid = {},
                                   .commit_lsn = slot.consistent_point,
                                   .end_lsn = ends ? slot.consistent_point : Lsn{},
                                   .commit_time = taken_at,
                                   .origin = "",
                                   .begins = !begun,
                                   .ends = ends});
    begun = true;
    return batch;
  };
  while (reader != nullptr && !reader->finished()) {
    FRESHET_TRY(auto changes, reader->Next(ordinal, kPartWait, session.stop));
    board_.Update([&](CaptureStatus& status) {
      status.snapshot = reader->progress();
      status.rows_total = rows_before + ordinal;
    });
    if (!changes.has_value()) continue;
    ordinal += changes->num_rows();
    auto batch = part(false);
    batch->tables.push_back(*std::move(changes));
    FRESHET_RETURN_IF_ERROR(OfferAll(session.output, batch, session.stop));
  }
  const auto last = part(true);
  for (const ChosenTable& table : wanted.tables) {
    last->snapshots.push_back({.step = change::SnapshotStep::kWanted, .table = table.table.id});
    session.snapshots.Apply(last->snapshots.back());
  }
  FRESHET_RETURN_IF_ERROR(OfferAll(session.output, last, session.stop));
  if (reader == nullptr) return {};
  board_.Update([&](CaptureStatus& status) {
    status.snapshot = reader->progress();
    status.rows_total = rows_before + ordinal;
    for (const SnapshotTable& table : status.snapshot) status.bytes_total += table.bytes_copied;
  });
  logging::Info("snapshot done", {{"rows", ordinal}});
  return {};
}

Status CaptureImpl::OfferAll(CaptureOutput& output,
                             const std::shared_ptr<const change::ChangeBatch>& batch,
                             std::stop_token stop) {
  for (;;) {
    FRESHET_TRY(const bool taken, output.Offer(batch, milliseconds(100)));
    if (taken) return {};
    if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "stopped");
  }
}

Status CaptureImpl::Continue(Session& session, Connection& walsender) {
  CHECK(session.resume.source.has_value());
  const change::SourceIdentity& source = *session.resume.source;
  const ServerIdentity& server = session.server;
  FRESHET_RETURN_IF_ERROR(ProveContinuity(session, walsender));
  FRESHET_RETURN_IF_ERROR(CheckKnownTables(session));

  const bool changed = source.timeline != server.timeline || source.slot != options_.slot ||
                       source.publication != options_.publication;
  if (changed && !session.resume.open.has_value()) {  // a log records a source between transactions
    logging::Warning("the source goes on in another form",
                     {{"timeline_before", source.timeline}, {"timeline", server.timeline}});
    change::SourceIdentity updated = source;
    updated.timeline = server.timeline;
    updated.slot = options_.slot;
    updated.publication = options_.publication;
    FRESHET_RETURN_IF_ERROR(session.output.SourceKnown(updated));
  }
  return {};
}

Status CaptureImpl::ProveContinuity(const Session& session, Connection& walsender) {
  FRESHET_TRY(const std::vector<Check> checks,
              CheckContinuity(walsender, session.catalog.connection(), session.server, options_,
                              session.resume, session.stop));
  if (auto failure = FirstFailure(checks); failure.has_value()) return Fail(*std::move(failure));
  return {};
}

/// A known table that the publication does not carry has lost changes.
Status CaptureImpl::CheckKnownTables(Session& session) {
  if (options_.snapshot != SnapshotMode::kNever) {  // where nothing was promised of older rows
    for (const change::TableId table : session.resume.tables) session.known.insert(table.value);
    for (const auto& [table, snapshot] : session.snapshots.unfinished()) {
      session.known.insert(table.value);
    }
  }
  FRESHET_TRY(const Choice choice,
              Choose(session.catalog, session.filter, options_.publication, session.stop));
  const bool lost =
      std::any_of(choice.tables.begin(), choice.tables.end(), [&](const ChosenTable& each) {
        const uint32_t id = each.table.id.value;
        const bool known = session.known.empty() || session.known.contains(id);
        const auto unfinished = session.snapshots.unfinished().find(each.table.id);
        const bool not_begun =
            unfinished != session.snapshots.unfinished().end() && !unfinished->second.begun;
        const bool left_out =
            left_out_.contains(id) || session.snapshots.left_out().contains(each.table.id);
        return known && !each.published && !left_out && !not_begun;
      });
  FRESHET_TRY(const std::vector<Check> checks,
              CheckTables(session.catalog, options_, session.stop));
  for (const Check& check : checks) {
    if (check.result == CheckResult::kWarn) {
      logging::Warning("preflight", {{"check", check.name}, {"what", check.what}});
    }
    // Tables that are gone by now, or must no longer be read, do not concern the stream.
    if (!lost || check.name != "publication" || check.result != CheckResult::kFail) continue;
    return Fail(ErrorKind::kGap, "{}; repair: {}", check.what, check.repair);
  }
  return {};
}

std::optional<SpoolOptions> CaptureImpl::SpoolFor(const Session& session) const {
  const bool wanted = options_.streaming == Streaming::kOn && !options_.spool_folder.empty() &&
                      session.catalog.connection().server_major() >= 14 && !spool_overflowed_;
  if (!wanted) return std::nullopt;
  return SpoolOptions{.folder = options_.spool_folder, .budget_bytes = options_.spool_budget.bytes};
}

Status CaptureImpl::CatchUpBacklog(Session& session, change::Position& position,
                                   std::optional<change::Transaction>& open) {
  // Slots can be advanced since 11. What joins a snapshot's chunks with the stream must see every
  // transaction of it.
  const bool failed_before = std::exchange(catch_up_failed_, false);
  if (options_.catch_up == CatchUp::kOff || failed_before ||
      session.catalog.connection().server_major() < 11 || !session.snapshots.unfinished().empty() ||
      options_.snapshot == SnapshotMode::kOnly) {
    return {};
  }
  FRESHET_TRY(const Choice choice,
              Choose(session.catalog, session.filter, options_.publication, session.stop));
  // Nor may there be one whose rows are about to be wanted.
  const bool wants =
      std::any_of(choice.tables.begin(), choice.tables.end(), [&](const ChosenTable& each) {
        const uint32_t id = each.table.id.value;
        return !session.known.empty() && (!session.known.contains(id) || left_out_.contains(id) ||
                                          session.snapshots.left_out().contains(each.table.id));
      });
  if (wants) return {};
  TableWatch looks(options_, session.catalog, board_, clock_, {}, truncated_);
  TableGate gate(session.filter, choice.Relations(), truncated_,
                 session.catalog.connection().converter());
  TableKeeper tables(options_, session.catalog, gate, looks, desk_, board_, session.filter, choice,
                     session.known, left_out_, session.snapshots);
  if (tables.leaves_out()) return {};  // as the log has to know first
  SideWatch watch(options_, session.catalog, looks, board_);
  FRESHET_TRY(Connection connection, Connection::Connect(options_.url, {}, session.stop));
  Backlog backlog(
      std::move(connection),
      {.slot = options_.slot,
       .publication = options_.publication,
       .threshold = static_cast<uint64_t>(options_.catch_up_threshold.bytes),
       .limits = {.batch_rows = options_.batch_rows, .batch_bytes = options_.batch_bytes.bytes},
       .invalid_text = options_.invalid_text,
       .spool = SpoolFor(session)},
      session.catalog, tables, gate, session.output, watch, board_, clock_);
  auto end = backlog.Run(position, open, session.stop);
  spool_overflowed_ = spool_overflowed_ || backlog.spool_full();
  if (!end.has_value()) {
    if (!backlog.server_failed() || session.stop.stop_requested()) return Fail(end.error());
    catch_up_failed_ = true;
    return Fail(ErrorKind::kUnavailable,
                "the backlog cannot be read in rounds ({}); the next connection streams it",
                end.error().message);
  }
  if (*end != position) open.reset();
  position = *end;
  return {};
}

Status CaptureImpl::Stream(Session& session, Connection walsender, const change::Position& position,
                           std::optional<change::Transaction> open) {
  FRESHET_TRY(Choice choice,
              Choose(session.catalog, session.filter, options_.publication, session.stop));
  FRESHET_TRY(
      const Rows timeout,
      session.catalog.connection().Query(
          "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'", session.stop));
  TableWatch looks(options_, session.catalog, board_, clock_, session.snapshots, truncated_);
  FRESHET_RETURN_IF_ERROR(looks.Begin(choice.Ids(), session.stop));
  SideWatch watch(options_, session.catalog, looks, board_);
  std::unique_ptr<Spool> spool;
  if (const auto spool_options = SpoolFor(session); spool_options.has_value()) {
    FRESHET_TRY(spool, Spool::Create(LocalFileSystem(), clock_, *spool_options));
  }
  FRESHET_TRY(ReplicationStream stream,
              ReplicationStream::Start(std::move(walsender),
                                       {.slot = options_.slot,
                                        .publication = options_.publication,
                                        .start = position.commit_end,
                                        .streaming = spool != nullptr},
                                       session.stop));
  // The server goes on where the slot stands if that is later than what was asked for. In our hands
  // nobody else can move it, so what it says now holds.
  FRESHET_TRY(const std::optional<Slot> slot,
              InspectSlot(session.catalog.connection(), options_.slot, session.stop));
  if (slot.has_value() && slot->confirmed_flush > position.commit_end) {
    const Check moved = MovedSlot(options_.slot, slot->confirmed_flush, position.commit_end);
    return Fail(*FirstFailure({&moved, 1}));
  }
  board_.Update([](CaptureStatus& status) { status.streamed = true; });
  logging::Info("streaming", {{"from", change::ToString(position)}});
  TableGate gate(session.filter, choice.Relations(), truncated_,
                 session.catalog.connection().converter());
  TableKeeper tables(options_, session.catalog, gate, looks, desk_, board_, session.filter, choice,
                     std::move(session.known), left_out_, session.snapshots);
  LiveSnapshot snapshot(options_, session.catalog, tables, board_, clock_);
  FRESHET_RETURN_IF_ERROR(tables.WantMissing(choice, session.snapshots, snapshot, session.stop));
  choice = {};  // of very many tables it would be large
  board_.Enter(snapshot.has_tables() ? CaptureState::kSnapshotting : CaptureState::kStreaming);
  const bool inside = open.has_value();
  Assembler assembler(
      {.batch_rows = options_.batch_rows, .batch_bytes = options_.batch_bytes.bytes}, tables,
      {position.commit_end, inside ? position.ordinal : 0}, std::move(open), spool.get(),
      {session.catalog.connection().converter(), options_.invalid_text});
  Receiver receiver(std::move(stream), assembler, spool.get(), gate, session.output, watch, board_,
                    clock_,
                    {.status_interval = options_.status_interval,
                     .wal_sender_timeout = milliseconds(timeout.integer(0, 0)),
                     .end_at_connect = session.server.flush_end},
                    position, inside, &snapshot);
  desk_.Open();
  Status run = receiver.Run(session.stop);
  desk_.Close();
  board_.Update([](CaptureStatus& status) { status.running = {}; });
  if (spool != nullptr && spool->full()) {
    // Nothing is lost: the server still has it all, and can keep such transactions itself.
    spool_overflowed_ = true;
    logging::Warning("from now on large transactions wait at the server",
                     {{"because", run.has_value() ? "" : run.error().message},
                      {"spool_budget", options_.spool_budget.bytes}});
  }
  return run;
}

Error CaptureImpl::Diagnose(Error error, std::stop_token stop) {
  const bool by_server = error.kind == ErrorKind::kUnavailable ||
                         error.kind == ErrorKind::kNotFound || error.kind == ErrorKind::kConfig;
  if (!by_server) return error;
  auto connection = Connection::Connect(options_.url, {}, stop);
  if (!connection.has_value()) return error;
  const auto slot = InspectSlot(*connection, options_.slot, stop);
  if (!slot.has_value()) return error;
  if (!slot->has_value()) {
    return {ErrorKind::kGap, fmt::format("slot '{}' is gone; {}", options_.slot, kRepairGap)};
  }
  if (!(*slot)->lost.empty()) {
    return {ErrorKind::kGap,
            fmt::format("slot '{}' is lost: {}; {}", options_.slot, (*slot)->lost, kRepairGap)};
  }
  const auto publication = InspectPublication(*connection, options_.publication, stop);
  if (publication.has_value() && !publication->has_value()) {
    return {ErrorKind::kGap,
            fmt::format("publication '{}' is gone: its changes cannot be decoded any more; {}",
                        options_.publication, kRepairGap)};
  }
  if (error.kind == ErrorKind::kNotFound) {  // 10 to 17: not there at that place in the WAL
    return {ErrorKind::kGap,
            fmt::format("publication '{}' was made anew, and changes from before cannot be "
                        "decoded any more ({}); {}",
                        options_.publication, error.message, kRepairGap)};
  }
  return error;
}

}  // namespace

std::unique_ptr<Capture> Capture::Create(const Options& options, const Clock& clock) {
  return std::make_unique<CaptureImpl>(options, clock);
}

}  // namespace freshet::postgres
