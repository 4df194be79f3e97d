#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "generate/random.h"

namespace freshet::postgres {
class Connection;
}

namespace freshet::generate {

/// Statements and how many rows they touch in the tables they name. Rows that a trigger or a
/// cascade touches besides are not counted.
struct Statements {
  std::vector<std::string> sql;
  int64_t rows = 0;

  void Add(std::string statement, int64_t touched = 1) {
    sql.push_back(std::move(statement));
    rows += touched;
  }
};

/// One set of tables and what an application does with them.
///
/// Remembers some of the rows there are (KeyPool), so that what it writes never breaks a foreign
/// key. Each call adds one or a few statements; where a table is still empty it inserts instead.
/// All names are qualified. Threads: one.
class Workload {
 public:
  virtual ~Workload() = default;

  /// Creates what is missing; harmless to repeat.
  virtual std::string_view setup_sql() const = 0;

  /// Forgets all and reads from the database which rows there are. Errors: the connection's.
  virtual Status Load(postgres::Connection& connection, Random& random) = 0;

  virtual void Insert(Random& random, Statements& out) = 0;
  virtual void Update(Random& random, Statements& out) = 0;
  virtual void Delete(Random& random, Statements& out) = 0;

  /// @name What happens now and then
  /// @{
  virtual void ChangeKey(Random& random, Statements& out) = 0;
  virtual void WriteToast(Random& random, Statements& out) = 0;
  virtual void WriteOddValues(Random& random, Statements& out) = 0;
  virtual void InsertUpdateDelete(Random& random, Statements& out) = 0;
  virtual void Truncate(Random& random, Statements& out) = 0;
  /// @}

  /// From now on, whether what is written will last. Between `false` and `true` lie statements that
  /// will be rolled back: Insert and Update only, and nothing is remembered of them.
  void set_lasting(bool lasting) { lasting_ = lasting; }

 protected:
  bool lasting() const { return lasting_; }

 private:
  bool lasting_ = true;
};

/// `run` counts the generator's runs on one database: names it makes up differ from run to run.
std::unique_ptr<Workload> MakeShop(int64_t run);
std::unique_ptr<Workload> MakeShipping(int64_t run);

}  // namespace freshet::generate
