#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "config/binder.h"

namespace freshet::config {

/// Reads a YAML document into whatever `bind` visits.
///
/// `file` names the document in messages. `${env:NAME}` and `${file:/path}` inside string values
/// are replaced. Errors: kConfig, whose message lists every error found, one a line, as
/// "file:line:column: what is wrong; what to do".
Status ReadYaml(std::string_view text, const std::string& file,
                const std::function<void(Binder&)>& bind);

/// The same for a file on disk. Errors: kConfig also when it cannot be read.
Status ReadYamlFile(const std::string& path, const std::function<void(Binder&)>& bind);

/// Every value of a YAML file as it is written there, by its path ("source.postgres.slot"); a list
/// is one value. For telling which keys differ between two readings of a file; may hold secrets.
/// Errors: kConfig.
Result<std::map<std::string, std::string>> ReadYamlKeys(const std::string& path);

/// Reads "250ms", "1s", "5m", "12h", "7d". Errors: kConfig.
Result<Duration> ParseDuration(std::string_view text);

/// Reads "4096", "64MiB", "10GiB", "1GB". Errors: kConfig.
Result<ByteSize> ParseByteSize(std::string_view text);

}  // namespace freshet::config
