#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "postgres/catalog.h"
#include "postgres/connection.h"

namespace freshet::postgres {

/// A table as a publication sends it.
struct PublishedTable {
  change::TableName name;
  std::vector<std::string> columns;  ///< those sent (15+); empty: all but generated ones
  std::string row_filter;            ///< condition of its WHERE (15+); empty: all rows
};

/// A publication as the catalog has it.
struct Publication {
  std::string name;
  bool all_tables = false;  ///< FOR ALL TABLES, or of a schema (15+): new tables join by themselves
  bool inserts = true;
  bool updates = true;
  bool deletes = true;
  bool truncates = true;  ///< always on 10, which sends none
  std::vector<PublishedTable> tables;

  const PublishedTable* Find(const change::TableName& table) const;
};

/// Reads a publication; none when there is none of that name. Errors: those of Connection.
Result<std::optional<Publication>> InspectPublication(Connection& connection,
                                                      const std::string& name,
                                                      std::stop_token stop = {});

/// Why `table` must not be published, with the repair: its updates and deletes would then fail in
/// the application, or its changes are in no WAL. Empty when there is no reason.
std::string ReasonNotToPublish(const CatalogTable& table);

/// "CREATE PUBLICATION ... FOR TABLE ...", all operations, partitions under their root's name.
std::string CreatePublicationSql(const std::string& name, std::span<const CatalogTable> tables,
                                 int server_major);

/// Makes a publication, a thousand tables a statement: each statement holds a lock a table, and a
/// server's table of locks may have no room for all (max_locks_per_transaction).
/// Errors: those of Connection. What was made of it stays.
Status MakePublication(Connection& connection, const std::string& name,
                       std::span<const CatalogTable> tables, std::stop_token stop);

/// "ALTER PUBLICATION ... ADD TABLE ...". Up to 12 in one transaction with a lock that waits for
/// writers, since there a session may not hear of it in time and leave out its changes.
std::string AddToPublicationSql(const std::string& name, const CatalogTable& table,
                                int server_major);

}  // namespace freshet::postgres
