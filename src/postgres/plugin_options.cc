#include "postgres/plugin_options.h"

#include "postgres/connection.h"

namespace freshet::postgres {

std::vector<PluginOption> PluginOptions(int major, const std::string& publication, bool streaming) {
  const bool streams = streaming && major >= 14;
  std::vector<PluginOption> out = {{"proto_version", streams ? "2" : "1"},
                                   {"publication_names", Connection::QuoteIdentifier(publication)}};
  if (streams) out.push_back({"streaming", "on"});
  if (major >= 14) out.push_back({"messages", "true"});
  return out;
}

}  // namespace freshet::postgres
