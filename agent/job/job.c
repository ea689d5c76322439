typedef int davit_placeholder_job;
