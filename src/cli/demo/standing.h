#pragma once

#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "cli/demo/layout.h"
#include "cli/demo/view.h"

namespace freshet::cli::demo {

/// Where a standing demo keeps everything but its cluster: $XDG_STATE_HOME/freshet/demo, else
/// ~/.local/state/freshet/demo. Errors: kConfig without a home.
Result<std::string> StandingFolder();

/// A demo that stays: a private PostgreSQL, traffic and a pipeline, each a process that outlives
/// this one.
struct Standing {
  Layout layout;
  std::string cluster_folder;
  std::string psql;  ///< a command that opens the source
  int64_t rate = 0;  ///< rows a second
};

struct UpResult {
  Standing standing;
  bool was_up = false;  ///< nothing had to be done
};

/// Starts what is not running. A demo of which a part is gone (after a reboot, say) is taken down
/// and begun anew. When it fails, what it started is stopped. Call from the main thread.
Result<UpResult> Up(const std::string& folder, Screen& screen, const Clock& clock,
                    std::stop_token stop);

struct DownResult {
  bool was_up = false;
  int processes_stopped = 0;
};

/// Stops every process of the standing demo and removes its files. Harmless when there is none.
/// Errors: kBusy when a process cannot be stopped.
Result<DownResult> Down(const std::string& folder, Screen& screen, const Clock& clock);

}  // namespace freshet::cli::demo
