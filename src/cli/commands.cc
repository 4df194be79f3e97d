#include "cli/commands.h"

#include <CLI/CLI.hpp>

namespace freshet::cli {

std::span<const Command> Commands() {
  static constexpr Command kCommands[] = {
      {"run", "Carry changes from the source to every sink, until told to stop",
       "freshet run -c shop.yaml\n"
       "freshet run -c shop.yaml --until-caught-up    # for a scheduler: sync now, then exit",
       &AddRun},
      {"check",
       "Say what is wrong with a configuration, the source and the targets, and what mends it",
       "freshet check -c shop.yaml", &AddCheck},
      {"status", "Show how a running pipeline is",
       "freshet status -c shop.yaml\nfreshet status --url http://127.0.0.1:8080 --output json",
       &AddStatus},
      {"table", "List the tables of a running pipeline, add one, or have its rows read again",
       "freshet table list -c shop.yaml\nfreshet table add public.invoices -c shop.yaml\n"
       "freshet table resnapshot public.orders --replace -c shop.yaml",
       &AddTable},
      {"plan", "Say what DDL would do to the stream and to each target, without running it",
       "freshet plan -c shop.yaml --ddl \"ALTER TABLE public.orders ADD COLUMN note text\"\n"
       "freshet plan -c shop.yaml --file migration.sql",
       &AddPlan},
      {"repair", "Say why a stopped pipeline cannot go on where its log ends, and let it go on",
       "freshet repair -c shop.yaml              # only says what is wrong\n"
       "freshet repair -c shop.yaml --confirm",
       &AddRepair},
      {"query",
       "Run SQL on the embedded warehouse, beside a running pipeline or on a stopped one's file",
       "freshet query -c shop.yaml \"SELECT status, count(*) FROM public.orders GROUP BY ALL\"\n"
       "freshet query -c shop.yaml --output csv \"FROM public.orders\" > orders.csv",
       &AddQuery, true},
      {"verify", "Compare the source with each target, down to the differing keys",
       "freshet verify -c shop.yaml\nfreshet verify -c shop.yaml --table 'public.orders*'",
       &AddVerify},
      {"log", "Look into the durable log",
       "freshet log inspect -c shop.yaml\nfreshet log dump -c shop.yaml --limit 20", &AddLog},
      {"demo", "Show freshet at work on a private PostgreSQL, kill it, and compare",
       "freshet demo\nfreshet demo up\nfreshet demo down", &AddDemo},
      {"generate", "Write made-up traffic into a database",
       "freshet generate --url postgres://localhost/shop --rate 50 --duration 5m\n"
       "freshet generate -c shop.yaml --schema shipping --mode burst --rows 100000",
       &AddGenerate},
      {"version", "Print the versions of freshet and of what it is built with",
       "freshet version\nfreshet version --output json", &AddVersion},
      {"docs", "Print a page of the documentation that is made from the code",
       "freshet docs cli > docs/cli.md", &AddDocs, false, true},
  };
  return kCommands;
}

void AddConfigOption(CLI::App& app, std::string& path) {
  path = "freshet.yaml";
  app.add_option("-c,--config", path, "The configuration file")->option_text("FILE [freshet.yaml]");
}

}  // namespace freshet::cli
