#include "steps/change.h"
