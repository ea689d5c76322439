/* A bucket that keeps the state of environments (engine/target/keeper.h): PREFIX/state/NAME.ENVIRONMENT/ with `state.json`, `lock` and
 * `versions/SERIAL.json`. The lock is made by a conditional write, which a service that passes the condition over would let two have: it is made
 * twice, and the second time must be refused, else it is no lock, and nothing is kept there. */
#pragma once
#include "engine/target/keeper.h"

extern const struct keeper_type s3_keeper; /* of: the view of a target of s3 */
