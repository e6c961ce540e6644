/* Never ends and never sleeps: the limit on processor time stops it. */
int main(void)
{
    for (volatile unsigned long turns = 0;; turns++) {
    }
}
