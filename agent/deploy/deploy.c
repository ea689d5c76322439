typedef int davit_placeholder_deploy;
