typedef int davit_placeholder_uses;
