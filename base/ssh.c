#include "base/ssh.h"
