/* Records of the administrator's scripts around a job, where there are such. */
#pragma once
#include "agent/worker/action.h"

void job_hook_expect_started(struct job *j);   /* before all other steps */
void job_hook_expect_completed(struct job *j); /* behind all others: it is the first post that is expected */
