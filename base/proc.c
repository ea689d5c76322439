#include "base/proc.h"
