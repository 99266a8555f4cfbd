/* A C program that is linked with the shared library, and names nothing of C++. */
#include <stdio.h>

int main(void) {
  puts("loaded");
  return 0;
}
