#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "postgres/catalog.h"
#include "postgres/pgoutput.h"
#include "postgres/table_filter.h"

namespace freshet::postgres {

/// A chosen table and what there is to know before its rows are read.
struct ChosenTable {
  CatalogTable table;
  std::vector<CatalogTable> parts = {};   ///< the relations with its rows: itself, or its leaves
  bool published = false;                 ///< the publication carries it
  bool sends_all = false;                 ///< every insert, update, delete and truncate of it
  std::vector<std::string> columns = {};  ///< those published (15+); empty: all but generated ones
  std::string row_filter = {};            ///< the publication's condition (15+); empty: all rows
  pgoutput::Relation relation = {};       ///< as the stream would name it
};

/// The tables that a filter chooses, as catalog and publication have them at one moment.
struct Choice {
  std::vector<ChosenTable> tables;   ///< by name
  bool all_tables = false;           ///< the publication takes in new tables by itself
  std::vector<change::TableId> all;  ///< every table there is

  const ChosenTable* Find(change::TableId id) const;

  std::vector<change::TableId> Ids() const;

  /// Oids of the tables and of their parts.
  std::unordered_set<uint32_t> Relations() const;

  /// (relation, filenode), parts too: tells whether one was rewritten.
  std::vector<std::pair<uint32_t, uint32_t>> Filenodes() const;
};

/// Reads the choice. `publication` may be empty, or not there: then all columns and rows count.
/// Errors: kNotFound when a table named exactly is not there, or nothing matches; those of
/// Connection.
Result<Choice> Choose(Catalog& catalog, const TableFilter& filter, const std::string& publication,
                      std::stop_token stop);

/// The same of one table; none when it is gone.
Result<std::optional<ChosenTable>> ChooseOne(Catalog& catalog, change::TableId table,
                                             const std::string& publication, std::stop_token stop);

/// Has the publication carry a table that it does not carry yet.
///
/// Every later transaction's changes of it are streamed; one that ran at that moment may be
/// streamed in part. Errors: kDenied, with the SQL for the owner; kConfig for a table whose updates
/// would fail once published; kBusy when its lock could not be had within a second; those of
/// Connection.
Status Publish(Catalog& catalog, const CatalogTable& table, const std::string& publication,
               std::stop_token stop);

}  // namespace freshet::postgres
