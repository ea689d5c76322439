#include "steps/store.h"
