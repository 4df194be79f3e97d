#include "sink/files/layout.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>

namespace freshet::sink::files {
namespace {

constexpr int64_t kHourMicros = int64_t{3600} * 1'000'000;
constexpr int64_t kDayMicros = 24 * kHourMicros;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

int64_t FloorDivide(int64_t value, int64_t by) { return value / by - (value % by < 0 ? 1 : 0); }

std::string DateText(int64_t days) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace

std::string EncodeName(std::string_view name) {
  constexpr size_t kHashDigits = 16;
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (IsPlain(c) || (c == '_' && i > 0)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  if (out.size() <= kMaxEncodedName) return out;
  size_t keep = kMaxEncodedName - kHashDigits - 1;
  const size_t escape = out.rfind('%', keep - 1);
  if (escape != std::string::npos && escape + 3 > keep) keep = escape;
  return fmt::format("{}~{:016x}", out.substr(0, keep), XXH3_64bits(name.data(), name.size()));
}

Result<Layout> Layout::Create(std::string_view text) {
  static constexpr std::pair<std::string_view, Part> kPlaceholders[] = {
      {"schema", Part::kSchema}, {"table", Part::kTable},       {"dt", Part::kDate},
      {"hour", Part::kHour},     {"sequence", Part::kSequence},
  };
  Layout layout;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t open = rest.find('{');
    if (open != 0) {
      layout.pieces_.push_back({Part::kLiteral, std::string(rest.substr(0, open))});
      rest.remove_prefix(std::min(open, rest.size()));
      continue;
    }
    const size_t close = rest.find('}');
    const std::string_view name =
        close == std::string_view::npos ? rest.substr(1) : rest.substr(1, close - 1);
    const auto* known = std::find_if(std::begin(kPlaceholders), std::end(kPlaceholders),
                                     [&](const auto& p) { return p.first == name; });
    if (close == std::string_view::npos || known == std::end(kPlaceholders)) {
      return Fail(ErrorKind::kConfig,
                  "layout '{}' has the unknown placeholder '{{{}}}'; known are {{schema}}, "
                  "{{table}}, {{dt}}, {{hour}}, {{sequence}}",
                  text, name);
    }
    layout.pieces_.push_back({known->second, {}});
    rest.remove_prefix(close + 1);
  }
  const auto has = [&](Part part) {
    return std::any_of(layout.pieces_.begin(), layout.pieces_.end(),
                       [&](const Piece& piece) { return piece.part == part; });
  };
  if (!has(Part::kSequence)) {
    return Fail(ErrorKind::kConfig,
                "layout '{}' has no {{sequence}}; without it two files would have one name", text);
  }
  const std::string sample = layout.Render({"s", "t"}, 0, "0");
  if (sample.front() == '/' || sample.starts_with(kOwnFolder) ||
      sample.find("//") != std::string::npos || sample.find("..") != std::string::npos ||
      sample.find('\\') != std::string::npos) {
    return Fail(ErrorKind::kConfig,
                "layout '{}' must be a plain path below the prefix: no leading or double slash, no "
                "'..', no backslash, not in {}",
                text, kOwnFolder);
  }
  if (has(Part::kDate)) layout.partition_micros_ = kDayMicros;
  if (has(Part::kHour)) layout.partition_micros_ = kHourMicros;
  return layout;
}

int64_t Layout::PartitionOf(UnixMicros commit_time) const {
  return partition_micros_ == 0 ? 0 : FloorDivide(commit_time, partition_micros_);
}

std::string Layout::Render(const change::TableName& table, int64_t partition,
                           std::string_view sequence) const {
  const bool hourly = partition_micros_ == kHourMicros;
  const int64_t days = hourly ? FloorDivide(partition, 24) : partition;
  std::string out;
  for (const Piece& piece : pieces_) {
    switch (piece.part) {
      case Part::kLiteral:
        out += piece.literal;
        break;
      case Part::kSchema:
        out += EncodeName(table.schema);
        break;
      case Part::kTable:
        out += EncodeName(table.table);
        break;
      case Part::kDate:
        out += DateText(days);
        break;
      case Part::kHour:
        out += fmt::format("{:02}", partition - days * 24);
        break;
      case Part::kSequence:
        out += sequence;
        break;
    }
  }
  return out;
}

}  // namespace freshet::sink::files
