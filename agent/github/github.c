typedef int davit_placeholder_github;
