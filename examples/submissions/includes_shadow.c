/* Attacks the compiler's machine: what gcc can read, its error messages print. */
#include "/etc/shadow"

int main(void)
{
    return 0;
}
