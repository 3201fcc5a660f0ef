// Precompiled for tests: the product's header and GoogleTest.
#pragma once
#include "pch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
