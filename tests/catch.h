// catch.h: Catch2 by one name: version 2 (Debian 12) and version 3 (Ubuntu 24.04) keep it in different places.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
