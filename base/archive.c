#include "base/archive.h"
