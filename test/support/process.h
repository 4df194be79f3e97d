#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace freshet::test {

/// `count` different TCP ports that are free now on 127.0.0.1.
std::vector<int> FreePorts(int count);

/// Starts a program as `user` with its output appended to `log` and its own session. It gets
/// `death_signal` when the thread that started it ends.
pid_t SpawnServer(const std::vector<std::string>& arguments, uid_t user, gid_t group,
                  const std::string& log, int death_signal);

}  // namespace freshet::test
