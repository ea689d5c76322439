#include "base/fields.h"
