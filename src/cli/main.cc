#include "cli/cli.h"

int main(int argc, char** argv) { return freshet::cli::Main(argc, argv); }
