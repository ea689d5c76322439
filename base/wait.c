#include "base/wait.h"
