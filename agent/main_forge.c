/* The table of commands comes here. */
int main(void) { return 0; }
