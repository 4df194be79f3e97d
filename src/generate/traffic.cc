#include <array>
#include <utility>

#include "generate/transaction_source.h"

namespace freshet::generate {
namespace {

/// What happens now and then, and in which part of the transactions.
enum class Surprise : uint8_t {
  kRollback,
  kSavepointRollback,
  kKeyChange,
  kToast,
  kOddValues,
  kInsertUpdateDelete,
  kTruncate,
};

struct Rarity {
  Surprise surprise;
  double chance;
};

constexpr std::array<Rarity, 7> kSurprises = {{{Surprise::kRollback, 0.02},
                                               {Surprise::kSavepointRollback, 0.03},
                                               {Surprise::kKeyChange, 0.02},
                                               {Surprise::kToast, 0.02},
                                               {Surprise::kOddValues, 0.03},
                                               {Surprise::kInsertUpdateDelete, 0.01},
                                               {Surprise::kTruncate, 0.002}}};

class Traffic final : public TransactionSource {
 public:
  Traffic(std::unique_ptr<Workload> workload, Random random)
      : workload_(std::move(workload)), random_(random) {}

  std::string_view setup_sql() const override { return workload_->setup_sql(); }

  Status Load(postgres::Connection& connection) override {
    return workload_->Load(connection, random_);
  }

  Transaction Next(const Shape& shape) override;

 private:
  void AddOrdinary(const Mix& mix, Statements& out);
  void AddDoomed(int64_t rows, Statements& out);
  void AddSurprise(Surprise surprise, Statements& out);

  std::unique_ptr<Workload> workload_;
  Random random_;
};

void Traffic::AddOrdinary(const Mix& mix, Statements& out) {
  constexpr uint64_t kSteps = 1'000'000;
  const double total = mix.inserts + mix.updates + mix.deletes;
  const double draw = total * static_cast<double>(random_.Below(kSteps)) / kSteps;
  if (draw < mix.inserts) {
    workload_->Insert(random_, out);
  } else if (draw < mix.inserts + mix.updates) {
    workload_->Update(random_, out);
  } else {
    workload_->Delete(random_, out);
  }
}

/// Statements that will be rolled back.
void Traffic::AddDoomed(int64_t rows, Statements& out) {
  workload_->set_lasting(false);
  while (out.rows < rows) {
    if (random_.Chance(0.5)) {
      workload_->Insert(random_, out);
    } else {
      workload_->Update(random_, out);
    }
  }
  workload_->set_lasting(true);
}

void Traffic::AddSurprise(Surprise surprise, Statements& out) {
  switch (surprise) {
    case Surprise::kRollback:
      return;  // concerns the whole transaction
    case Surprise::kSavepointRollback: {
      Statements doomed;
      AddDoomed(random_.Between(1, 4), doomed);
      out.Add("SAVEPOINT second_thoughts", 0);
      for (std::string& statement : doomed.sql) out.Add(std::move(statement), 0);
      out.Add("ROLLBACK TO SAVEPOINT second_thoughts", 0);
      return;
    }
    case Surprise::kKeyChange:
      return workload_->ChangeKey(random_, out);
    case Surprise::kToast:
      return workload_->WriteToast(random_, out);
    case Surprise::kOddValues:
      return workload_->WriteOddValues(random_, out);
    case Surprise::kInsertUpdateDelete:
      return workload_->InsertUpdateDelete(random_, out);
    case Surprise::kTruncate:
      return workload_->Truncate(random_, out);
  }
}

Transaction Traffic::Next(const Shape& shape) {
  Statements statements;
  if (shape.surprises) {
    for (const auto& [surprise, chance] : kSurprises) {
      // Drawn for every kind in every transaction, so that an option changes one kind alone.
      const bool happens = random_.Chance(chance);
      if (!happens || (surprise == Surprise::kTruncate && !shape.truncates)) continue;
      if (surprise == Surprise::kRollback) {
        AddDoomed(shape.rows, statements);
        return {.sql = std::move(statements.sql), .rows = 0, .commits = false};
      }
      AddSurprise(surprise, statements);
    }
  }
  while (statements.rows < shape.rows) AddOrdinary(shape.mix, statements);
  return {.sql = std::move(statements.sql), .rows = statements.rows, .commits = true};
}

}  // namespace

std::unique_ptr<TransactionSource> MakeTraffic(std::unique_ptr<Workload> workload, Random random) {
  return std::make_unique<Traffic>(std::move(workload), random);
}

}  // namespace freshet::generate
