/* Crashes: SIGSEGV. */
int main(void)
{
    int *volatile nowhere = 0; /* volatile, or the compiler makes SIGILL of it */
    return *nowhere;
}
