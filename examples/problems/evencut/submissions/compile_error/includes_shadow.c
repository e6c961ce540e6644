/* Hostile: have the compiler print a file of the host in its error message. */
#include "/etc/shadow"

int main(void)
{
    return 0;
}
