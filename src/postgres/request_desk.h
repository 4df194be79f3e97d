#pragma once

#include <cstddef>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::postgres {

/// Hands what other threads ask of a stream to the thread that runs it.
class RequestDesk {
 public:
  /// Either another choice of tables, or a table to be read.
  struct Request {
    std::optional<std::pair<std::vector<std::string>, std::vector<std::string>>> choice = {};
    change::TableName table = {};
    bool replaces = false;
  };

  /// @name Any thread but the stream's
  /// Waits for the answer. Errors: kBusy (`most` requests wait), kUnavailable (no stream, or no
  /// answer within kPatience), and what the stream answers.
  /// @{
  Status Ask(Request request, size_t most);
  static constexpr std::chrono::seconds kPatience{10};
  /// @}

  /// @name The stream's thread
  /// @{
  void Open();

  /// Turns away those that wait, and whoever comes until the next Open().
  void Close();

  /// Answers those that wait by `answer(const Request&) -> Status`.
  template <typename Answer>
  void Serve(Answer&& answer) {
    while (std::shared_ptr<Waiting> next = Take()) next->answer.set_value(answer(next->request));
  }
  /// @}

 private:
  struct Waiting {
    Request request;
    std::promise<Status> answer;
  };
  std::shared_ptr<Waiting> Take();

  Mutex mutex_;
  bool open_ GUARDED_BY(mutex_) = false;
  std::deque<std::shared_ptr<Waiting>> waiting_ GUARDED_BY(mutex_);
};

}  // namespace freshet::postgres
