typedef int davit_placeholder_expr;
