#include "steps/engine.h"
