#include "cli/exit_code.h"

namespace freshet::cli {

std::span<const ExitCodeDoc> ExitCodes() {
  static constexpr ExitCodeDoc kDocs[] = {
      {ExitCode::kOk, "Done.", "Nothing."},
      {ExitCode::kFatal, "An unexpected error.", "Read the message; it may be a bug to report."},
      {ExitCode::kUsage, "The command line or the configuration is wrong.",
       "Correct what the message names."},
      {ExitCode::kNegative, "The command worked and its answer is no: not equal, not healthy.",
       "Look at what it printed."},
      {ExitCode::kUnavailable, "The source, a target or the running pipeline cannot be reached.",
       "Start it or mend the way to it, then try again."},
      {ExitCode::kBusy, "Somebody else holds the slot, the log's folder or the file.",
       "Stop the other process, or wait for it."},
      {ExitCode::kDenied, "Credentials or rights were refused.",
       "Grant what the message names, or correct the credentials."},
      {ExitCode::kNotFound, "A named thing is not there: database, table, bucket, file.",
       "Make it, or correct its name."},
      {ExitCode::kUnsupported, "Something is outside what freshet can do.",
       "See the message for a way round."},
      {ExitCode::kMalformed, "Bytes from outside do not follow their format.",
       "Check what stands between freshet and its peer; report it otherwise."},
      {ExitCode::kCorrupt, "freshet's own durable state is damaged.",
       "Restore the log's folder or the target, or begin with a new one."},
      {ExitCode::kGap, "Changes were lost, or may have been: slot lost, another server.",
       "Repair as the message says; nothing is bridged in silence."},
      {ExitCode::kNoSpace, "A disk is full.", "Make room; nothing acknowledged is lost."},
      {ExitCode::kIo, "Reading or writing a file failed.", "Check the disk and its rights."},
      {ExitCode::kCancelled, "Stopped by a signal before it was done; `run`: by a second one.",
       "Start again; nothing acknowledged is lost."},
  };
  return kDocs;
}

ExitCode ExitCodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfig:
      return ExitCode::kUsage;
    case ErrorKind::kUnavailable:
      return ExitCode::kUnavailable;
    case ErrorKind::kBusy:
      return ExitCode::kBusy;
    case ErrorKind::kDenied:
      return ExitCode::kDenied;
    case ErrorKind::kNotFound:
      return ExitCode::kNotFound;
    case ErrorKind::kUnsupported:
      return ExitCode::kUnsupported;
    case ErrorKind::kMalformed:
      return ExitCode::kMalformed;
    case ErrorKind::kCorrupt:
      return ExitCode::kCorrupt;
    case ErrorKind::kGap:
      return ExitCode::kGap;
    case ErrorKind::kNoSpace:
      return ExitCode::kNoSpace;
    case ErrorKind::kIo:
      return ExitCode::kIo;
    case ErrorKind::kCancelled:
      return ExitCode::kCancelled;
    case ErrorKind::kFatal:
      return ExitCode::kFatal;
  }
  return ExitCode::kFatal;
}

}  // namespace freshet::cli
