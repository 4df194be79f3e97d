#include "postgres/options.h"

#include <array>
#include <string_view>

namespace freshet::postgres {

void Bind(config::Binder& binder, Options& options) {
  static constexpr std::array<std::string_view, 3> kSnapshotNames = {"initial", "never", "only"};
  binder.Value({"url", "postgres:// URL or libpq keywords of the database.", true}, options.url);
  binder.Value({"slot", "Replication slot; made when absent."}, options.slot);
  binder.Value({"publication", "Publication; made for the chosen tables when absent."},
               options.publication);
  binder.Value({"tables", "Globs over schema.table that choose the tables, as public.*", true},
               options.tables);
  binder.Value({"exclude", "Globs of tables to leave out."}, options.exclude);
  BindEnum(binder,
           {"snapshot",
            "initial takes the rows that are there, then the stream; never takes the stream only; "
            "only takes the rows and stops."},
           kSnapshotNames, options.snapshot);
  binder.Value({"snapshot_workers", "Connections that copy tables side by side."},
               options.snapshot_workers);
  binder.Value({"slot_create_timeout",
                "How long making the slot may wait for running transactions of others."},
               options.slot_create_timeout);
  binder.Value({"status_interval", "Longest time between two acknowledgements to the server."},
               options.status_interval);
  binder.Value({"batch_rows", "Row images in a batch, at most; a larger transaction is split."},
               options.batch_rows);
  binder.Value({"batch_bytes", "Bytes of a batch, at most; a larger transaction is split."},
               options.batch_bytes);
}

}  // namespace freshet::postgres
