#include "postgres/request_desk.h"

namespace freshet::postgres {

Status RequestDesk::Ask(Request request, size_t most) {
  auto waiting = std::make_shared<Waiting>();
  waiting->request = std::move(request);
  auto answer = waiting->answer.get_future();
  {
    const MutexLock lock(mutex_);
    if (!open_) {
      return Fail(ErrorKind::kUnavailable,
                  "the source is not being streamed at the moment; try again once it is");
    }
    if (waiting_.size() >= most) {
      return Fail(ErrorKind::kBusy, "{} requests wait already; try again", waiting_.size());
    }
    waiting_.push_back(std::move(waiting));
  }
  if (answer.wait_for(kPatience) != std::future_status::ready) {
    return Fail(ErrorKind::kUnavailable,
                "the stream has not taken it up within {} s; it may yet, see `freshet table list`",
                kPatience.count());
  }
  return answer.get();
}

void RequestDesk::Open() {
  const MutexLock lock(mutex_);
  open_ = true;
}

void RequestDesk::Close() {
  {
    const MutexLock lock(mutex_);
    open_ = false;
  }
  Serve([](const Request&) -> Status {
    return Fail(ErrorKind::kUnavailable, "the stream of the source broke off; try again");
  });
}

std::shared_ptr<RequestDesk::Waiting> RequestDesk::Take() {
  const MutexLock lock(mutex_);
  if (waiting_.empty()) return nullptr;
  auto next = std::move(waiting_.front());
  waiting_.pop_front();
  return next;
}

}  // namespace freshet::postgres
