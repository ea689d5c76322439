#include "steps/target.h"
