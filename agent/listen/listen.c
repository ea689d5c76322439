typedef int davit_placeholder_listen;
