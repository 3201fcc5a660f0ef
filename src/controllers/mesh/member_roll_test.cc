#include "controllers/mesh/register.h"
