#include "agent/deploy/resolve.h"
