// main.cpp: the test program's main() for Catch2 version 2. Version 3 links its own.
#define CATCH_CONFIG_MAIN
#include "tests/catch.h"
