/* The `main` of a program that is a file of its own; DAVIT_MAIN is the function that does its work. */
#include "agent/program.h"

int main(int argc, char **argv)
{
	return DAVIT_MAIN(argc, argv);
}
