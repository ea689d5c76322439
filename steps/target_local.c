typedef int davit_placeholder;
