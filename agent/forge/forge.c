typedef int davit_placeholder_forge;
