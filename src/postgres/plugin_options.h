#pragma once

#include <string>
#include <vector>

namespace freshet::postgres {

/// An option of the output plugin pgoutput, as START_REPLICATION and the slot functions take it.
struct PluginOption {
  std::string name;
  std::string value;  ///< not quoted

  bool operator==(const PluginOption&) const = default;
};

/// The options to ask a server of version `major` with. `streaming`: send large transactions while
/// they still run, where the version can.
///
/// An option that a version does not know is an error there, so each is given what it takes:
/// protocol 1 is known to all, protocol 2 with streaming and logical messages to 14 and newer.
std::vector<PluginOption> PluginOptions(int major, const std::string& publication, bool streaming);

}  // namespace freshet::postgres
